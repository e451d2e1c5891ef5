"""Running a job: its effects and its fate are one commit."""

import threading
import time

import pytest
import transaction
import zope.component
from transaction.interfaces import TransientError

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask

DEADLINE = 30
AT_ONCE = RetryPolicy(retries=2, base=0.0)


@pytest.fixture
def task(world):
    """Registers ``f(service, jobid, input)`` under its name."""
    def task(function=None, **options):
        if function is None:
            return lambda function: task(function, **options)
        zope.component.provideUtility(
            FunctionTask(function, **options), ITask, function.__name__)
        return function

    return task


def job_of(world, jobid):
    """What is stored about a job, as plain values."""
    names = 'status attempts failures output claim interruptions'.split()
    return world.see(lambda service: {
        name: getattr(service.jobs[jobid], name) for name in names})


def test_effects_and_result_are_stored_together(world, task):
    seen = []

    @task
    def work(service, jobid, input):
        world.effect(service, 'work')
        seen.append(world.see(lambda service: (
            service.getStatus(jobid), service.jobs[jobid].attempts,
            [job.id for job in service.listJobs('processing')[0]])))
        seen.append(world.effects())
        return {'got': input}

    jobid = world.add('work', [1, 2])
    assert world.drain() == 1
    # While it ran nobody saw its effects, and everybody that it ran.
    assert seen == [('processing', 1, [jobid]), {}]
    assert job_of(world, jobid) == {
        'status': 'completed', 'attempts': 1, 'failures': 0, 'claim': None,
        'output': {'got': [1, 2]}, 'interruptions': 0}
    assert world.effects() == {'work': 1}
    started, completed = world.see(lambda service: (
        service.jobs[jobid].startedAt, service.jobs[jobid].completedAt))
    assert started <= completed


@pytest.mark.parametrize('error', [
    TaskError('no'), ValueError('no'), SystemExit('no'), CancelJob('no'),
    RetryLater(3600)], ids=lambda error: type(error).__name__)
def test_partial_writes_of_a_failing_task_are_gone(world, task, error):
    @task(retry=NO_RETRY)
    def work(service, jobid, input):
        world.effect(service, 'half')
        service.add('work', 'follow-up')
        raise error

    jobid = world.add('work')
    assert world.drain() == 1
    assert world.effects() == {}
    assert world.see(lambda service: list(service.jobs)) == [jobid]
    assert world.status(jobid) == {
        'CancelJob': 'cancelled', 'RetryLater': 'queued'}.get(
            type(error).__name__, 'error')
    if world.status(jobid) == 'error':
        assert world.see(lambda service: service.getError(jobid)) == 'no'


def test_a_failure_is_retried_by_the_policy_of_its_task(world, task):
    attempts = []

    @task(retry=AT_ONCE)
    def work(service, jobid, input):
        attempts.append(currentJob().attempt)
        world.effect(service, 'work')
        if len(attempts) < 3:
            raise ValueError(f'attempt {len(attempts)}')

    jobid = world.add('work')
    world.start()
    assert world.until_over(jobid) == ['completed']
    assert attempts == [1, 2, 3] and world.effects() == {'work': 1}
    assert world.see(lambda service: service.getError(jobid)) == 'None'


def test_after_the_last_retry_comes_the_error(world, task):
    @task(retry=AT_ONCE)
    def work(service, jobid, input):
        raise ValueError(f'attempt {currentJob().attempt}')

    jobid = world.add('work')
    world.start()
    assert world.until_over(jobid) == ['error']
    assert job_of(world, jobid)['attempts'] == 3
    error = world.see(lambda service: service.jobs[jobid].error)
    assert (error.type, error.message) == ('ValueError', 'attempt 3')
    assert 'raise ValueError' in error.traceback


def test_a_conflict_runs_the_task_again_and_is_not_charged(
        world, task, log):
    runs = []

    @task(retry=NO_RETRY)
    def work(service, jobid, input):
        runs.append(jobid)
        world.effect(service, 'work')
        if len(runs) == 1:
            # Somebody else writes the same object meanwhile.
            world.do(lambda service: world.effect(service, 'work'))
        elif len(runs) < 6:
            raise TransientError('and these are of the task itself')
        return 'done'

    jobid = world.add('work')
    assert world.drain() == 1
    assert len(runs) == 6
    assert world.effects() == {'work': 2}
    job = job_of(world, jobid)
    assert (job['status'], job['attempts'], job['failures']) == (
        'completed', 1, 0)
    assert job['output'] == 'done' and log == []


