"""Jobs that are over are removed by workers, and only when it is time."""

import os
import random
from datetime import timedelta

import pytest
import transaction
import zope.component

from lovely.remotetask.context import currentJob
from lovely.remotetask.edge.clock import SystemClock
from lovely.remotetask.errors import UsageError
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.job import CronJob
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run.pruner import Pruner
from lovely.remotetask.store import batches
from lovely.remotetask.store import figures
from lovely.remotetask.store import pruning
from lovely.remotetask.store import retention
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import kept_seconds

DAY = 86_400
HOUR = 3600


@pytest.fixture
def worker(application, service, clock):
    """A worker that runs what is ready, and is the one that removes jobs."""
    transaction.commit()
    processor = SimpleProcessor(application.db, ['tasks'])
    processor.worker.enroll(LOOP, 1)
    return processor


@pytest.fixture
def pruner(worker, monkeypatch):
    # The first job of a block stays for a while: see the kit.
    monkeypatch.setattr(pruning, '_OPEN_SECONDS', 0.0)
    return Pruner(worker.worker)


@pytest.fixture
def ended(service, worker, register, ran):
    """Run jobs to their ends, one after the other; their ids."""
    def fails(input):
        from lovely.remotetask.task import TaskError
        raise TaskError('no')

    register(fails)

    def ended(count, task='note'):
        ids = [service.add(task, number) for number in range(count)]
        transaction.commit()
        while worker.processNext():
            pass
        transaction.begin()
        return ids

    return ended


def left(service):
    transaction.begin()
    return set(service.jobs)


def close_groups(service):
    """As the monitor of a worker does."""
    queue = service.jobqueue
    for _, number in list(queue.batches.open.up()):
        batches.close(queue, number, None, service.clock.now())
    transaction.commit()


def prune_groups(pruner):
    pruner._groups = 0
    while pruner.remove_groups():
        pass


def prune(pruner):
    steps = 0
    while pruner.step():
        steps += 1
        assert steps < 100
    return pruner.removed


def test_nothing_is_removed_before_its_time(service, clock, ended, pruner):
    ids = ended(20)
    clock.advance(7 * DAY - 60)
    assert prune(pruner) == 0 and left(service) == set(ids)
    clock.advance(120)
    assert prune(pruner) == 20 and not left(service)


def test_a_failed_job_stays_for_longer(service, clock, ended, pruner):
    failed, done = ended(3, 'fails'), ended(3)
    assert service.getStatus(failed[0]) == 'error'
    clock.advance(8 * DAY)
    prune(pruner)
    assert left(service) == set(failed) and not left(service) & set(done)
    clock.advance(83 * DAY)
    prune(pruner)
    assert not left(service)


def test_of_too_many_the_oldest_go(service, clock, ended, pruner):
    service.setRetention('completed', count=30)
    ids = []
    for _ in range(5):
        ids += ended(10)
        clock.advance(10)
    assert prune(pruner) == 20
    assert left(service) == set(ids[20:])
    # Exactly so many stay.
    assert prune(pruner) == 20


def test_cancelled_jobs_go_by_their_own_bounds(service, clock, ended, pruner):
    service.setRetention('cancelled', count=5)
    ids = [service.add('note', startLater=True) for _ in range(12)]
    for jobid in ids:
        service.cancel(jobid)
    transaction.commit()
    prune(pruner)
    assert len(left(service)) == 5


def test_none_keeps_for_ever(service, clock, ended, pruner):
    service.setRetention('completed', days=None, count=None)
    ids = ended(3)
    clock.advance(5000 * DAY)
    assert prune(pruner) == 0 and left(service) == set(ids)


@pytest.mark.parametrize('status, changes', [
    ('queued', {'days': 1}), ('completed', {'days': 0}),
    ('completed', {'days': -1}), ('completed', {'days': '7'}),
    ('completed', {'days': True}), ('completed', {'days': float('nan')}),
    ('completed', {'count': 0}), ('completed', {'count': 1.5}),
    ('completed', {'count': True}), ('completed', {'hours': 1}),
    (None, {'days': 1}),
])
def test_what_is_no_bound_is_refused(service, status, changes):
    before = service.getRetention()
    with pytest.raises(UsageError):
        service.setRetention(status, **changes)
    assert service.getRetention() == before


