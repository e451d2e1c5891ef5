"""A decorated function adds jobs itself, and stands for its name."""

import types
from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import transaction
import zope.component
from zope.component.hooks import setSite

from lovely.remotetask import TaskService
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import scan
from lovely.remotetask.task import task
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub


@task
def resize(source, width=100):
    return [source, width]


@task('whole', timeout=60)
def with_job(service, jobid, input):
    return [jobid, input]


@task
def nothing():
    return 'ran'


@task('one')
@task('two')
def twice(input):
    return input


@task
def usual(input=5):
    return input


@task
def follow(source):
    return resize.delay(source, width=7)


@pytest.fixture
def scanned(service):
    """The tasks of this module; the service is the application's only one."""
    module = types.ModuleType(__name__)
    vars(module).update(globals())
    scan(module)
    return service


def test_a_call_becomes_a_job(scanned):
    assert resize('a.png') == ['a.png', 100]
    jobids = [resize.delay('a.png', width=300), resize.delay(source='b'),
              with_job.delay('x'), with_job.delay(input='y'),
              nothing.delay()]
    assert scanned.jobs[jobids[0]].input == {'source': 'a.png', 'width': 300}
    transaction.commit()
    scanned.process()
    assert [scanned.getResult(jobid) for jobid in jobids] == [
        ['a.png', 300], ['b', 100], [jobids[2], 'x'], [jobids[3], 'y'],
        'ran']


def test_a_job_of_delay_is_part_of_the_transaction(scanned):
    resize.delay('a.png')
    transaction.abort()
    assert len(scanned.jobs) == 0


def test_what_is_left_out_gets_the_default_of_the_function(scanned):
    jobids = [usual.delay(), usual.delay(6), usual.delay(input=None),
              scanned.add('usual'), scanned.add('usual', 7)]
    scanned.process()
    # A job has no input where that is None.
    assert [scanned.getResult(jobid) for jobid in jobids] == [5, 6, 5, 5, 7]


def test_apply_async_has_options(scanned):
    soon = resize.apply_async(('a',), {'width': 5}, countdown=60, priority=2)
    moment = datetime.now(UTC) + timedelta(hours=1)
    later = resize.apply_async(kwargs={'source': 'b'}, eta=moment, key='k')
    at_once = nothing.apply_async()
    jobs = scanned.jobs
    assert jobs[soon].input == {'source': 'a', 'width': 5}
    assert (jobs[soon].status, jobs[soon].delay, jobs[soon].priority) == (
        'delayed', 60, 2)
    assert abs(jobs[later].scheduledAt - moment) < timedelta(seconds=1)
    assert jobs[later].key == 'k'
    assert jobs[at_once].status == 'queued'


@pytest.mark.parametrize('options, said', [
    ({'countdown': 1, 'eta': datetime.now(UTC)}, 'countdown and eta'),
    ({'countdown': -1}, 'delay is -1'),
    ({'eta': datetime(2030, 1, 1)}, 'one with a time zone'),
    ({'priority': 9}, 'priority is 9'),
    ({'delay': 3600}, 'delay: apply_async takes no such option'),
    ({'runAt': datetime.now(UTC)}, 'runAt: apply_async takes no such'),
    ({'startLater': True}, 'startLater: apply_async takes no such option'),
])
def test_options_that_cannot_be(scanned, options, said):
    with pytest.raises((UsageError, ValueError), match=said):
        resize.apply_async(('a',), **options)
    assert len(scanned.jobs) == 0


def test_a_text_is_no_list_of_arguments(scanned):
    with pytest.raises(UsageError, match="args is 'a.png'; give a list"):
        resize.apply_async('a.png')
    assert len(scanned.jobs) == 0


def test_a_list_is_no_mapping_of_arguments(scanned):
    with pytest.raises(UsageError, match='kwargs is .*; give a mapping'):
        resize.apply_async(('a.png',), [1])
    assert len(scanned.jobs) == 0


