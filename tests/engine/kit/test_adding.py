"""Adding, starting, cancelling: the caller's transaction decides."""

import re
import threading
import time

import pytest
import transaction

from lovely.remotetask.edge import db as edge
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import TaskError
from lovely.remotetask.peers import wakeup

DEADLINE = 30


@pytest.fixture
def connection(world, ran):
    manager = transaction.TransactionManager()
    connection = world.db.open(manager)
    yield connection
    manager.abort()
    connection.close()


def test_an_aborted_add_leaves_no_job(world, connection, ran):
    manager = connection.transaction_manager
    service = world.service(connection)
    gone = service.add('note', 'gone')
    manager.abort()
    kept = service.add('note', 'kept')
    manager.commit()
    assert world.see(lambda service: list(service.jobs)) == [kept] != [gone]
    world.drain()
    assert ran == ['kept'] and world.status(kept) == 'completed'


def test_a_savepoint_takes_back_what_followed(world, connection, ran):
    service = world.service(connection)
    service.add('note', 1)
    savepoint = connection.transaction_manager.savepoint()
    for number in range(20):
        service.add('note', f'gone {number}')
    savepoint.rollback()
    service.add('note', 2)
    connection.transaction_manager.commit()
    world.drain()
    assert ran == [1, 2]
    assert world.see(lambda service: len(service.jobs)) == 2


def test_first_in_first_out_and_priorities_before(world, connection, ran):
    service = world.service(connection)
    for number in range(6):
        service.add('note', number)
    service.add('note', 'late', priority=-4)
    service.add('note', 'early', priority=3)
    connection.transaction_manager.commit()
    for number in range(6, 9):
        world.add('note', number)
    world.drain()
    assert ran == ['early', *range(9), 'late']


def test_four_producers_store_all_their_jobs(world, ran):
    added, failed = [], []
    ready = threading.Barrier(4)

    def produce(number):
        database = world.other() if number else world.db
        ready.wait(DEADLINE)
        for count in range(50):
            try:
                added.append(world.do(lambda service, count=count: service.add(
                    'note', (number, count)), database))
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=produce, args=(number,))
               for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE * 2)
    assert failed == [] and len(set(added)) == 200
    world.until(lambda service: len(service.jobs) == 200)

    def listed(service):
        found, cursor = service.listJobs('queued', limit=70)
        while cursor is not None:
            jobs, cursor = service.listJobs('queued', start=cursor, limit=70)
            found += jobs
        return [(job.id, job.input) for job in found]

    found = world.see(listed)
    assert sorted(jobid for jobid, _ in found) == sorted(added)
    # Of one producer the newest comes first.
    for producer in range(4):
        assert [count for _, (number, count) in found
                if number == producer] == list(range(49, -1, -1))
    assert world.see(lambda service: service.stats()['queued']) == 200


def test_start_later_waits_for_its_start(world, ran):
    jobid = world.add('note', 1, startLater=True)
    assert world.drain() == 0 and world.status(jobid) == 'start later'
    assert world.do(lambda service: service.startJob(jobid)) is True
    assert world.do(lambda service: service.startJob(jobid)) is False
    assert world.drain() == 1 and ran == [1]


def test_a_cancelled_job_never_runs(world, ran):
    queued, later, delayed = (
        world.add('note', 1), world.add('note', 2, startLater=True),
        world.add('note', 3, delay=0.01))
    kept = world.add('note', 'kept')
    for jobid in (queued, later, delayed, 'no id', None):
        world.do(lambda service, jobid=jobid: service.cancel(jobid))
    assert world.drain() == 1 and ran == ['kept']
    assert [world.status(jobid) for jobid in (
        queued, later, delayed, kept)] == ['cancelled'] * 3 + ['completed']


def test_an_aborted_cancel_cancels_nothing(world, connection, ran):
    jobid = world.add('note', 1)
    connection.transaction_manager.begin()
    world.service(connection).cancel(jobid)
    connection.transaction_manager.abort()
    assert world.drain() == 1
    assert world.status(jobid) == 'completed'


def test_of_cancel_and_claim_at_once_one_wins(world, connection, ran):
    jobid = world.add('note', 1)
    connection.transaction_manager.begin()
    world.service(connection).cancel(jobid)
    assert world.drain() == 1
    with pytest.raises(transaction.interfaces.TransientError):
        connection.transaction_manager.commit()
    assert ran == [1] and world.status(jobid) == 'completed'


