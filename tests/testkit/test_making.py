"""Services, jobs and runs that tests make."""

import pytest
import transaction
import zope.component
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.schema.interfaces import ConstraintNotSatisfied

from lovely.remotetask import TaskService
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import JobTimeout
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors import WorkerStopping
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import task
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.testing import new_job
from lovely.remotetask.testing import new_service
from lovely.remotetask.testing import run_job
from lovely.remotetask.testing import running
from lovely.remotetask.testing import stand_in

# --- services ----------------------------------------------------------------


class Mine(TaskService):
    pass


def test_a_service_is_committed_and_has_a_place():
    with new_service(Mine, 'queue') as service:
        assert type(service) is Mine and service.__name__ == 'queue'
        transaction.abort()
        assert service._p_jar.root()['queue'] is service
        database = service._p_jar.db()
        service.startProcessing()
        assert service.isProcessing()
    assert not service.isProcessing()
    # A database that was closed has no storage.
    assert 'storage' not in vars(database)


def test_a_database_of_the_test_stays_open():
    database = DB(MappingStorage())
    with new_service(database=database) as service:
        pass
    with database.transaction() as connection:
        assert connection.root()['tasks']._p_oid == service._p_oid
    database.close()


def test_what_the_test_left_open_is_aborted():
    database = DB(MappingStorage())
    with pytest.raises(ZeroDivisionError):
        with new_service(database=database) as service:
            service._p_jar.root()['half'] = 1
            raise ZeroDivisionError
    transaction.commit()
    with database.transaction() as connection:
        assert 'half' not in connection.root()
    database.close()


# --- jobs --------------------------------------------------------------------

def test_a_job():
    job = new_job('mail', {'to': 'mia'}, status='error', attempts=2)
    assert (job.task, job.input, job.status, job.attempts) == (
        'mail', {'to': 'mia'}, 'error', 2)
    assert new_job().id != job.id
    assert new_job(id=7).id == 7


def test_a_value_that_no_job_has():
    with pytest.raises(ConstraintNotSatisfied):
        new_job(status='late')


def test_the_current_job():
    job = new_job('mail', attempts=3)
    with running(job) as context:
        assert currentJob() is context
        assert (context.id, context.task, context.attempt) == (
            job.id, 'mail', 3)
        assert context.idempotencyKey and not context.cancelled
        context.check()
        with running():
            assert currentJob() is not context
        assert currentJob() is context
    with pytest.raises(UsageError, match='no job is running'):
        currentJob()


def test_the_current_job_has_its_service():
    stub = TaskServiceStub()
    with running(service=stub):
        assert currentJob().service is stub


def test_a_job_that_is_cancelled():
    with running(cancelled=True) as context:
        assert context.cancelled
        with pytest.raises(WorkerStopping):
            context.check()
    answers = iter([False, False, True])
    with running(cancelled=lambda: next(answers)):
        assert [currentJob().cancelled for _ in range(3)] == [
            False, False, True]


def test_a_job_that_has_taken_too_long():
    with running(new_job('slow'), timeout=0) as context:
        with pytest.raises(JobTimeout, match="'slow'.*limit of 0 seconds"):
            context.check()


# --- run_job -----------------------------------------------------------------

def test_run_job(service, components):
    with stand_in(lambda input: input + 1, 'more'):
        jobid = service.add('more', 1)
        later = service.add('more', 2, delay=3600)
        other = service.add('more', 3)
        assert run_job(service, jobid).output == 2
        assert run_job(service, later).output == 3
        assert service.getStatus(other) == 'queued'
        with pytest.raises(UsageError, match="is 'completed'"):
            run_job(service, jobid)
    with pytest.raises(JobNotFound):
        run_job(service, 12345)
    transaction.abort()
    assert len(service.jobs) == 0


def test_run_job_of_a_stub(components):
    stub = TaskServiceStub()
    with stand_in(lambda input: input + 1, 'more'):
        assert run_job(stub, stub.add('more', 1, delay=60)).output == 2


def test_run_job_that_fails(service, components):
    with stand_in(lambda input: 1 / 0, 'fails'):
        assert run_job(service, service.add('fails')).status == 'error'
        service.raiseErrors = True
        with pytest.raises(ZeroDivisionError):
            run_job(service, service.add('fails'))


# --- stand_in ----------------------------------------------------------------

def find(provided, name='mail'):
    return zope.component.queryUtility(provided, name)


def test_a_stand_in_takes_the_place_of_the_task(components):
    real = EchoTask()
    zope.component.provideUtility(real, ITask, 'mail')
    with stand_in(lambda input: 'stand-in', 'mail') as made:
        assert find(ITask) is find(ITaskStub) is made
        with stand_in(repr, 'mail'):
            assert find(ITask) is not made
        assert find(ITask) is made
    assert find(ITask) is real and find(ITaskStub) is None


def test_a_stand_in_for_nothing(components):
    with stand_in(EchoTask(), 'mail'):
        assert find(ITask) is not None
    assert find(ITask) is find(ITaskStub) is None


def test_a_decorated_function_keeps_its_options(components):
    @task('mail', timeout=5)
    def send(input):
        pass

    with stand_in(send) as made:
        assert made.timeout == 5
        assert find(ITask, 'send') is made


def test_the_test_empties_the_registry(components):
    with stand_in(repr, 'mail'):
        zope.component.testing.tearDown()
        zope.component.testing.setUp()
        zope.component.provideUtility(EchoTask(), ITask, 'mail')
    assert type(find(ITask)) is EchoTask


def test_what_cannot_be_one(components):
    with pytest.raises(UsageError, match='has no name'):
        with stand_in(EchoTask()):
            pass
    with pytest.raises(TypeError, match='cannot be a task'):
        with stand_in(lambda *all: None, 'mail'):
            pass
    assert find(ITask) is find(ITaskStub) is None


# --- checkpoints and steps ---------------------------------------------------

def walk(most):
    job = currentJob()
    done = job.cursor or []
    for item in range(len(done), most):
        done.append(item)
        job.checkpoint(done)
    return done


def test_checkpoints_are_recorded_as_they_were_stored():
    with running() as current:
        assert walk(3) == [0, 1, 2]
    assert current.checkpoints == [[0], [0, 1], [0, 1, 2]]
    assert current.cursor == [0, 1, 2]


def test_a_task_begins_at_the_cursor_that_a_test_gives():
    with running(cursor=[0, 1]) as current:
        assert walk(3) == [0, 1, 2]
    assert current.checkpoints == [[0, 1, 2]]


def test_a_task_stops_after_a_checkpoint_where_the_test_says_so():
    answers = iter([False, True])
    with running(cancelled=lambda: next(answers)) as current:
        with pytest.raises(WorkerStopping):
            walk(3)
    assert current.checkpoints == [[0], [0, 1]]


def test_steps_are_recorded_and_those_that_a_test_gives_are_not_called():
    with running(steps={'fetch': {'rows': 2}, 'none': None}) as current:
        assert current.step('fetch', lambda: 1 / 0) == {'rows': 2}
        assert current.step('none', lambda: 1 / 0) is None
        assert current.step('sum', sum, [1, 2]) == 3
    assert current.steps == {'sum': 3}
    with pytest.raises(UsageError, match='is over'):
        current.step('late', int)


def test_a_run_of_a_stub_has_checkpoints(components):
    service = TaskServiceStub()
    with stand_in(walk, 'walk'):
        jobid = service.add('walk', 3)
        service.process()
    assert service.getResult(jobid) == [0, 1, 2]
    assert service.jobs[jobid].checkpoint is None
