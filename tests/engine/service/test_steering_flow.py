"""Limits and pauses are set and shown while workers run."""

import threading
import time
from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import transaction

from lovely.remotetask.errors import UsageError
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store import check
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


@pytest.fixture
def worker(application, service, register):
    """``worker()`` claims the next job; its id, or None."""
    register(FunctionTask(lambda input: input, limit=1), 'one')
    register(lambda input: input, 'any')
    made = SimpleProcessor(application.db, ['tasks']).worker

    def claim():
        transaction.commit()
        found = made.claim()
        transaction.begin()
        return None if found is None else found.jobid

    claim.flow = made.flow
    return claim


def row(service, name):
    (found,) = [row for row in service.listLimits() if row['name'] == name]
    return found


def test_what_people_set_stands_above_the_code(service, worker):
    jobs = service.addMany('one', [1, 2, 3])
    assert worker() == jobs[0] and worker() is None
    assert row(service, 'one') == {
        'kind': 'task', 'name': 'one', 'limit': 1, 'rate': None, 'set': False,
        'running': 1, 'waiting': 2}
    service.setLimit('one', limit=2)
    assert worker() == jobs[1] and worker() is None
    service.setLimit('one')
    assert worker() == jobs[2]
    assert row(service, 'one')['set'] and row(service, 'one')['limit'] is None
    service.unsetLimit('one')
    assert row(service, 'one')['limit'] == 1
    late = service.add('one')
    assert worker() is None and service.jobs[late].position[0] == 'barred'


def test_a_key_gets_a_limit(service, worker):
    jobs = [service.add('any', concurrencyKey='k') for _ in range(4)]
    assert worker() == jobs[0] and worker() is None
    assert row(service, 'k') == {
        'kind': 'key', 'name': 'k', 'limit': 1, 'rate': None, 'set': False,
        'running': 1, 'waiting': 3}
    service.setLimit(key='k', limit=2)
    assert worker() == jobs[1] and worker() is None
    service.setLimit(key='k', limit=4)
    assert {worker(), worker()} == set(jobs[2:])


def test_a_rate_by_the_clock_of_the_service(service, worker, clock):
    service.setLimit('any', rate=(2, 60))
    jobs = service.addMany('any', range(5))
    assert [worker(), worker(), worker()] == [*jobs[:2], None]
    clock.advance(59)
    assert worker() is None
    clock.advance(5)
    assert [worker(), worker(), worker()] == [*jobs[2:4], None]
    # A clock that was ahead by a day shuts no gate for a day.
    clock.advance(-86400)
    assert worker() == jobs[4]


@pytest.mark.parametrize('name', ['limit', 'keyLimit', 'rate'])
def test_the_log_tells_once_of_a_limit_that_cannot_be(service, worker, clock,
                                                      register, caplog, name):
    """A class of the application may have such an attribute of its own."""
    odd = FunctionTask(lambda input: input)
    setattr(odd, name, 'A4')
    register(odd, 'odd')
    jobs = service.addMany('odd', range(3), concurrencyKey='k')
    for jobid in jobs:
        worker.flow._until = 0.0    # options are read anew
        assert worker() == jobid
        service.cancel(jobid)
    (told,) = [record.getMessage() for record in caplog.records
               if record.levelname == 'WARNING']
    assert 'Task "odd"' in told and f"{name} is 'A4'" in told


@pytest.mark.parametrize('seconds', [6, 59, 60, 61, 3600])
def test_what_has_begun_counts_by_another_rate_too(service, worker, seconds):
    """The clock stands still."""
    service.setLimit('any', rate=(2, 60))
    jobs = service.addMany('any', range(8))
    assert [worker(), worker(), worker()] == [*jobs[:2], None]
    service.setLimit('any', rate=(2, seconds))
    assert worker() is None
    service.setLimit('any', rate=(3, seconds))
    assert [worker(), worker()] == [jobs[2], None]
    service.setLimit('any', rate=(3, 60))
    assert worker() is None


def test_what_began_before_a_shorter_span_does_not_count(service, worker,
                                                         clock):
    service.setLimit('any', rate=(2, 60))
    jobs = service.addMany('any', range(5))
    assert [worker(), worker(), worker()] == [*jobs[:2], None]
    clock.advance(20)
    service.setLimit('any', rate=(2, 10))
    assert [worker(), worker(), worker()] == [*jobs[2:4], None]
    service.setLimit('any', rate=(2, 60))
    assert worker() is None
    clock.advance(70)
    assert worker() == jobs[4]


