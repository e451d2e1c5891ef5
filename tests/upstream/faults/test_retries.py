"""How 0.5.2 tried again: at once, by thread, and with half the writes."""

import threading
import time

import pytest
import transaction
from ZODB.POSException import ConflictError

from lovely.remotetask.run.conflicts import IN_A_ROW
from lovely.remotetask.task import TaskError

DEADLINE = 20


def run_until_final(service, processor, clock, *ids):
    """Lets time pass, a second a step; returns when each run began."""
    began = []
    for _ in range(60):
        while processor.processNext():
            began.append(clock.now())
            assert len(began) < 50, 'it never rests'
        transaction.begin()
        if all(service.getStatus(i) in ('completed', 'error') for i in ids):
            return began
        clock.advance(1)
    raise AssertionError('no end after a minute')


@pytest.mark.usefixtures('longest_waits')
def test_a_failing_task_ran_4_times_within_3_ms(
        clock, service, register, processor, log):
    @register
    def fails(input):
        raise ValueError('no')

    jobid = service.add('fails')
    transaction.commit()
    assert processor.processNext() is True
    # With the clock at rest nothing happens any more.
    assert processor.processNext() is False
    transaction.begin()
    job = service.jobs[jobid]
    assert (job.status, job.attempts, str(job.error)) == ('queued', 1, 'no')
    run_until_final(service, processor, clock, jobid)
    assert service.getStatus(jobid) == 'error'
    assert service.jobs[jobid].attempts == 4
    assert len(log) == 4        # one record for each failed attempt


def test_the_counter_was_per_thread_instead_of_per_job(
        clock, service, register, processor):
    calls = []

    @register
    def fails(input):
        calls.append(input)
        raise ValueError(input)

    ids = [service.add('fails', name) for name in 'abc']
    transaction.commit()
    run_until_final(service, processor, clock, *ids)
    # Each has its own four attempts, whoever else failed in that thread.
    assert sorted(calls) == list('aaaabbbbcccc')
    assert [service.jobs[i].attempts for i in ids] == [4, 4, 4]


def test_a_direct_failure_does_not_depend_on_the_thread_either(
        service, register):
    calls = []

    @register
    def fails(input):
        calls.append(input)
        raise ValueError('no')

    for _ in range(3):
        jobid = service.add('fails')
        assert service.processNext() is True
        assert service.getStatus(jobid) == 'error'
    assert len(calls) == 3


@pytest.mark.parametrize('kind', [TaskError, ValueError])
def test_partial_writes_of_a_failed_task_were_committed(
        kind, application, clock, service, whole, processor):
    """By TaskError, and by the last failure of any other exception."""
    @whole
    def half(service, jobid, input):
        root = service._p_jar.root()
        root['half'] = jobid
        service.add('half')         # a follow-up job is such a write, too
        raise kind('no')

    jobid = service.add('half')
    transaction.commit()
    run_until_final(service, processor, clock, jobid)
    assert service.getStatus(jobid) == 'error'
    assert 'half' not in application.connection.root()
    assert list(service.jobs) == [jobid]


def conflicting(times, calls):
    """A task that meets a conflict so many times, at its commit."""
    def conflicts(input):
        calls.append(input)
        if len(calls) <= times:
            class Conflict:
                transaction_manager = transaction.manager

                def sortKey(self):
                    return 'conflict'

                def abort(self, txn):
                    pass

                tpc_begin = commit = tpc_finish = tpc_abort = abort

                def tpc_vote(self, txn):
                    raise ConflictError('at commit')

            transaction.get().join(Conflict())
        return len(calls)

    return conflicts


def test_conflicts_at_commit_were_logged_as_errors(
        service, register, processor, log):
    calls = []
    register(conflicting(5, calls), 'conflicts')
    jobid = service.add('conflicts')
    transaction.commit()
    assert processor.processNext() is True
    transaction.begin()
    assert service.getResult(jobid) == 6 and len(calls) == 6
    # Nothing is charged to the task, and nothing is an error.
    job = service.jobs[jobid]
    assert (job.attempts, job.failures, job.error) == (1, 0, None)
    assert log == []


def test_conflicts_at_commit_re_ran_without_limit(
        service, register, processor):
    calls = []
    register(conflicting(10**9, calls), 'conflicts')
    jobid = service.add('conflicts')
    transaction.commit()
    assert processor.processNext() is True
    transaction.begin()
    # Ten at once, then the job waits.
    assert len(calls) == IN_A_ROW
    assert service.getStatus(jobid) == 'queued'
    assert 'conflicted 10 times' in service.getError(jobid)


def test_a_task_that_conflicts_for_ever_can_be_stopped(
        service, register, thread_of, log):
    calls, often = [], threading.Event()
    conflicts = conflicting(10**9, calls)

    @register
    def for_ever(input):
        if len(calls) > IN_A_ROW:
            often.set()
        return conflicts(input)

    jobid = service.add('for_ever')
    transaction.commit()
    service.startProcessing()
    assert often.wait(DEADLINE)
    thread = thread_of()
    service.stopProcessing(wait=0)
    try:
        thread.join(5)
        assert not thread.is_alive(), 'it conflicts for ever'
        # It goes back, uncharged, for whoever comes next.
        transaction.begin()
        assert service.getStatus(jobid) == 'queued'
        assert service.jobs[jobid].failures == 0
        # At the latest after its pause, where the stop came amid that.
        assert service.hasJobsWaiting(time.time() + 600) is True
    finally:
        # The test ends all the same: its cancelled job is dropped.
        transaction.begin()
        service.cancel(jobid)
        transaction.commit()
        thread.join(DEADLINE)


@pytest.mark.usefixtures('longest_waits')
@pytest.mark.parametrize('raised', [SystemExit, GeneratorExit])
def test_systemexit_in_a_task_killed_the_thread_silently(
        raised, service, register, wait_for, thread_of, log):
    @register
    def exits(input):
        raise raised('bye')

    register(lambda input: input, 'echo')
    jobid, innocent = service.add('exits'), service.add('echo')
    transaction.commit()
    service.startProcessing()
    thread = thread_of()
    wait_for(service, innocent, 'completed')
    assert thread.is_alive() and service.isProcessing()
    service.stopProcessing(wait=None)
    transaction.begin()
    assert service.jobs[jobid].failures >= 1
    assert service.getError(jobid) == 'bye'
    assert log[0].startswith('WARNING Caught a generic exception, preventing '
                             'thread from crashing: Job ')