def test_arguments_that_do_not_fit(scanned):
    for call in (lambda: resize.delay(1, 2, 3, colour='red'),
                 lambda: resize.apply_async((1, 2, 3), {'colour': 'red'})):
        with pytest.raises(InputRejected) as caught:
            call()
        assert caught.value.violations == [
            '3 values by position are too many: at most 2 (source, '
            'width=...)',
            "'colour' is no parameter (there are: source, width=...)"]
    assert len(scanned.jobs) == 0


def test_the_job_of_a_task_adds_to_its_own_service(
        application, scanned, register):
    other = application.service('other')
    jobid = other.add(follow, 'a')
    transaction.commit()
    other.process()
    assert other.jobs[other.getResult(jobid)].input == {
        'source': 'a', 'width': 7}
    assert len(scanned.jobs) == 0


# --- which service ------------------

def test_without_a_service(components):
    with pytest.raises(ServiceNotFound, match='ITaskService'):
        resize.delay('a')


def test_of_several_services_the_one_without_a_name(application, scanned):
    other = application.service('other')
    with pytest.raises(ServiceNotFound, match="'other', 'tasks'"):
        resize.delay('a')
    zope.component.provideUtility(other, ITaskService)
    jobid = resize.delay('a')
    assert jobid in other.jobs and len(scanned.jobs) == 0


def test_one_service_by_two_names(scanned):
    zope.component.provideUtility(scanned, ITaskService, 'again')
    assert resize.delay('a') in scanned.jobs


def test_a_site_has_a_service_of_its_own(application, scanned):
    site = application.site('site')
    local = site['local'] = TaskService()
    site.getSiteManager().registerUtility(local, ITaskService, 'local')
    transaction.commit()
    setSite(site)
    try:
        jobid = resize.delay('a')
    finally:
        setSite(None)
    assert jobid in local.jobs and len(scanned.jobs) == 0


# --- the function in place of its name ------------------

def test_the_function_stands_for_its_name(scanned):
    jobids = [scanned.add(resize, {'source': 'a'}),
              *scanned.addMany(with_job, ['x']),
              scanned.addCronJob(nothing, minute=(0,)),
              scanned.addCronJob(resize, {'source': 'b'}, hour=(3,), key='k')]
    scanned.addCronJob(resize, {'source': 'c'}, hour=(3,), key='k',
                       onDuplicate='update')
    assert [scanned.jobs[jobid].task for jobid in jobids] == [
        'resize', 'whole', 'nothing', 'resize']
    assert scanned.jobs[jobids[3]].input == {'source': 'c'}


def test_a_stored_job_shows_its_task_and_status(scanned):
    jobid = scanned.add(nothing)
    schedule = scanned.addCronJob(resize, {'source': 'a'}, minute=(0,))
    transaction.commit()
    assert repr(scanned.jobs[jobid]) == f"<Job {jobid} 'nothing' queued>"
    assert repr(scanned.jobs[schedule]) == (
        f"<CronJob {schedule} 'resize' cronjob>")
    scanned.process()
    assert repr(scanned.jobs[jobid]) == f"<Job {jobid} 'nothing' completed>"


def test_functions_that_stand_for_no_name(scanned):
    with pytest.raises(UsageError, match=r"several tasks \('two', 'one'\)"):
        scanned.add(twice, 5)
    with pytest.raises(UsageError, match='several tasks'):
        twice.delay(5)
    for thing in (len, EchoTask(), lambda input: input):
        with pytest.raises(UsageError, match='not decorated with @task'):
            scanned.add(thing, 5)
    assert len(scanned.jobs) == 0


def test_a_function_that_was_not_scanned(service):
    with pytest.raises(ValueError) as caught:
        service.add(resize, {'source': 'a'})
    assert str(caught.value) == 'Task does not exist'
    note, = caught.value.__notes__
    assert "'resize'" in note and 'scan' in note


def test_a_stub_takes_functions_too(register):
    register(lambda input: ['stub', input], 'resize', ITaskStub)
    stub = TaskServiceStub()
    stub.add(resize, {'source': 'a'})
    stub.process()
    assert stub.getResult(1) == ['stub', {'source': 'a'}]


def test_the_methods_tell_what_they_do():
    assert 'Returns: the job' in resize.delay.__doc__
    assert 'countdown' in resize.apply_async.__doc__