def test_what_is_not_named_stays(service):
    service.setRetention('error', days=3)
    assert service.getRetention() == {
        'completed': {'days': 7, 'count': 100_000},
        'error': {'days': 3, 'count': 10_000},
        'cancelled': {'days': 90, 'count': 10_000}}


def keep(service, worker, name, seconds):
    zope.component.getUtility(ITask, name).keep = (
        timedelta(seconds=seconds) if isinstance(seconds, int | float)
        else seconds)
    worker.worker.declared.settle()
    transaction.begin()


def test_a_task_says_how_long_its_jobs_stay(
        service, clock, ended, pruner, worker, register):
    register(lambda input: input, 'short')
    register(lambda input: input, 'long')
    keep(service, worker, 'short', 60)
    keep(service, worker, 'long', timedelta(days=365))
    assert retention.keeps_of(service.jobqueue) == {
        'short': 60, 'long': 365 * DAY}
    short, long, usual = ended(20, 'short'), ended(20, 'long'), ended(20)
    clock.advance(61)
    prune(pruner)
    assert left(service) == {*long, *usual}
    clock.advance(8 * DAY)
    prune(pruner)
    assert left(service) == set(long)
    clock.advance(358 * DAY)
    prune(pruner)
    assert not left(service)
    assert len(short) == pruner.removed - 40


def test_what_stays_is_not_looked_at_again(
        service, clock, ended, pruner, worker, register, monkeypatch):
    register(lambda input: input, 'long')
    keep(service, worker, 'long', 365 * DAY)
    ended(50, 'long')
    looked = []
    take = pruning.take
    monkeypatch.setattr(pruning, 'take', lambda queue, jobid, *rest: (
        looked.append(jobid), take(queue, jobid, *rest))[1])
    clock.advance(8 * DAY)
    prune(pruner)
    assert len(looked) == 50
    ended(1)
    clock.advance(8 * DAY)
    prune(pruner)
    assert len(looked) == 51


def test_a_schedule_and_its_error_stay(service, clock, worker, ended, pruner):
    ended(0)
    jobid = service.addCronJob('fails', delay=None, every=40 * DAY)
    transaction.commit()
    clock.advance(41 * DAY)
    while worker.processNext():
        pass
    transaction.begin()
    assert service.jobs[jobid].position[0] == 'error'
    service.setRetention('error', days=1, count=1)
    transaction.commit()
    clock.advance(35 * DAY)
    prune(pruner)
    transaction.begin()
    job = service.jobs[jobid]
    assert isinstance(job, CronJob) and job.position[0] == 'error'


def test_a_job_beside_which_others_are_added_stays_for_a_while(
        service, clock, ended, pruner, monkeypatch):
    ids = ended(4)
    monkeypatch.setattr(pruning._Walk, '_holds_block',
                        lambda self, job: job.id == ids[1])
    clock.advance(8 * DAY)
    assert prune(pruner) == 3 and left(service) == {ids[1]}
    monkeypatch.undo()
    assert prune(pruner) == 3
    # Anew, as once an hour.
    pruner._marks = {}
    assert prune(pruner) == 4


def test_a_key_is_free_again(service, clock, worker, ended, pruner):
    ended(0)
    first = service.add('note', key='one')
    transaction.commit()
    while worker.processNext():
        pass
    clock.advance(8 * DAY)
    assert prune(pruner) == 1
    transaction.begin()
    second = service.add('note', key='one', onDuplicate='any')
    assert second != first
    assert service.jobqueue.uniques.has('one', second)


