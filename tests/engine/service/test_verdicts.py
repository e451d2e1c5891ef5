"""Whether a failed job runs again is decided once, before it is stored.

A thread that could not store a failure tried for minutes, and left the job
claimed.
"""

import pytest
import transaction
from ZODB.POSException import ConflictError
from zope.interface import implementer

from lovely.remotetask.errors import RetryLater
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import failing
from lovely.remotetask.task import FunctionTask


@implementer(IRetryPolicy)
class Policy:
    """A policy of an application, which answers or raises what it is told."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def delay(self, failures, rng):
        self.asked.append(failures)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Unbounded(RetryLater):
    """A RetryLater whose maker has forgotten about the base class."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Broken(Exception):
    """An error without a text."""

    def __str__(self):
        raise LookupError


def fail(input):
    raise ValueError('the task has failed')


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Where storing fails, it is tried twice, and not for minutes."""
    monkeypatch.setattr(failing, 'STORE_TRIES', 2)


@pytest.fixture(params=['worker', 'direct'])
def run(request, application, service):
    """Runs one job by a worker's thread, or by process(); gives the job."""
    def run():
        jobid = service.add('task')
        transaction.commit()
        if request.param == 'direct':
            assert service.processNext()
            transaction.commit()
        else:
            assert SimpleProcessor(
                application.db, ['tasks'], waitTime=0).processNext()
            transaction.begin()
        return service.jobs[jobid]

    return run


@pytest.mark.parametrize('answer', [
    ZeroDivisionError('by zero'), Broken(), ConflictError('unlucky'),
    SystemExit(3), KeyboardInterrupt('not a person'), RetryLater(5)],
    ids=repr)
@pytest.mark.parametrize('run', ['worker'], indirect=True)
def test_the_error_of_a_policy_is_the_final_error_of_the_job(
        run, register, answer, log):
    policy = Policy(answer)
    register(FunctionTask(fail, retry=policy), 'task')
    job = run()
    assert (job.status, job.claim) == ('error', None)
    assert policy.asked == [1]
    for text in ("retry policy", "'task'", type(answer).__name__):
        assert text in job.error.message
    # What has failed first is not forgotten.
    assert 'the task has failed' in job.error.traceback
    assert [line.split()[0] for line in log].count('ERROR') == 1


@pytest.mark.parametrize('retry, status', [(0, 'error'), (3, 'queued')])
@pytest.mark.parametrize('run', ['worker'], indirect=True)
def test_a_class_may_have_a_number_of_retries(run, register, retry, status):
    task = FunctionTask(fail)
    task.retry = retry
    register(task, 'task')
    assert run().status == status


@pytest.mark.parametrize('run', ['worker'], indirect=True)
def test_a_number_that_is_none_of_retries_is_the_final_error(run, register):
    task = FunctionTask(fail)
    task.retry = -1
    register(task, 'task')
    job = run()
    assert job.status == 'error'
    assert 'retries is -1' in job.error.message


@pytest.mark.parametrize('answer', [
    float('inf'), float('nan'), 1e14, -1, 10**400, 10**5000, 'soon', True,
    [5], 5j], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize('run', ['worker'], indirect=True)
def test_an_answer_that_is_no_delay_is_the_final_error_of_the_job(
        run, register, answer):
    register(FunctionTask(fail, retry=Policy(answer)), 'task')
    job = run()
    assert (job.status, job.claim) == ('error', None)
    assert 'seconds' in job.error.message
    assert "'task'" in job.error.message
    assert 'the task has failed' in job.error.traceback


@pytest.mark.parametrize('run', ['worker'], indirect=True)
def test_a_policy_is_asked_once_however_often_the_failure_is_stored(
        run, register, monkeypatch):
    policy = Policy(60)
    register(FunctionTask(fail, retry=policy), 'task')
    store, tries = failing.store_failure, []

    def conflicts(*arguments):
        tries.append(1)
        if len(tries) == 1:
            raise ConflictError
        return store(*arguments)

    monkeypatch.setattr(failing, 'store_failure', conflicts)
    job = run()
    assert (job.status, job.failures, len(tries)) == ('queued', 1, 2)
    assert policy.asked == [1]


@pytest.mark.parametrize('values', [
    {}, {'delay': 'soon', 'when': None}, {'delay': None, 'when': 'later'},
    {'delay': float('nan'), 'when': None}, {'delay': 1e14, 'when': None}],
    ids=str)
def test_a_retry_later_without_a_moment_is_the_final_error(
        run, register, values):
    @register
    def task(input):
        raise Unbounded(**values)

    job = run()
    assert (job.status, job.claim) == ('error', None)
    assert 'Unbounded' in job.error.message


@pytest.mark.usefixtures('longest_waits')
@pytest.mark.parametrize('run', ['worker'], indirect=True)
def test_a_retry_later_that_cannot_be_made_is_an_error_of_the_task(
        run, register):
    @register
    def task(input):
        raise RetryLater('soon')

    job = run()
    assert (job.status, job.failures, job.claim) == ('queued', 1, None)
    assert "delay is 'soon'" in job.error.message
