"""A job's own retry and timeout count before those of its task."""

import sys
import threading
from dataclasses import dataclass

import pytest
import transaction
from zope.component import provideUtility
from zope.interface import implementer

from lovely.remotetask import settings
from lovely.remotetask.commands import CommandTask
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run import monitor
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.task import FunctionTask


@implementer(IRetryPolicy)
@dataclass
class Twice:
    """A policy of an application."""

    wait: float = 0.0

    def delay(self, failures, rng):
        return self.wait if failures <= 2 else None


@pytest.fixture
def fails(components):
    """Registers a task that fails always; the attempts of its runs."""
    attempts = []

    def fails(service, jobid, input):
        attempts.append(currentJob().attempt)
        raise ValueError('no')

    provideUtility(FunctionTask(fails, retry=RetryPolicy(1, base=0)), ITask,
                   'fails')
    return attempts


@pytest.mark.parametrize('retry, runs', [
    (None, 2), (0, 1), (RetryPolicy(3, base=0), 4), (Twice(), 3)], ids=repr)
def test_a_policy_of_its_own_counts(world, fails, retry, runs):
    jobid = world.add('fails', retry=retry)
    world.drain()
    assert world.status(jobid) == 'error'
    assert fails == [*range(1, runs + 1)]
    assert world.see(lambda service: service.jobs[jobid].retry) == retry


def test_a_number_waits_as_long_as_a_policy_of_that_number(
        world, fails, longest_waits, clock):
    jobid = world.add('fails', retry=2)
    waits = []
    for _ in range(3):
        world.drain()
        due = world.see(lambda service: service.jobs[jobid].due_at())
        waits.append(due and due - clock.now())
        clock.advance(10)
    assert waits == [1.0, 2.0, None]


def test_the_time_limit_is_that_of_the_job(world, components):
    limits = []

    def works(service, jobid, input):
        limits.append(currentJob()._timeout)

    provideUtility(FunctionTask(works, timeout=60), ITask, 'works')
    for timeout in (None, 5, 2.5):
        world.add('works', timeout=timeout)
    world.drain()
    assert limits == [60, 5, 2.5]


def test_a_run_over_the_limit_of_its_job_fails(world, components):
    """Finally; but a policy of the job's own may try it once more."""
    runs = []

    def works(service, jobid, input):
        runs.append(jobid)
        currentJob()._until = 0.0
        currentJob().check()

    provideUtility(FunctionTask(works), ITask, 'works')
    once = world.add('works', timeout=5)
    more = world.add('works', timeout=5, retry=RetryPolicy(2, base=0))
    world.drain()
    assert (runs.count(once), runs.count(more)) == (1, 3)
    for jobid in (once, more):
        assert 'longer than its limit of 5 seconds' in world.see(
            lambda service: service.getError(jobid))  # noqa: B023