@pytest.mark.parametrize('by', ['worker', 'clean'])
def test_of_a_group_nothing_stays(service, clock, ended, pruner, book, by,
                                  monkeypatch):
    """Also where it had no jobs, or they were deleted without a word."""
    monkeypatch.setattr('lovely.remotetask.settings.BULK_BATCH', 2)
    groups = [service.addGroup([]), service.addGroup([], Call('note')),
              *[service.addGroup([Call('note', number) for number in range(2)])
                for _ in range(3)]]
    waits = service.addGroup([], Call('note', delay=90 * DAY))
    ended(0)
    for group, some in zip(groups[2:4], ([0, 1], [1]), strict=True):
        for number in some:
            del service.jobs[service.getGroup(group)['jobs'][number]]
    close_groups(service)
    kept = [waits, service.addGroup([Call('note', delay=90 * DAY)])]
    transaction.commit()

    def known():
        transaction.begin()
        return list(service.jobqueue.batches.all.ids())

    assert sorted(known()) == sorted([*groups, *kept])
    if by == 'clean':
        service.clean()
        transaction.commit()
        assert sorted(known()) == sorted(kept)
        return
    clock.advance(6 * DAY)
    prune_groups(pruner)
    assert sorted(known()) == sorted([*groups, *kept])
    clock.advance(2 * DAY)
    prune(pruner)
    prune_groups(pruner)
    assert sorted(known()) == sorted(kept)
    service.setRetention('completed', days=None)
    transaction.commit()
    clock.advance(90 * DAY)
    ended(0)
    close_groups(service)
    prune_groups(pruner)
    assert sorted(known()) == sorted(kept)


@pytest.fixture
def book(service, worker, register):
    """What follows a group notes the results of its jobs in a list."""
    book = []

    def bind(input):
        book.extend(currentJob().service.getResult(jobid)
                    for jobid in input['jobs'])

    register(bind)
    return book


@pytest.mark.parametrize('waits', ['for a job', 'for its time'])
@pytest.mark.parametrize('bounds', [{}, {'days': None, 'count': 1}])
def test_results_stay_for_what_follows_their_group(
        service, clock, worker, ended, pruner, book, bounds, waits):
    late = 10 * DAY
    last, then = (({'delay': late}, {}) if waits == 'for a job'
                  else ({}, {'delay': late}))
    service.setRetention('completed', **bounds)
    service.addGroup([*(Call('note', number) for number in range(4)),
                      Call('note', 4, **last)], Call('bind', RESULT, **then))
    free = service.addGroup([Call('note', 5), Call('note', 6, delay=late)])
    others = ended(3)
    clock.advance(late - DAY)
    prune(pruner)
    gone = {others[0], others[1], service.getGroup(free)['jobs'][0]}
    assert gone & left(service) == set()
    clock.advance(2 * DAY)
    ended(0)
    assert book == [0, 1, 2, 3, 4]
    clock.advance(8 * DAY)
    # What was left is looked at once more after an hour.
    pruner._marks = {}
    prune(pruner)
    assert len(left(service)) == (1 if bounds else 0)


def test_a_group_that_is_never_mended_keeps_nothing_for_ever(
        service, clock, ended, pruner, book):
    group = service.addGroup(['fails', *[Call('note', 1)] * 3],
                             Call('bind', RESULT))
    ended(0)
    clock.advance(89 * DAY)
    prune(pruner)
    assert len(left(service)) == 4
    clock.advance(2 * DAY)
    prune(pruner)
    assert len(left(service)) == 3
    assert service.getGroup(group)['state'] == 'broken'
    close_groups(service)
    pruner._marks = {}
    prune(pruner)
    assert left(service) == set() and not len(service.jobqueue.batches.all)


def test_totals_and_pages_go_on(service, clock, ended, pruner):
    ended(40)
    clock.advance(8 * DAY)
    new = ended(40)
    jobs, cursor = service.listJobs('completed', limit=30)
    before = [service.jobqueue.total(number, 'completed')
              for number in service.jobqueue.slots]
    assert prune(pruner) == 40
    transaction.begin()
    more, end = service.listJobs('completed', start=cursor, limit=30)
    assert end is None
    assert [job.id for job in (*jobs, *more)] == new[::-1]
    assert before == [service.jobqueue.total(number, 'completed')
                      for number in service.jobqueue.slots]