@pytest.mark.parametrize('arguments, options, named', [
    (('one',), {'limit': 0}, 'limit is 0'),
    (('one',), {'limit': True}, 'limit is True'),
    (('one',), {'rate': (0, 1)}, r'rate is \(0, 1\)'),
    (('one',), {'rate': (1, -1)}, r'rate is \(1, -1\)'),
    (('one',), {'rate': 5}, 'rate is 5'),
    (('one',), {'rate': (1, float('nan'))}, r'rate is \(1, nan\)'),
    ((), {'limit': 1}, 'give a task or a key'),
    (('one',), {'key': 'k', 'limit': 1}, 'give a task or a key'),
    ((), {'key': '', 'limit': 1}, "concurrencyKey is ''"),
    ((), {'key': 'k' * 201, 'limit': 1}, 'concurrencyKey is'),
    ((5,), {'limit': 1}, 'task is 5'),
])
def test_limits_that_cannot_be(service, worker, arguments, options, named):
    with pytest.raises(UsageError, match=named):
        service.setLimit(*arguments, **options)
    assert service.jobqueue.limits.stored == {}


@pytest.mark.parametrize('options, named', [
    ({'concurrencyKey': ''}, "concurrencyKey is ''"),
    ({'concurrencyKey': 'k' * 201}, 'concurrencyKey is'),
    ({'concurrencyKey': 5}, 'concurrencyKey is 5'),
    ({'queue': 'a b'}, "queue is 'a b'"),
    ({'queue': ''}, "queue is ''"),
    ({'queue': 'x' * 65}, 'queue is'),
])
def test_options_that_cannot_be(service, worker, options, named):
    for add in (lambda: service.add('any', **options),
                lambda: service.addMany('any', [1], **options),
                lambda: service.addCronJob('any', minute=(0,), **options)):
        with pytest.raises(UsageError, match=named):
            add()
    assert len(service.jobs) == 0 and not service.jobqueue.named


# --- pauses ------------------

def test_one_queue_rests(service, worker):
    slow, other = service.add('any', queue='slow'), service.add('any')
    service.pause('too much', queue='slow')
    assert [worker(), worker()] == [other, None]
    default, paused = service.listQueues()
    assert (default['name'], default['paused']) == ('default', False)
    assert (paused['name'], paused['ready'], paused['paused'],
            paused['pauseReason']) == ('slow', 1, True, 'too much')
    assert service.stats()['paused'] is False
    assert not service.processNext()
    service.resume(queue='slow')
    assert worker() == slow


def test_the_default_queue_rests(service, worker):
    other, slow = service.add('any'), service.add('any', queue='slow')
    service.pause(queue='default')
    assert [worker(), worker()] == [slow, None]
    service.resume(queue='default')
    assert worker() == other


@pytest.mark.parametrize('rests', ['slow', 'default'])
@pytest.mark.parametrize('direct', [False, True])
def test_a_queue_that_rests_keeps_its_barred_jobs(service, worker, rests,
                                                  direct):
    """The place behind the gate is free by then, and others of it go on."""
    first, *waiting = service.addMany('one', range(200), queue=rests)
    assert worker() == first
    claims_till_all_are_barred(service, worker)
    behind = service.add('one', queue='other')
    assert worker() is None
    service.pause(queue=rests)
    service.cancel(first)
    if direct:
        service.process()
        assert service.getStatus(behind) == 'completed'
        assert service.claimNextJob() is None
    else:
        found = []
        for _ in range(5):
            worker.flow._next_look = 0.0
            found.append(worker())
        assert behind in found and set(found) == {behind, None}
        service.cancel(behind)
    assert {service.getStatus(jobid) for jobid in waiting} == {'queued'}
    service.resume(queue=rests)
    assert worker() == waiting[0]


def test_claims_by_hand_are_of_any_queue(service, worker, clock):
    """Also those of a queue that is new, and of one whose worker died."""
    died = service.add('any', queue='slow')
    assert worker() == died
    service.jobqueue.retire(service.jobs[died].claim[0], clock.now(),
                            charged=True)
    jobs = [service.add('any', queue='slow', priority=1), service.add('any'),
            service.add('any', queue='new', delay=60)]
    assert [service.claimNextJob() for _ in range(4)] == [died, *jobs[:2],
                                                          None]
    service.pause(queue='default')
    clock.advance(60)
    assert service.claimNextJob() == jobs[2]
    assert not service.hasJobsWaiting()
    service.process()
    for jobid in (died, *jobs):
        assert service.processNext(jobid=jobid)
        assert service.getStatus(jobid) == 'completed'