def test_follow_up_jobs_are_added_with_the_finish(world, task):
    @task
    def work(service, jobid, input):
        if input:
            ids = [service.add('work', input - 1) for _ in range(2)]
            assert world.see(lambda service: not {*ids} & {*service.jobs})
        world.effect(service, input)

    world.add('work', 3)
    assert world.drain() == 15
    assert world.effects() == {3: 1, 2: 2, 1: 4, 0: 8}
    assert world.see(lambda service: service.stats()['completed']) == 15


def test_a_task_may_commit_by_itself(world, task):
    @task(retry=AT_ONCE)
    def work(service, jobid, input):
        world.effect(service, 'first')
        transaction.commit()
        world.effect(service, 'second')
        if currentJob().attempt == 1:
            raise ValueError('after a commit')

    jobid = world.add('work')
    world.start()
    assert world.until_over(jobid) == ['completed']
    # What it committed stays; what followed went with the failure.
    assert world.effects() == {'first': 2, 'second': 1}


def test_a_task_may_abort_its_transaction(world, task):
    @task(retry=NO_RETRY)
    def work(service, jobid, input):
        world.effect(service, 'aborted')
        transaction.abort()
        world.effect(service, input)
        if input == 'lost':
            raise ValueError('after an abort')
        return 'done'

    kept, lost = world.add('work', 'kept'), world.add('work', 'lost')
    assert world.drain() == 2
    assert world.effects() == {'kept': 1}
    assert job_of(world, kept)['output'] == 'done'
    assert [world.status(jobid) for jobid in (kept, lost)] == [
        'completed', 'error']


@pytest.mark.parametrize('look', ['with a fresh snapshot', 'with an old one'])
def test_a_retired_run_can_commit_nothing_any_more(world, task, look):
    """Also not by itself; another worker does the work."""
    raised = []

    @task(retry=NO_RETRY)
    def work(service, jobid, input):
        attempt = currentJob().attempt
        world.effect(service, f'{attempt} first')
        transaction.commit()
        if attempt == 1 and input != 'again':
            worker = service.jobs[jobid].claim[0]
            world.do(lambda service: service.jobqueue.retire(
                worker, service.clock.now(), charged=True))
            if look == 'with a fresh snapshot':
                transaction.abort()
        world.effect(service, f'{attempt} second')
        try:
            transaction.commit()
        except (LeaseLost, TransientError) as error:
            raised.append(type(error))
            raise

    jobid = world.add('work')
    one, two = world.processor(), world.processor()
    assert one.processNext() is True
    assert len(raised) == 1
    if look == 'with a fresh snapshot':
        assert raised == [LeaseLost]
    assert world.status(jobid) == 'queued'
    assert world.effects() == {'1 first': 1}
    assert two.processNext() is True
    assert world.effects() == {'1 first': 1, '2 first': 1, '2 second': 1}
    job = job_of(world, jobid)
    assert (job['status'], job['attempts'], job['interruptions']) == (
        'completed', 2, 1)
    # And the retired one goes on under a new name.
    again = world.add('work', 'again')
    assert one.processNext() is True
    assert world.status(again) == 'completed'


def test_a_retired_run_that_swallows_it_commits_nothing_either(world, task):
    @task
    def work(service, jobid, input):
        if currentJob().attempt > 1:
            return 'second'
        worker = service.jobs[jobid].claim[0]
        world.do(lambda service: service.jobqueue.retire(
            worker, service.clock.now(), charged=True))
        for _ in range(3):
            transaction.abort()
            world.effect(service, 'swallowed')
            with pytest.raises(LeaseLost):
                transaction.commit()
        transaction.abort()
        world.effect(service, 'at the end')
        return 'first'

    jobid = world.add('work')
    world.processor().processNext()
    assert world.status(jobid) == 'queued' and world.effects() == {}
    world.processor().processNext()
    assert world.effects() == {}
    assert job_of(world, jobid)['output'] == 'second'


def test_a_task_knows_its_job(world, task):
    seen = []

    # A limit that is far away cancels nothing.
    @task(retry=AT_ONCE, timeout=3600)
    def work(service, jobid, input):
        current = currentJob()
        seen.append((current.id == jobid, current.task, current.attempt,
                     current.idempotencyKey, current.cancelled))
        if len(seen) < 4:
            raise ValueError

    first = world.add('work')
    world.start()
    assert world.until_over(first) == ['error']
    world.do(lambda service: service.retryJob(first))
    assert world.until_over(first) == ['completed']
    world.until_over(world.add('work'))
    keys = [key for *_, key, _ in seen]
    assert [row[:3] for row in seen] == [
        (True, 'work', 1), (True, 'work', 2), (True, 'work', 3),
        (True, 'work', 4), (True, 'work', 1)]
    assert not any(cancelled for *_, cancelled in seen)
    # The same in all attempts, and another in another job.
    assert len(set(keys[:4])) == 1 and keys[4] not in keys[:4]
    with pytest.raises(UsageError, match='no job is running'):
        currentJob()