def test_one_worker_removes(application, service, clock, ended, pruner):
    ended(3)
    other = SimpleProcessor(application.db, ['tasks'])
    other.worker.enroll(LOOP, 1)
    clock.advance(8 * DAY)
    first, second = sorted((pruner, Pruner(other.worker)),
                           key=lambda one: one._worker.identity.id)
    assert not second.step() and second.removed == 0
    assert first.step() and first.removed == 3


def test_a_busy_thread_keeps_its_last_bucket(
        service, clock, ended, pruner, worker):
    ids = ended(20)
    clock.advance(8 * DAY)
    service.add('note', 'runs')
    transaction.commit()
    claim = worker.worker.claim()
    prune(pruner)
    # The thread will write that bucket at the end of its run.
    assert left(service) == {*ids[16:], claim.jobid}
    worker.worker.run(claim)
    prune(pruner)
    assert left(service) >= {claim.jobid}


def test_the_logs_shrink(service, clock, ended, pruner):
    ended(200)
    clock.advance(8 * DAY)
    prune(pruner)
    transaction.begin()
    logs = [slot.completed for slot in service.jobqueue.slots.values()]
    assert sum(len(log.buckets) for log in logs) <= len(logs)
    assert not service.jobqueue.stats(clock.now())['completed']


def test_they_shrink_behind_a_job_that_stays(service, clock, ended, pruner,
                                             worker, register):
    register(lambda input: input, 'long')
    keep(service, worker, 'long', 365 * DAY)
    ended(1, 'long')
    ended(200)
    clock.advance(8 * DAY)
    assert prune(pruner) == 200
    transaction.begin()
    assert sum(len(slot.completed.buckets)
               for slot in service.jobqueue.slots.values()) <= 2


def buckets(service):
    transaction.begin()
    return sum(len(slot.completed.buckets)
               for slot in service.jobqueue.slots.values())


@pytest.mark.parametrize('dies', [False, True])
def test_they_shrink_however_many_were_emptied(
        service, clock, ended, pruner, worker, register, monkeypatch, dies):
    """Also what a worker has emptied that is dead before its threads rest."""
    if not dies:
        monkeypatch.setattr(pruning, '_MOST_HOLES', 3)
    register(lambda input: input, 'long')
    keep(service, worker, 'long', 365 * DAY)
    ended(1, 'long')
    ended(200)
    service.add('note', 'runs')
    transaction.commit()
    # The thread is at work: the tree of its log is left to it.
    claim = worker.worker.claim()
    clock.advance(8 * DAY)
    prune(pruner)
    # The last bucket stays as it is, too.
    assert 185 <= pruner.removed < 200 and buckets(service) == 13
    if dies:
        pruner = Pruner(worker.worker)
    worker.worker.run(claim)
    clock.advance(HOUR)
    prune(pruner)
    assert buckets(service) <= 3
    # What is left is looked at once.
    before = service._p_jar.db().lastTransaction()
    prune(pruner)
    assert service._p_jar.db().lastTransaction() == before


def test_they_shrink_beside_a_thread_that_keeps_an_earlier_job(
        application, service, clock, ended, pruner, worker, register,
        monkeypatch):
    monkeypatch.setattr(pruning, '_MOST_HOLES', 3)
    register(lambda input: input, 'long')
    keep(service, worker, 'long', 365 * DAY)
    ended(1)
    service.add('note', 'runs')
    transaction.commit()
    worker.worker.claim()
    other = SimpleProcessor(application.db, ['tasks'])
    other.worker.enroll(LOOP, 1)
    for task, count in (('long', 1), ('note', 200)):
        clock.advance(1)
        service.addMany(task, range(count))
        transaction.commit()
        # A lane of the other worker is taken from once it has lain still.
        while service.jobqueue.counts()['ready']:
            clock.advance(1)
            other.processNext()
            transaction.begin()
    clock.advance(8 * DAY)
    pruners = [pruner, Pruner(other.worker)]
    assert sum(map(prune, pruners)) >= 199
    # The thread at work has a bucket of its own.
    assert buckets(service) <= 4