def test_a_thread_over_the_limit_of_its_job_is_told(
        world, held, log, clock, monkeypatch):
    monkeypatch.setattr(settings, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(monitor, '_LOOK_ALONE_SECONDS', 0.05)
    # By the real clock it is far from that.
    jobid = world.add('hold', timeout=500)
    world.start()
    held.wait()
    clock.advance(501)
    world.until(lambda service: any(
        'is over its limit of 500 s' in line for line in log))
    held.go.set()
    assert world.until_over(jobid) == ['completed']


def test_a_command_keeps_the_limit_of_its_job(world, components):
    provideUtility(CommandTask(
        [sys.executable, '-c', 'import time; time.sleep(60)'], timeout=600),
        ITask, 'sleeps')
    jobid = world.add('sleeps', timeout=0.2)
    world.drain()
    assert 'did not end within 0.2 seconds' in world.see(
        lambda service: service.getError(jobid))


def test_a_command_is_tried_again_as_its_job_says(world, components, tmp_path):
    told = tmp_path / 'told'
    provideUtility(CommandTask(
        [sys.executable, '-c', 'import sys; open(sys.argv[1], "a").write('
         '"x"); sys.exit(3)', str(told)]), ITask, 'fails')
    world.add('fails')
    world.add('fails', retry=RetryPolicy(2, base=0))
    world.drain()
    assert told.read_text() == 'x' * (1 + 3)


# -- what is refused ----------------------------------------------------------

@implementer(IRetryPolicy)
class Local:
    """A policy that cannot be stored."""

    def __init__(self):
        self.lock = threading.Lock()

    def delay(self, failures, rng):
        return None

    def __repr__(self):
        return 'Local()'


@pytest.mark.parametrize('method', ['add', 'addMany', 'addCronJob'])
@pytest.mark.parametrize('options, reason', [
    ({'retry': -1}, 'retries is -1'),
    ({'retry': True}, 'retry is True; give a number of retries'),
    ({'retry': 'often'}, "retry is 'often'; give a number of retries"),
    ({'retry': 1.5}, 'retry is 1.5'),
    ({'retry': Local()}, 'cannot be stored with the job: it cannot be pickled'
     ),
    ({'timeout': 0}, 'timeout is 0; give'),
    ({'timeout': -1}, 'timeout is -1'),
    ({'timeout': '5'}, "timeout is '5'"),
    ({'timeout': True}, 'timeout is True'),
    ({'timeout': float('nan')}, 'timeout is nan'),
    ({'timeout': float('inf')}, 'timeout is inf'),
], ids=str)
def test_what_cannot_be_is_refused_and_nothing_is_stored(
        service, register, method, options, reason):
    register(lambda input: input, 'echo')
    input = [[1, 2]] if method == 'addMany' else [1]
    times = {'minute': (0,)} if method == 'addCronJob' else {}
    with pytest.raises(UsageError, match=reason.replace('(', r'\(')):
        getattr(service, method)('echo', *input, **times, **options)
    transaction.commit()
    assert len(service.jobs) == 0


def test_a_policy_whose_class_is_gone_fails_the_job_with_the_reason(
        world, fails, monkeypatch):
    jobid = world.add('fails', retry=Twice())
    monkeypatch.delattr(f'{__name__}.Twice')
    world.db.cacheMinimize()
    world.drain()
    assert world.status(jobid) == 'error'
    error = world.see(lambda service: service.getError(jobid))
    assert 'the retry policy of task' in error
    assert fails == [1]


# -- schedules ----------------------------------------------------------------

def own(world, jobid):
    return world.see(lambda service: (
        service.jobs[jobid].retry, service.jobs[jobid].timeout))


def test_a_schedule_is_edited_and_updated(world, fails, clock):
    def add(**options):
        return world.do(lambda service: service.addCronJob(
            'fails', minute=(0,), key='mine', onDuplicate='update',
            **options))

    jobid = add(retry=RetryPolicy(2, base=0), timeout=5)
    assert own(world, jobid) == (RetryPolicy(2, base=0), 5)
    world.do(lambda service: service.editCronJob(jobid, timeout=7))
    assert own(world, jobid) == (RetryPolicy(2, base=0), 7)
    world.do(lambda service: service.editCronJob(
        jobid, retry=Twice(), timeout=None))
    assert own(world, jobid) == (Twice(), None)
    world.do(lambda service: service.editCronJob(jobid, retry=4))
    assert own(world, jobid) == (4, None)
    with pytest.raises(UsageError, match='retries is -1'):
        world.do(lambda service: service.editCronJob(jobid, retry=-1))
    assert add() == jobid
    assert own(world, jobid) == (None, None)


def test_an_update_that_changes_nothing_writes_nothing(world, fails):
    options = dict(minute=(0,), key='mine', onDuplicate='update',
                   retry=RetryPolicy(2, base=0), timeout=5)
    jobid = world.do(lambda service: service.addCronJob('fails', **options))

    def serial():
        return world.see(lambda service: (
            service.jobs[jobid]._p_activate(), service.jobs[jobid]._p_serial))

    before = serial()
    world.do(lambda service: service.addCronJob('fails', **options))
    assert serial() == before


def test_an_edit_amid_a_run_counts_from_the_next_one(world, components, clock):
    limits = []

    def works(service, jobid, input):
        if not limits:
            world.do(lambda service: service.editCronJob(
                jobid, timeout=7, retry=RetryPolicy(5)))
        limits.append(currentJob()._timeout)

    provideUtility(FunctionTask(works), ITask, 'works')
    jobid = world.do(lambda service: service.addCronJob(
        'works', minute=(0,), timeout=5))
    for _ in range(2):
        clock.advance(3600)
        world.drain()
    assert limits == [5, 7]
    assert own(world, jobid) == (RetryPolicy(5), 7)


def test_a_run_beside_another_one_has_them_too(world, fails, clock):
    jobid = world.do(lambda service: service.addCronJob(
        'fails', minute=(0,), overlap='allow', timeout=5,
        retry=RetryPolicy(3, base=0)))
    clock.advance(3600)
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    assert worker.claim().jobid == jobid
    clock.advance(3600)
    other = world.processor().worker
    other.enroll(PROCESSOR, 1)
    beside = other.claim().jobid
    assert beside != jobid
    assert own(world, beside) == (RetryPolicy(3, base=0), 5)


def test_a_job_without_them_has_as_short_a_record(service, register):
    register(lambda input: input, 'echo')
    without, with_ = service.add('echo'), service.add('echo', retry=1)
    transaction.commit()

    def size(jobid):
        return len(service._p_jar.db().storage.load(
            service.jobs[jobid]._p_oid)[0])

    # The values of a record stand in one row, and what is not there at its end
    # takes no room.
    assert 0 < size(with_) - size(without) < 30