def test_a_delay_is_waited_for(world, ran):
    world.start()
    begun = time.time()
    delayed = world.add('note', 'delayed', delay=0.4)
    assert world.status(delayed) == 'delayed'
    world.until_over(delayed, world.add('note', 'at once'))
    assert ran == ['at once', 'delayed']
    started = world.see(lambda service: service.jobs[delayed].startedAt)
    assert 0.4 <= started.timestamp() - begun < 5


def test_a_cron_job_runs_each_minute_by_a_clock_that_ticks(
        world, ran, monkeypatch):
    class Shifted:
        """Ticks as the real one does."""

        # The first look may take long where the machine is busy.
        by = 30 - time.time() % 60

        def now(self):
            return time.time() + self.by

        def monotonic(self):
            return time.monotonic()

    clock = Shifted()
    monkeypatch.setattr('lovely.remotetask.TaskService.clock', clock)
    jobid = world.do(lambda service: service.addCronJob(
        'note', 'cron', minute=tuple(range(60))))
    assert world.status(jobid) == 'cronjob' and world.drain() == 0
    # The minute is about to end.
    clock.by += 60 - clock.now() % 60 - 0.3
    world.start()
    world.until(lambda service: service.jobs[jobid].output == 'cron'
                and service.getStatus(jobid) == 'cronjob')
    assert ran == ['cron']
    # Once a minute, and not again in this one.
    assert world.drain() == 0
    clock.by += 60
    # It sleeps until the next minute by the clock as it was.
    wakeup.notify(world.db)
    world.until(lambda service: len(ran) == 2
                and service.getStatus(jobid) == 'cronjob')
    # The first attempt of that run.
    assert world.see(lambda service: service.jobs[jobid].attempts) == 1
    assert ran == ['cron'] * 2
    world.do(lambda service: service.cancel(jobid))
    clock.by += 120
    world.stop()
    assert world.drain() == 0
    assert world.status(jobid) == 'cancelled'


def test_retry_queues_what_failed_and_refuses_the_rest(world, ran, register):
    failing = [True]

    @register
    def perhaps(input):
        if failing:
            raise TaskError('not yet')
        return 'done'

    failed, done = world.add('perhaps'), world.add('note', 1)
    cancelled, later = world.add('note', 2), world.add(
        'note', 3, startLater=True)
    world.do(lambda service: service.cancel(cancelled))
    world.drain()
    for jobid, source in ((done, 'completed'), (later, 'start later')):
        with pytest.raises(InvalidTransition) as caught:
            world.do(lambda service, jobid=jobid: service.retryJob(jobid))
        assert re.search(f"'{source}'.*'queued'", str(caught.value))
        assert (caught.value.source, caught.value.target) == (
            source, 'queued')
    with pytest.raises(KeyError):
        world.do(lambda service: service.retryJob(failed + 12345))
    failing.clear()
    for jobid in (failed, cancelled):
        world.do(lambda service, jobid=jobid: service.retryJob(jobid))
        assert world.status(jobid) == 'queued'
    assert world.drain() == 2
    assert world.see(lambda service: service.getResult(failed)) == 'done'
    assert ran == [1, 2]


def test_a_retry_is_refused_while_the_job_runs(world, register):
    @register
    def refused(input):
        (jobid,) = world.see(lambda service: list(service.jobs))
        with pytest.raises(InvalidTransition) as caught:
            world.do(lambda service: service.retryJob(jobid))
        return caught.value.source

    jobid = world.add('refused')
    world.drain()
    assert world.see(lambda service: service.getResult(jobid)) == 'processing'


def test_clean_takes_what_is_over_and_nothing_else(world, ran):
    done = [world.add('note', number) for number in range(40)]
    world.drain()
    cancelled = world.add('note', 'cancelled')
    world.do(lambda service: service.cancel(cancelled))
    queued = world.add('note', 'queued')
    assert world.see(lambda service: service.stats()['completed']) == 40
    world.do(lambda service: service.clean(['cancelled']))
    assert world.see(lambda service: set(service.jobs)) == {*done, queued}
    world.do(lambda service: service.clean())
    assert world.see(lambda service: list(service.jobs)) == [queued]
    stats = world.see(lambda service: service.stats())
    assert (stats['completed'], stats['cancelled'], stats['queued']) == (
        0, 0, 1)
    assert world.drain() == 1 and ran[-1] == 'queued'


def test_looking_writes_nothing(world, ran):
    for number in range(3):
        world.add('note', number)
    world.drain()
    world.add('note', 3)

    def look(connection):
        service = world.service(connection)
        service.stats(), service.listJobs(), service.listWorkers()
        service.hasJobsWaiting(), len(service._queue)
        return connection._registered_objects, connection._readCurrent

    registered, current = edge.read(world.db, look)
    assert (list(registered), dict(current)) == ([], {})
