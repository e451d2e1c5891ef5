"""What a job tells of its attempts that failed, and why it waits."""

import pytest
import transaction

from lovely.remotetask.errors import RetryLater
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.web import presenter

AT_ONCE = RetryPolicy(retries=9, base=0)


@pytest.fixture
def run(application, service, register):
    """Adds a job whose attempts raise these errors; gives the job."""
    def run(*errors, retry=AT_ONCE):
        left = list(errors)

        def work(input):
            if left:
                raise left.pop(0)

        register(FunctionTask(work, retry=retry), 'work')
        jobid = service.add('work')
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        while processor.processNext():
            pass
        transaction.begin()
        return service.jobs[jobid]

    return run


def test_the_last_five_errors_are_kept(run, service):
    job = run(*(ValueError(str(number)) for number in range(1, 11)))
    assert job.status == 'error'
    assert [(one.type, one.message, one.attempt) for one in job.errors] == [
        ('ValueError', str(number), number) for number in range(6, 11)]
    assert job.errors[-1] == job.error
    shown = presenter.job(service, job.id)['errors']
    assert [one['attempt'] for one in shown] == [6, 7, 8, 9, 10]
    assert set(shown[0]) == {
        'type', 'message', 'traceback', 'attempt', 'time'}
    assert 'in work' in shown[0]['traceback']
    assert shown[0]['time'].endswith('+00:00')


def test_they_are_there_after_a_run_that_ends_well(run):
    job = run(ValueError('first'), LookupError('second'))
    assert job.status == 'completed' and job.error is None
    assert [one.message for one in job.errors] == ['first', 'second']


def test_they_are_bounded(run):
    job = run(*[ValueError('x' * 100_000)] * 10)
    assert len(job._p_jar.db().storage.load(job._p_oid)[0]) < 60_000


def test_a_job_that_never_failed_keeps_nothing(run):
    job = run()
    assert job.errors == []
    assert set(job.__getstate__()) == {''}


def test_a_job_that_waits_says_until_when_and_why(run, service):
    job = run(ValueError('no room'), retry=RetryPolicy(1, base=1e9, cap=1e9))
    assert job.scheduledAt is not None
    shown = presenter.summary(job)
    assert shown['scheduledAt'] == job.scheduledAt.isoformat()
    assert shown['waitsFor'] == 'no room'


def test_a_job_that_rests_says_until_when_and_why(run, service):
    job = run(RetryLater(60.0, reason='the tape is out'))
    shown = presenter.summary(job)
    assert shown['scheduledAt'] is not None
    assert shown['waitsFor'] == 'the tape is out'
    assert shown['error'] is None and job.errors == []


def test_a_worker_that_is_missing_is_no_attempt_that_failed(run, service):
    job = run(ValueError('first'), retry=RetryPolicy(1, base=1e9, cap=1e9))
    service.jobqueue.miss(job, Failure(
        'TaskMissing', 'nobody has it', '', 0, 1e9), 1e9)
    assert job.error.message == 'nobody has it'
    assert [one.message for one in job.errors] == ['first']


def test_what_waits_too_long_counts_as_oldest(service, register):
    register(lambda input: input, 'echo')
    jobid = service.add('echo', delay=10.0)
    due = service.jobs[jobid].due_at()
    queue = service.jobqueue
    assert queue.stats(due - 5)['oldest'] is None
    assert queue.stats(due + 60)['oldest'] == pytest.approx(60, abs=0.01)


def test_xml_rpc_gets_a_text_that_xml_can_carry(run, service):
    job = run(ValueError('a\x00b\ufffec'), retry=RetryPolicy(0))
    assert presenter.error(service, job.id) == 'a\ufffdb\ufffdc'