@pytest.mark.parametrize('queue', [None, 'slow'])
def test_a_pause_ends_by_itself(service, worker, clock, queue):
    jobid = service.add('any', queue='slow')
    until = datetime.fromtimestamp(clock.now(), UTC) + timedelta(hours=1)
    service.pause('backup', queue=queue, resumeAt=until)
    assert worker() is None
    shown = service.stats() if queue is None else service.listQueues()[1]
    assert (shown['paused'], shown['resumeAt']) == (True, until.isoformat())
    clock.advance(3599)
    assert worker() is None
    clock.advance(1)
    assert worker() == jobid
    shown = service.stats() if queue is None else service.listQueues()[1]
    assert (shown['paused'], shown['resumeAt']) == (False, None)


@pytest.mark.parametrize('options, named', [
    ({'queue': 'unknown'}, "no queue 'unknown'"),
    ({'queue': 'a b'}, "queue is 'a b'"),
    ({'resumeAt': datetime(2000, 1, 1, tzinfo=UTC)}, 'to come'),
    ({'resumeAt': datetime(2100, 1, 1)}, 'aware'),
    ({'resumeAt': 5}, 'resumeAt is 5'),
])
def test_pauses_that_cannot_be(service, worker, options, named):
    with pytest.raises(UsageError, match=named):
        service.pause(**options)
    assert service.stats()['paused'] is False
    if 'resumeAt' not in options:
        with pytest.raises(UsageError, match=named):
            service.resume(**options)


def test_idle_threads_hear_of_it(application, service, register, monkeypatch,
                                 wait_for):
    """Without a look: only a notification wakes them."""
    monkeypatch.setattr('lovely.remotetask.settings.SAFETY_SECONDS', DEADLINE)
    monkeypatch.setattr('lovely.remotetask.run.flow._LOOK_SECONDS', DEADLINE)
    begun, go = threading.Semaphore(0), threading.Event()

    def hold(input):
        begun.release()
        go.wait(DEADLINE)

    register(FunctionTask(hold, limit=1), 'hold')
    jobs = service.addMany('hold', [1, 2])
    other = service.add('hold', queue='slow', concurrencyKey='k')
    transaction.commit()
    service.pause(queue='slow')
    transaction.commit()
    thread = threading.Thread(target=MultiProcessor(
        application.db, ['tasks'], waitTime=DEADLINE, maxThreads=3))
    thread.database, thread.running = application.db, True
    thread.start()
    assert begun.acquire(timeout=DEADLINE)
    service.setLimit('hold', limit=3)
    transaction.commit()
    assert begun.acquire(timeout=DEADLINE)
    service.resume(queue='slow')
    transaction.commit()
    assert begun.acquire(timeout=DEADLINE)
    go.set()
    for jobid in (*jobs, other):
        wait_for(service, jobid, 'completed')


def test_a_limit_that_raises_keeps_no_job_from_running(service, worker,
                                                      register, log):
    class Odd(FunctionTask):
        @property
        def limit(self):
            raise RuntimeError('not now')

    register(Odd(lambda input: input), 'odd')
    jobid = service.add('odd')
    assert worker() == jobid
    assert sum('not now' in line for line in log) == 1
    assert service.listLimits() == [
        row for row in service.listLimits() if row['name'] == 'one']


# --- what else may happen to jobs that wait behind a gate ------------------

def test_a_job_that_is_deleted_or_ended_from_outside(service, worker):
    jobs = service.addMany('one', [1, 2, 3, 4])
    assert worker() == jobs[0] and worker() is None
    del service.jobs[jobs[1]]
    service.jobs[jobs[2]].status = 'completed'
    service.cancel(jobs[0])
    assert worker() == jobs[3] and worker() is None
    service.processNext(jobid=jobs[3])
    for _ in range(3):
        worker.flow._next_look = 0.0
        worker()
    assert not service.jobqueue.barred
    found, _ = service.listJobs(status='completed')
    assert jobs[2] in [job.id for job in found]


@pytest.mark.parametrize('verb', ['cancel', 'startNow', 'retryJob', 'clean'])
def test_verbs_of_a_barred_job(service, worker, verb):
    jobs = service.addMany('one', [1, 2])
    assert worker() == jobs[0] and worker() is None
    if verb == 'startNow':
        assert service.startNow(jobs[1]) is False
    elif verb == 'clean':
        service.clean()
    else:
        getattr(service, verb)(jobs[1])
    assert worker() is None
    assert service.getStatus(jobs[1]) == (
        'cancelled' if verb == 'cancel' else 'queued')
    service.cancel(jobs[0])
    assert worker() == (None if verb == 'cancel' else jobs[1])