def test_it_does_as_a_model_does(service, clock, ended, pruner, worker,
                                 register):
    rng = random.Random(8)
    keeps = {'a': None, 'b': 3600.0, 'c': 30 * DAY}
    for name, seconds in keeps.items():
        register(lambda input: input, name)
        keep(service, worker, name, seconds)
    service.setRetention('completed', days=7, count=60)
    ends = {}
    for _ in range(60):
        for jobid in ended(rng.randrange(6), rng.choice('abc')):
            ends[jobid] = clock.now()
        clock.advance(rng.choice([1, 60, 3600, DAY]))
        transaction.begin()
        tasks = {jobid: job.task for jobid, job in service.jobs.items()}
        ranks = {jobid: rank for rank, jobid in enumerate(
            sorted(tasks, key=ends.get, reverse=True))}
        prune(pruner)
        transaction.begin()
        now, there = clock.now(), list(service.jobs)
        for jobid in tasks.keys() - there:
            # None goes before its time.
            seconds, age = keeps[tasks[jobid]], now - ends[jobid]
            assert (age >= seconds if seconds is not None
                    else age >= 7 * DAY or ranks[jobid] >= 60 - 5)
        for jobid in there:
            seconds = keeps[tasks[jobid]]
            assert now - ends[jobid] <= (
                7 * DAY if seconds is None else seconds) + 1
        assert len([jobid for jobid in there if tasks[jobid] == 'a']) <= 60
    assert service.jobs


def test_a_file_grows_hardly_at_all(application, service, clock, worker,
                                    pruner, register):
    """2,000 jobs through, 200 kept, packed; 100,000: see benchmarks."""
    register(lambda input: input, 'note')
    service.setRetention('completed', count=200)
    transaction.commit()
    path = application.db.storage.getName()

    def through(count):
        for _ in range(count // 200):
            service.addMany('note', [None] * 200)
            transaction.commit()
            while claims := worker.worker.claim_some():
                worker.worker.work(claims, lambda: True)
            clock.advance(60)
            prune(pruner)
            transaction.begin()
        assert len(service.jobs) == 200
        application.db.pack()
        return os.path.getsize(path)

    before = through(400)
    after = through(2000)
    assert after < before * 1.1


def test_charts_and_totals_keep_what_no_history_had(
        service, clock, worker, pruner, register):
    """Removed within the minute in which it ended, and by an idle worker."""
    register(lambda input: input, 'brief')
    keep(service, worker, 'brief', 60)

    def run(count):
        transaction.begin()
        service.addMany('brief', [None] * count)
        transaction.commit()
        while claims := worker.worker.claim_some():
            worker.worker.work(claims, lambda: True)
        transaction.begin()

    def told():
        transaction.begin()
        return (figures.ever(service.jobqueue)['brief'].done,
                service.historyOfTasks(24)['brief']['done'],
                sum(row['done'] for row in service.history(24)))

    run(70)
    clock.advance(61)
    assert told() == (70, 70, 70)
    assert prune(pruner) >= 48 and told() == (70, 70, 70)
    # Now the worker stores them, and they do not count twice.
    run(70)
    assert told() == (140, 140, 140)
    clock.advance(61)
    prune(pruner)
    run(1)
    clock.advance(61)
    run(70)
    assert told() == (211, 211, 211)
    worker.worker.leave()
    assert told() == (211, 211, 211)


def test_a_clock_that_jumps_ahead_removes_nothing_at_once(
        service, clock, ended, pruner, log, monkeypatch):
    ids = ended(3)
    clock.advance(30 * DAY)
    now = SystemClock.now
    monkeypatch.setattr(SystemClock, 'now', lambda self: now(self) + 30 * DAY)
    pruner._next = 0.0
    pruner.go_on(1.0)
    assert left(service) == set(ids)
    assert any('the clock has gone 720 hours ahead' in line for line in log)
    # Not at the next looks either, but once an hour has passed.
    pruner.go_on(1.0)
    assert left(service) == set(ids)
    pruner._next = 0.0
    pruner.go_on(1.0)
    assert not left(service)


@pytest.mark.parametrize('option, seconds', [
    (60, None), (timedelta(minutes=1), 60.0), (True, None), ('60', None)])
def test_an_attribute_of_an_application_is_no_age(option, seconds):
    class Task:
        keep = option

    assert kept_seconds(Task()) == seconds
