"""A queue in a database of its own, to which the application's refers."""

import threading
import time

import pytest
import transaction
import zope.component
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask

DEADLINE = 20


@pytest.fixture
def databases(components):
    """The application's database, and that of its jobs."""
    databases = {}
    main, jobs = (DB(MappingStorage(), databases=databases,
                     database_name=name) for name in ('main', 'jobs'))
    yield main, jobs
    transaction.abort()
    for database in (main, jobs):
        database.close()


@pytest.fixture
def service(databases):
    """The service at jobs/tasks; ``jobs`` is in the database of the jobs."""
    main, _ = databases
    connection = main.open()
    application = connection.root()['Application'] = PersistentMapping()
    application['document'] = PersistentMapping(title='T')
    folder = application['jobs'] = PersistentMapping()
    folder.__parent__, folder.__name__ = application, 'jobs'
    connection.get_connection('jobs').add(folder)
    connection.add(application)
    service = make_service(folder, 'tasks')
    transaction.commit()
    assert service._p_jar.db().database_name == 'jobs'
    yield service
    service.stopProcessing(wait=DEADLINE)
    transaction.abort()
    connection.close()


@pytest.fixture
def task():
    def task(function=None, **options):
        if function is None:
            return lambda function: task(function, **options)
        zope.component.provideUtility(
            FunctionTask(function, **options), ITask, function.__name__)
        return function

    return task


def until(service, jobid, status='completed'):
    deadline = time.monotonic() + DEADLINE
    while True:
        transaction.begin()
        if service.getStatus(jobid) == status:
            return
        assert time.monotonic() < deadline, (
            service.getStatus(jobid), str(service.jobs[jobid].error))
        threading.Event().wait(0.01)


def test_a_task_sees_the_application(service, task):
    @task
    def work(service, jobid, input):
        application = service.__parent__.__parent__
        # The very object, and not that of another connection.
        assert input is application['document']
        assert application._p_jar.root()['Application'] is application
        application['document']['title'] = 'U'
        return application._p_jar.db().database_name

    document = service.__parent__.__parent__['document']
    service.startProcessing()
    jobid = service.add('work', document)
    transaction.commit()
    until(service, jobid)
    assert service.getResult(jobid) == 'main'
    assert document['title'] == 'U'


def test_a_task_may_commit_by_itself(service, task):
    @task
    def work(service, jobid, input):
        service.__parent__.__parent__['document']['title'] = 'V'
        transaction.commit()

    service.startProcessing()
    jobid = service.add('work')
    transaction.commit()
    until(service, jobid)


def test_a_task_that_fails_is_stored_and_tried_again(service, task):
    runs = []

    @task(retry=RetryPolicy(retries=3, base=0.01))
    def work(service, jobid, input):
        runs.append(jobid)
        service.__parent__.__parent__['document']['title'] = len(runs)
        if len(runs) < 3:
            raise ValueError('no')

    service.startProcessing()
    jobid = service.add('work')
    transaction.commit()
    until(service, jobid)
    assert service.__parent__.__parent__['document']['title'] == 3


def test_an_idle_processor_is_woken(service, databases, task):
    """By the database that the jobs are committed to."""
    @task
    def work(service, jobid, input):
        pass

    main, _ = databases
    processor = SimpleProcessor(main, ['jobs', 'tasks'], waitTime=3600)
    asleep = threading.Event()
    sleep = processor._listener.sleep

    def told(seconds):
        if seconds > 1:
            asleep.set()
        sleep(seconds)

    processor._listener.sleep = told
    thread = threading.Thread(target=processor, daemon=True)
    thread.running = True
    thread.start()
    assert asleep.wait(DEADLINE)
    jobid = service.add('work')
    transaction.commit()
    until(service, jobid)
    tell_to_stop(thread)
    thread.join(DEADLINE)


def test_workers_of_both_databases_live(service, task):
    """A claim of the application's is judged by the jobs' database, too."""
    @task
    def work(service, jobid, input):
        pass

    first, second = service.add('work'), service.add('work')
    transaction.commit()
    claimed = service.claimNextJob()
    transaction.commit()
    service.startProcessing()
    until(service, second if claimed == first else first)
    assert service.getStatus(claimed) == 'processing'
    assert service.jobs[claimed].interruptions == 0


def test_an_object_that_is_new_is_refused(service, task):
    """ZODB itself would refuse it at the commit, far from the call."""
    @task
    def work(service, jobid, input):
        return input['new']['title']

    application = service.__parent__.__parent__
    new = application['new'] = PersistentMapping(title='seen')
    # Now it has an oid, and is stored at the commit.
    transaction.savepoint()
    with pytest.raises(InputRejected, match='new in the database main'):
        service.add('work', {'new': new})
    transaction.commit()
    assert not len(service.jobs)
    # What the message advises helps: to commit, or Connection.add().
    first = service.add('work', {'new': new})
    other = PersistentMapping(title='too')
    application._p_jar.add(other)
    application['other'] = other
    second = service.add('work', {'new': other})
    transaction.commit()
    service.startProcessing()
    for jobid, title in ((first, 'seen'), (second, 'too')):
        until(service, jobid)
        assert service.getResult(jobid) == title


def test_a_result_that_is_new_ends_its_job_with_the_reason(service, task):
    @task(retry=RetryPolicy(retries=0))
    def work(service, jobid, input):
        application = service.__parent__.__parent__
        application['new'] = PersistentMapping()
        transaction.savepoint()
        return application['new']

    service.startProcessing()
    jobid = service.add('work')
    transaction.commit()
    until(service, jobid, 'error')
    assert 'new in the database main' in service.getError(jobid)


def test_what_follows_gets_objects_of_the_application(service, task):
    """As input of a call, and as the result of the job before."""
    told = []

    @task
    def finds(service, jobid, input):
        return service.__parent__.__parent__['document']

    @task
    def tells(service, jobid, input):
        application = service.__parent__.__parent__
        told.append([one is application['document'] for one in input])

    document = service.__parent__.__parent__['document']
    service.startProcessing()
    group = service.addGroup(
        [Call('finds', onSuccess=Call('tells', [RESULT, document]))],
        Call('tells', [document]))
    transaction.commit()
    jobid, = service.getGroup(group)['jobs']
    until(service, jobid)
    deadline = time.monotonic() + DEADLINE
    while len(told) < 2:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert sorted(told) == [[True], [True, True]]