def test_direct_processing_takes_them_too(service, worker):
    jobs = service.addMany('one', [1, 2, 3])
    assert worker() == jobs[0] and worker() is None
    assert service.hasJobsWaiting()
    service.process()
    assert [service.getStatus(jobid) for jobid in jobs[1:]] == [
        'completed', 'completed']
    assert not service.hasJobsWaiting()


def test_direct_processing_passes_by_what_is_no_barred_job(service, worker):
    jobs = service.addMany('one', [1, 2, 3, 4])
    assert worker() == jobs[0] and worker() is None
    del service.jobs[jobs[1]]
    service.jobs[jobs[2]].status = 'completed'
    service.process()
    assert service.getStatus(jobs[3]) == 'completed'
    assert not service.jobqueue.barred


@pytest.mark.parametrize('place', ['ready', 'barred', 'suspects'])
def test_direct_processing_leaves_a_queue_that_rests(service, worker, place):
    jobs = service.addMany('one', [1, 2], queue='slow')
    if place != 'ready':
        assert worker() == jobs[0] and worker() is None
    if place == 'suspects':
        service.jobqueue.retire(service.jobs[jobs[0]].claim[0],
                                service.clock.now(), charged=True)
    assert place in {service.jobs[jobid].position[0].partition('/')[0]
                     for jobid in jobs if service.jobs[jobid].position}
    other = service.add('any')
    service.pause('later', queue='slow')
    service.process()
    assert service.getStatus(other) == 'completed'
    assert 'completed' not in map(service.getStatus, jobs)
    service.resume(queue='slow')
    service.process()
    assert service.getStatus(jobs[1]) == 'completed'


def claims_till_all_are_barred(service, worker):
    before = -1
    while len(service.jobqueue.barred) != before:
        before = len(service.jobqueue.barred)
        assert worker() is None


@pytest.mark.parametrize('task, options', [
    ('any', {'concurrencyKey': 'k'}), ('one', {})])
def test_a_later_job_does_not_pass_those_of_one_moment(service, worker, task,
                                                       options):
    """Their places reach into the time of those that come later."""
    first, *jobs = service.addMany(task, range(400), **options)
    assert worker() == first
    claims_till_all_are_barred(service, worker)
    for wanted in jobs[:200]:
        service.cancel(first)
        first = worker()
        assert first == wanted
    jobs.append(service.add(task, 'late', **options))
    claims_till_all_are_barred(service, worker)
    for wanted in jobs[200:]:
        service.cancel(first)
        first = worker()
        assert first == wanted
    # Another one comes while the place is free, and one waits.
    late = [service.add(task, number, **options) for number in range(3)]
    for wanted in late:
        service.cancel(first)
        first = worker()
        assert first == wanted


def test_many_jobs_of_one_moment_are_barred_one_by_one(service, worker,
                                                       monkeypatch):
    """Not each behind a look at all others."""
    looks = []
    insert = Lanes.insert

    def counted(self, key, jobid):
        found = insert(self, key, jobid)
        looks.append(found - key)
        return found

    service.addMany('any', range(1000), concurrencyKey='k')
    assert worker() is not None
    monkeypatch.setattr(Lanes, 'insert', counted)
    claims_till_all_are_barred(service, worker)
    assert len(looks) == 999 and sum(looks) == 0


def test_a_check_finds_nothing_wrong_and_a_repair_harms_nothing(service,
                                                                worker):
    jobs = service.addMany('one', [1, 2, 3])
    service.add('any', queue='slow')
    assert worker() == jobs[0] and worker() is not None
    start, found = None, []
    while True:
        some, start = check.step(service.jobqueue, start, 100,
                                 service.clock.now())
        found += some
        if start is None:
            break
    assert found == []


def test_a_new_limit_ends_the_chain_of_a_thread(application, service,
                                                register):
    """Its jobs are claimed in the commits of others as long as they have no
    limit."""
    running, most, lock = set(), [], threading.Lock()

    def short(input):
        with lock:
            running.add(threading.get_ident())
            most.append(len(running))
        threading.Event().wait(0.001)
        with lock:
            running.discard(threading.get_ident())

    register(short)
    service.addMany('short', range(4000))
    transaction.commit()
    thread = threading.Thread(target=MultiProcessor(
        application.db, ['tasks'], waitTime=DEADLINE, maxThreads=3))
    thread.database, thread.running = application.db, True
    thread.start()
    while len(running) < 2:
        threading.Event().wait(0.001)
    service.setLimit('short', limit=1)
    transaction.commit()
    # Each thread looks twenty times a second.
    deadline = time.monotonic() + DEADLINE
    while len(most) < 5 or max(most) > 1:
        assert time.monotonic() < deadline
        most.clear()
        threading.Event().wait(0.2)
    assert thread.is_alive()
