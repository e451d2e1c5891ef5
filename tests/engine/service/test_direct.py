"""Direct process(): in the caller's transaction, site and interaction."""

import pytest
import transaction
from transaction.interfaces import TransientError

from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RollbackImpossible
from lovely.remotetask.errors import UsageError
from lovely.remotetask.task import TaskError


@pytest.fixture
def root(application):
    return application.root


def test_partial_writes_of_a_failing_task_are_gone(root, service, register):
    @register
    def fail(input):
        root['half'] = type(root)()
        raise TaskError('no')

    root['before'] = type(root)()       # the caller's own, uncommitted
    jobid = service.add('fail')
    service.process()
    assert service.getStatus(jobid) == 'error'
    assert 'half' not in root and 'before' in root
    transaction.commit()
    assert service.getError(jobid) == 'no'
    assert 'half' not in root and 'before' in root


def test_any_exception_ends_in_a_final_status(service, register, log):
    class Odd(BaseException):
        pass

    for raised in (ZeroDivisionError('x'), SystemExit(3), Odd('odd'),
                   GeneratorExit()):
        def fail(input, raised=raised):
            raise raised

        register(fail)
        jobid = service.add('fail')
        service.process()
        assert service.getStatus(jobid) == 'error'
        assert service.jobs[jobid].error.traceback
    assert log == ['ERROR Caught a generic exception, preventing thread '
                   'from crashing'] * 4


def test_a_transient_error_propagates_and_leaves_the_job(service, register):
    @register
    def conflict(input):
        raise TransientError('again')

    jobid = service.add('conflict')
    transaction.commit()
    with pytest.raises(TransientError):
        service.process()
    assert service.getStatus(jobid) == 'queued'
    assert service.jobs[jobid].attempts == 0
    assert [job.id for job in service._queue] == [jobid]


def test_ctrl_c_is_not_the_tasks_failure(service, register):
    @register
    def interrupted(input):
        raise KeyboardInterrupt

    jobid = service.add('interrupted')
    with pytest.raises(KeyboardInterrupt):
        service.process()
    assert service.getStatus(jobid) == 'queued'


def test_a_manager_without_savepoints_is_named(
        service, register, without_savepoints):
    @register
    def fail(input):
        raise ValueError('no')

    jobid = service.add('fail')
    transaction.commit()
    transaction.get().join(without_savepoints())
    with pytest.raises(RollbackImpossible, match='<WithoutSavepoints>'):
        service.process()
    transaction.abort()
    assert service.getStatus(jobid) == 'queued'
    # One that joins during the task is undone with it.
    @register
    def mail(input):
        transaction.get().join(without_savepoints())
        raise ValueError('no')

    other = service.add('mail')
    service.cancel(jobid)
    service.process()
    assert service.getStatus(other) == 'error'


def test_retry_later_and_cancel(service, register):
    @register
    def later(input):
        raise RetryLater(delay=60)

    @register
    def never(input):
        raise CancelJob

    jobid, other = service.add('later'), service.add('never')
    service.process(1000)
    assert service.getStatus(jobid) == 'queued'
    assert service.getStatus(other) == 'cancelled'
    assert not service.hasJobsWaiting(1059)
    assert service.hasJobsWaiting(1060)
    # A rest of nothing would never let process() return.
    register(lambda input: (_ for _ in ()).throw(RetryLater(0)), 'later')
    service.process(1060)
    assert service.getStatus(jobid) == 'queued'


def test_a_cron_job_stays_one_after_a_failure(service, register):
    calls = []

    @register
    def sometimes(input):
        calls.append(input)
        if len(calls) == 1:
            raise TaskError('first')
        return len(calls)

    jobid = service.addCronJob('sometimes', minute=(0,))
    service.process(0)
    service.process(3600)
    assert service.getStatus(jobid) == 'cronjob'
    assert service.getError(jobid) == 'first'
    service.process(7200)
    assert service.getStatus(jobid) == 'cronjob'
    # A later success clears the error.
    assert service.getError(jobid) == 'None'
    assert service.getResult(jobid) == 2


def test_a_job_whose_add_was_undone_is_forgotten(service, register):
    @register
    def abort(input):
        transaction.abort()

    jobid = service.add('abort')
    service.process()
    assert jobid not in service.jobs
    transaction.commit()
    assert list(service.jobs) == [] and not service.hasJobsWaiting()


def test_raise_errors_raises_after_storing(service, register):
    @register
    def fail(input):
        raise ValueError('no')

    service.raiseErrors = True
    jobid = service.add('fail')
    with pytest.raises(ValueError, match='no'):
        service.process()
    assert service.getStatus(jobid) == 'error'


def test_a_named_job_is_run_if_it_is_queued_or_claimed(service, register):
    register(lambda input: input, 'echo')
    queued, shelved = service.add('echo', 1), service.add(
        'echo', 2, startLater=True)
    claimed = service.claimNextJob()
    assert claimed == queued and service.getStatus(claimed) == 'processing'
    assert service.processNext(jobid=claimed) is True
    assert service.getStatus(claimed) == 'completed'
    assert service.processNext(jobid=claimed) is False
    assert service.processNext(jobid=shelved) is False
    assert service.processNext(jobid=12345) is False
    assert service.processNext() is False


def test_options_that_exclude_each_other_store_nothing(service, register):
    register(lambda input: input, 'echo')
    for options in ({'startLater': True, 'delay': 3}, {'priority': 4},
                    {'delay': -1}, {'delay': float('nan')},
                    {'priority': 'high'}, {'priority': True},
                    {'priority': 1.0}):
        with pytest.raises((UsageError, ValueError)):
            service.add('echo', **options)
    assert len(service.jobs) == 0


def test_the_job_a_task_cancels_by_itself_stays_cancelled(service, register):
    @register
    def suicide(input):
        service.cancel(next(iter(service.jobs)))

    jobid = service.add('suicide')
    service.process()
    assert service.getStatus(jobid) == 'cancelled'


def test_a_task_that_commits_and_fails_is_stored_as_failed(
        root, service, register):
    @register
    def commit_and_fail(input):
        root['kept'] = type(root)()
        transaction.commit()
        root['lost'] = type(root)()
        raise ValueError('no')

    jobid = service.add('commit_and_fail')
    transaction.commit()
    service.process()
    transaction.commit()
    assert service.getStatus(jobid) == 'error'
    assert 'kept' in root and 'lost' not in root
    assert len(service._queue) == 0
