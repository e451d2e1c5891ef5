"""inline(): a commit that brings work runs it before it returns."""

import threading

import pytest
import transaction

from lovely.remotetask import TaskService
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import FrozenClock
from lovely.remotetask.testing import inline

DEADLINE = 20


@pytest.fixture(autouse=True)
def tasks(register_task):
    register_task(lambda input: input, 'echo')


def test_at_the_commit_and_not_before(service):
    with inline(service):
        jobid = service.add('echo', 1)
        assert service.getStatus(jobid) == 'queued'
        transaction.commit()
        # Seen without a begin, as after any commit.
        assert service.getStatus(jobid) == 'completed'


def test_not_after_an_abort(service):
    with inline(service):
        service.add('echo', 1)
        transaction.abort()
        transaction.commit()
        assert len(service.jobs) == 0


def test_not_after_the_block(service):
    with inline(service):
        pass
    jobid = service.add('echo')
    transaction.commit()
    assert service.getStatus(jobid) == 'queued'


def test_the_caller_goes_on(service):
    """A commit within a commit must not break the outer one."""
    with inline(service):
        for number in range(3):
            jobid = service.add('echo', number)
            service._p_jar.root()['last'] = jobid
            transaction.commit()
            assert service.getResult(jobid) == number
            assert service._p_jar.root()['last'] == jobid
        service._p_jar.root()['last'] = 'aborted'
        transaction.abort()
        assert service._p_jar.root()['last'] == jobid


def test_an_explicit_manager(application, service):
    """As request.tm of Pyramid is."""
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = application.db.open(manager)
    with inline(service):
        mine = connection.get(service._p_oid)
        jobid = mine.add('echo')
        manager.commit()
        manager.begin()
        assert mine.getStatus(jobid) == 'completed'
        manager.abort()
    connection.close()


def test_the_test_sees_what_a_request_has_done(application, service):
    """The request has a connection of its own, as in a test by webtest."""
    transaction.begin()
    with inline(service):
        with application.db.transaction() as connection:
            jobid = connection.get(service._p_oid).add('echo')
        assert service.getStatus(jobid) == 'completed'


def test_the_test_has_closed_its_connection(application, service):
    connection = application.db.open(transaction.TransactionManager())
    with inline(connection.get(service._p_oid)):
        connection.close()
        jobid = service.add('echo')
        transaction.commit()
        assert service.getStatus(jobid) == 'completed'


def test_changes_of_the_test_are_left_alone(application, service):
    with inline(service):
        mine = service.add('echo', 'mine')
        with application.db.transaction() as connection:
            connection.get(service._p_oid).add('echo', 'other')
        assert service.getStatus(mine) == 'queued'
        transaction.commit()
        assert {job.output for job in service.jobs.values()} == {
            'mine', 'other'}


def test_a_commit_of_another_thread(application, service):
    """A web server in the test, for instance."""
    seen = []

    def request():
        with application.db.transaction() as connection:
            jobid = connection.get(service._p_oid).add('echo')
        with application.db.transaction() as connection:
            seen.append(connection.get(service._p_oid).getStatus(jobid))

    with inline(service):
        thread = threading.Thread(target=request)
        thread.start()
        thread.join(DEADLINE)
    assert seen == ['completed']


def test_a_job_adds_others(service, register_task):
    register_task(FunctionTask(
        lambda service, jobid, input: input and service.add('count', input - 1)
        ), 'count')
    with inline(service):
        service.add('count', 3)
        transaction.commit()
        assert [job.status for job in service.jobs.values()] == [
            'completed'] * 4


def test_a_job_of_one_service_adds_to_another(
        application, service, register_task):
    other = application.service('other')
    register_task(FunctionTask(
        lambda service, jobid, input: service.__parent__['other'].add('echo')),
        'pass on')
    with inline(service), inline(other):
        service.add('pass on')
        transaction.commit()
        job, = other.jobs.values()
        assert job.status == 'completed'


def test_no_other_service(application, service):
    other = application.service('other')
    with inline(service):
        jobid = other.add('echo')
        transaction.commit()
        assert other.getStatus(jobid) == 'queued'


@pytest.mark.parametrize('ready', [
    lambda service, jobid: service.startJob(jobid),
    lambda service, jobid: (service.cancel(jobid), service.retryJob(jobid)),
    ], ids=['startJob', 'retryJob'])
def test_whatever_makes_a_job_ready(service, ready):
    with inline(service):
        jobid = service.add('echo', startLater=True)
        transaction.commit()
        assert service.getStatus(jobid) == 'start later'
        ready(service, jobid)
        transaction.commit()
        assert service.getStatus(jobid) == 'completed'


def test_resume(service):
    with inline(service):
        service.pause()
        jobid = service.add('echo')
        transaction.commit()
        assert service.getStatus(jobid) == 'queued'
        service.resume()
        transaction.commit()
        assert service.getStatus(jobid) == 'completed'


def test_a_schedule_that_is_due_at_once(service):
    with inline(service):
        jobid = service.addCronJob('echo', delay=0)
        transaction.commit()
        assert service.getStatus(jobid) == 'completed'


def test_what_is_due_later_runs_with_a_later_commit(service):
    with FrozenClock() as clock, inline(service):
        jobid = service.add('echo', delay=60)
        transaction.commit()
        clock.advance(60)
        service.add('echo')
        transaction.commit()
        assert service.getStatus(jobid) == 'completed'


def test_a_failure_fails_its_job_and_no_commit(service, register_task):
    register_task(FunctionTask(lambda input: 1 / 0), 'fails')
    with inline(service):
        jobid = service.add('fails')
        transaction.commit()
    assert service.getError(jobid) == 'division by zero'


def test_what_keeps_jobs_from_being_run_is_told(application, service):
    with pytest.raises(ServiceGone, match='no service at /tasks'):
        with inline(service):
            service.add('echo')
            del application.root['tasks']
            # A hook after a commit cannot fail: the end of the block does.
            transaction.commit()


def test_an_error_of_the_test_comes_first(application, service):
    with pytest.raises(ZeroDivisionError):
        with inline(service):
            service.add('echo')
            del application.root['tasks']
            transaction.commit()
            raise ZeroDivisionError


def test_a_service_in_no_database():
    with pytest.raises(ConfigurationError, match='is in no database'):
        with inline(TaskService()):
            pass