def test_a_running_job_hears_that_it_was_cancelled(world, task):
    running, heard = threading.Event(), []

    @task
    def work(service, jobid, input):
        world.effect(service, 'work')
        running.set()
        pause = threading.Event()
        deadline = time.monotonic() + DEADLINE
        while not currentJob().cancelled:
            assert time.monotonic() < deadline
            pause.wait(0.02)
        heard.append(time.monotonic())
        return 'ignored'

    jobid = world.add('work')
    world.start()
    assert running.wait(DEADLINE)
    world.do(lambda service: service.cancel(jobid), world.other())
    cancelled = time.monotonic()
    world.until(lambda service: heard)
    assert heard[0] - cancelled < 2
    world.stop()
    job = job_of(world, jobid)
    assert (job['status'], job['output'], job['failures']) == (
        'cancelled', None, 0)
    assert world.effects() == {}


def test_a_cancel_before_the_commit_wins(world, task, log):
    @task
    def work(service, jobid, input):
        world.effect(service, 'work')
        world.do(lambda service: service.cancel(jobid))
        if input:
            raise ValueError('of no interest to anybody')

    jobs = [world.add('work', fails) for fails in (False, True)]
    assert world.drain() == 2
    assert [world.status(jobid) for jobid in jobs] == ['cancelled'] * 2
    assert world.effects() == {} and log == []


def test_a_task_may_cancel_its_own_job(world, task):
    @task
    def work(service, jobid, input):
        world.effect(service, 'did it')
        service.cancel(jobid)

    jobid = world.add('work')
    assert world.drain() == 1
    job = job_of(world, jobid)
    assert (job['status'], job['attempts']) == ('cancelled', 1)
    assert world.see(lambda service: service.jobs[jobid].error) is None
    # As by direct processing.
    assert world.effects() == {'did it': 1}


def test_a_cancelled_run_ends_no_later_run_of_the_job(world, task):
    """Cancelled and retried while the first run still goes on."""
    @task
    def work(service, jobid, input):
        attempt = currentJob().attempt
        world.effect(service, attempt)
        if attempt == 1:
            world.do(lambda service: service.cancel(jobid))
            world.do(lambda service: service.retryJob(jobid))
            world.run_elsewhere()
        return attempt

    jobid = world.add('work')
    world.processor().processNext()
    assert world.effects() == {2: 1}
    assert job_of(world, jobid)['output'] == 2


def test_a_task_over_its_limit_fails_and_is_retried(world, task):
    attempts = []

    @task(timeout=0.05, retry=AT_ONCE)
    def work(service, jobid, input):
        current = currentJob()
        attempts.append((current.attempt, service.jobs[jobid].failures))
        world.effect(service, 'work')
        pause = threading.Event()
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            if input == 'asks':
                current.check()
            elif current.timedOut:
                assert current.cancelled
                return 'too late'
            pause.wait(0.01)

    jobs = [world.add('work', how) for how in ('asks', 'ignores it')]
    world.start()
    assert world.until_over(*jobs) == ['error', 'error']
    assert sorted(attempts) == [
        (1, 0), (1, 0), (2, 1), (2, 1), (3, 2), (3, 2)]
    for jobid in jobs:
        error = world.see(lambda service, jobid=jobid:
                          service.jobs[jobid].error)
        assert error.type == 'lovely.remotetask.errors.JobTimeout'
        assert 'longer than its limit of 0.05 seconds' in error.message
        assert job_of(world, jobid)['output'] is None
    assert world.effects() == {}


def test_a_refused_commit_stays_refused_when_tried_again(world, task):
    @task
    def work(service, jobid, input):
        if currentJob().attempt > 1:
            return 'second'
        worker = service.jobs[jobid].claim[0]
        world.do(lambda service: service.jobqueue.retire(
            worker, service.clock.now(), charged=True))
        transaction.begin()
        world.effect(service, 'refused')
        for _ in range(3):
            with pytest.raises(Exception, match='no longer ours'):
                transaction.commit()
        return 'first'

    jobid = world.add('work')
    world.processor().processNext()
    assert world.effects() == {} and world.status(jobid) == 'queued'
    world.drain()
    assert job_of(world, jobid)['output'] == 'second'
