"""Who may wait for a job, and for which: see kit/test_waiting.py, too."""

import threading
import time

import pytest
import transaction

from lovely.remotetask import TaskService
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors import WaitTimeout
from lovely.remotetask.service import waiting
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub

DEADLINE = 30


@pytest.fixture
def echo(service, register):
    """``echo(**options)`` adds a job, and commits."""
    register(lambda input: input, 'echo')

    def echo(**options):
        jobid = service.add('echo', 'x', **options)
        transaction.commit()
        return jobid

    return echo


def test_a_job_that_is_over_is_given_at_once(application, service, echo):
    jobid = echo()
    service.process()
    transaction.commit()
    # Not begun anew: this change would be gone.
    application.root['mine'] = TaskServiceStub()
    assert service.waitFor(jobid, 0).output == 'x'
    assert 'mine' in application.root


def test_a_commit_of_another_thread_wakes_it(
        service, register, monkeypatch):
    monkeypatch.setattr(waiting, '_PAUSE_FIRST', 3600.0)
    monkeypatch.setattr(waiting, '_PAUSE_LAST', 3600.0)
    looked = threading.Event()
    look = waiting._look

    def then_release(*arguments):
        found = look(*arguments)
        looked.set()
        return found

    monkeypatch.setattr(waiting, '_look', then_release)
    register(lambda input: looked.wait(DEADLINE), 'held')
    jobid = service.add('held')
    transaction.commit()
    service.startProcessing()
    began = time.monotonic()
    assert service.waitFor(jobid, DEADLINE).output is True
    # At the deadline it looks once more, without having been woken.
    assert time.monotonic() - began < DEADLINE / 2


def test_a_transaction_with_changes_is_refused(application, service, echo):
    jobid = echo()
    application.root['mine'] = TaskServiceStub()
    with pytest.raises(UsageError, match='something to commit'):
        service.waitFor(jobid, DEADLINE)
    assert 'mine' in application.root


@pytest.mark.parametrize('hook', ['addBeforeCommitHook',
                                  'addAfterCommitHook'])
def test_so_is_one_that_is_to_call_something(service, echo, hook):
    jobid = echo()
    getattr(transaction.get(), hook)(lambda *arguments: None)
    with pytest.raises(UsageError, match='something to commit'):
        service.waitFor(jobid, DEADLINE)


def test_so_is_one_that_was_doomed(service, echo):
    jobid = echo()
    transaction.doom()
    with pytest.raises(UsageError, match='something to commit'):
        service.waitFor(jobid, DEADLINE)
    assert transaction.isDoomed()


def test_a_job_that_is_not_committed_is_refused(service, echo):
    jobid = service.add('echo', 'x')
    with pytest.raises(UsageError, match='commit it first'):
        service.waitFor(jobid, DEADLINE)


def test_a_task_may_not_wait(service, register, echo):
    register(lambda input: service.waitFor(input, DEADLINE), 'waits')
    jobid = service.add('waits', echo(delay=1000))
    service.process()
    assert 'a task cannot wait' in service.getError(jobid)


def test_a_schedule_is_never_over(service, echo):
    jobid = service.addCronJob('echo', minute=(0,))
    transaction.commit()
    with pytest.raises(UsageError, match='is a schedule'):
        service.waitFor(jobid, DEADLINE)
    service.cancel(jobid)
    assert service.waitFor(jobid, DEADLINE).status == 'cancelled'


def test_a_job_that_is_not_there(service):
    for jobid in (12345, 'x', None):
        with pytest.raises(JobNotFound):
            service.waitFor(jobid, DEADLINE)


def test_a_job_that_is_cleaned_meanwhile(
        application, service, echo, monkeypatch):
    jobid = echo()
    look = waiting._look

    def then_clean(*arguments):
        found = look(*arguments)
        other, close = application.fresh(service)
        other.cancel(jobid)
        other.clean()
        other._p_jar.transaction_manager.commit()
        close()
        return found

    monkeypatch.setattr(waiting, '_look', then_clean)
    with pytest.raises(JobNotFound):
        service.waitFor(jobid, DEADLINE)


def then_change(application, service, monkeypatch, change):
    """``change(service)`` in another connection, once waitFor has looked."""
    look = waiting._look

    def look_then_change(*arguments):
        found = look(*arguments)
        other, close = application.fresh(service)
        change(other)
        other._p_jar.transaction_manager.commit()
        close()
        return found

    monkeypatch.setattr(waiting, '_look', look_then_change)


@pytest.mark.parametrize('packed', [False, True])
def test_a_service_that_is_deleted_meanwhile(
        application, service, echo, monkeypatch, packed):
    jobid = echo()

    def delete(other):
        monkeypatch.undo()
        del other.__parent__['tasks']
        if packed:
            other._p_jar.transaction_manager.commit()
            application.db.pack()

    then_change(application, service, monkeypatch, delete)
    began = time.monotonic()
    with pytest.raises(ServiceNotFound) as caught:
        service.waitFor(jobid, DEADLINE)
    assert time.monotonic() - began < DEADLINE / 2
    assert str(caught.value) == (
        f'there is no service at /tasks any more: it was deleted or moved '
        f'while waitFor waited for its job {jobid}; where it was moved, wait '
        f'for the job there')


def test_a_service_that_was_deleted_before_and_is_still_seen(
        application, service, echo):
    jobid = echo()
    service.getStatus(jobid)
    other, close = application.fresh(service)
    del other.__parent__['tasks']
    other._p_jar.transaction_manager.commit()
    close()
    with pytest.raises(ServiceNotFound):
        service.waitFor(jobid, DEADLINE)


def test_another_service_at_its_place_is_not_it(
        application, service, echo, monkeypatch):
    jobid = echo()

    def replace(other):
        monkeypatch.undo()
        parent = other.__parent__
        del parent['tasks']
        parent['tasks'] = TaskService()

    then_change(application, service, monkeypatch, replace)
    with pytest.raises(ServiceNotFound):
        service.waitFor(jobid, DEADLINE)


def test_a_service_that_no_path_leads_to(application, register):
    register(lambda input: input, 'echo')
    service = TaskService()
    application.connection.add(service)
    jobid = service.add('echo', 'x')
    transaction.commit()
    with pytest.raises(WaitTimeout):
        service.waitFor(jobid, 0)


@pytest.mark.parametrize('timeout', [None, -1, 'x', float('nan'), True])
def test_a_timeout_that_is_none(service, timeout):
    with pytest.raises(UsageError, match='^timeout is '):
        service.waitFor(1, timeout)


def test_without_a_database(register):
    register(lambda input: input, 'echo', ITaskStub)
    stub = TaskServiceStub()
    jobid = stub.add('echo', 'x')
    with pytest.raises(UsageError, match='in no database'):
        stub.waitFor(jobid, 0)
    stub.process()
    assert stub.waitFor(jobid, 0).output == 'x'
