"""What every IHost does alike: see interfaces.IHost."""

import pytest
from zope.interface.verify import verifyObject

from lovely.remotetask import events
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import NotPermitted
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import marks
from lovely.remotetask.task import task


@pytest.fixture
def looks(driver):
    """A task ``look``: it returns what it sees."""
    driver.task('look', lambda service, jobid, input: driver.world.seen(
        service))


def test_provides_the_contract(driver):
    assert verifyObject(IHost, driver.world.host)
    with driver.world.acting() as service:
        assert type(service.host) is type(driver.world.host)


def test_finds_a_service_by_its_path(driver):
    world = driver.world
    with world.acting() as service:
        path = service.host.path_of(service)
        found = world.host.find_service(service._p_jar, path)
        assert found._p_oid == service._p_oid
        assert world.host.find_service(
            service._p_jar, [*path[:-1], 'nothing']) is None


def test_knows_the_tasks_of_the_application(driver, looks):
    with driver.world.acting() as service:
        assert 'look' in service.getAvailableTasks()
        assert 'nothing' not in service.getAvailableTasks()
        with pytest.raises(ValueError, match='Task does not exist'):
            service.add('nothing')


@pytest.fixture
def resize(driver):
    """A decorated function, which the application has as a task."""
    @task
    def resize(source, width=100):
        # What it adds goes to the service of its job.
        return resize.delay(source) if width < 10 else [source, width]

    (name, made), = marks(resize)
    driver.world.register(name, made)
    return resize


def test_delay_adds_to_the_service_of_the_calling_code(driver, resize):
    user = driver.world.users[0] if driver.world.users else None
    with driver.world.acting(user):
        jobid = resize.delay('a', width=300)
        later = resize.apply_async(('b',), {'width': 5})
    driver.run()
    assert driver.job(jobid)['output'] == ['a', 300]
    assert driver.job(jobid)['submitter'] == user
    added = driver.job(later)['output']
    assert driver.job(added)['output'] == ['b', 100]


def test_delay_where_there_is_no_service(driver, resize):
    with pytest.raises(ServiceNotFound, match='there is no '):
        resize.delay('a')


def test_a_job_sees_its_site_and_leaves_the_thread_as_it_was(driver, looks):
    jobid = driver.add(None, 'look')
    driver.run()
    assert driver.job(jobid) == {
        'status': 'completed', 'error': 'None', 'submitter': None,
        'output': {'site': driver.world.site,
                   'principal': driver.world.system}}


@pytest.mark.parametrize('error', [None, TaskError, RetryLater, SystemExit])
def test_nothing_of_a_task_is_left_behind(driver, looks, error):
    def mess(service, jobid, input):
        driver.world.mess(service)
        if error is not None:
            raise error

    driver.task('mess', mess, retry=None)
    driver.add(None, 'mess')
    after = driver.add(None, 'look')
    driver.run()
    assert driver.job(after)['output'] == {
        'site': driver.world.site, 'principal': driver.world.system}


def test_runs_as_its_submitter(driver, people, looks):
    ids = [driver.add(user, 'look') for user in people]
    driver.run()
    for user, jobid in zip(people, ids, strict=True):
        job = driver.job(jobid)
        assert job['submitter'] == user
        assert job['output'] == {'site': driver.world.site,
                                 'principal': user}


@pytest.mark.parametrize('attempts', [1, 2])
def test_the_world_of_a_run_survives_its_checkpoints(
        driver, looks, attempts):
    """Site, request and principal, and what follows is added by the same."""
    user = driver.world.users[0] if driver.world.users else None
    seen, begun = [], []

    def walk(service, jobid, input):
        job = currentJob()
        begun.append(job.cursor)
        before = driver.world.seen(service)
        # An object that was loaded before is there after it, too.
        found = service.jobs[jobid]
        if job.cursor is None:
            job.checkpoint(1)
        if len(begun) < attempts:
            raise ValueError('once more')
        job.step('look', lambda: seen.append(driver.world.seen(service)))
        seen.append(driver.world.seen(service))
        job.checkpoint(2)
        assert found.id == jobid
        assert seen == [before, before] == [driver.world.seen(service)] * 2
        return service.add('look')

    driver.task('walk', walk, retry=RetryPolicy(3, base=0))
    jobid = driver.add(user, 'walk')
    driver.run()
    job = driver.job(jobid)
    assert job['error'] == 'None' and job['status'] == 'completed', job
    assert begun == [None, 1][:attempts]
    assert job['submitter'] == user
    after = driver.job(job['output'])
    assert after['submitter'] == user
    assert after['output'] == seen[0] == {
        'site': driver.world.site,
        'principal': driver.world.system if user is None else user}


def test_the_undo_log_tells_of_each_checkpoint(driver, people):
    driver.task('walk', lambda service, jobid, input: (
        currentJob().checkpoint(1)))
    jobid = driver.add(people[0], 'walk')
    driver.run()
    found = [entry for entry in driver.world.database.undoLog(0, 5)
             if str(jobid) in _text(entry['description'])]
    # Newest first.
    assert [_text(entry['user_name']) for entry in found] == [people[0]] * 2
    assert [_text(entry['description']).endswith('checkpoint')
            for entry in found] == [False, True]


def test_the_undo_log_tells_of_job_and_submitter(driver, people):
    driver.task('note', lambda service, jobid, input: None)
    jobid = driver.add(people[0], 'note')
    driver.run()
    # Newest first; the machinery's own sweep may come after it.
    logged = driver.world.database.undoLog(0, 5)
    found = [entry for entry in logged
             if str(jobid) in _text(entry['description'])]
    assert [_text(entry['user_name']) for entry in found] == [people[0]]
    assert 'note' in _text(found[0]['description'])


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def test_runs_each_of_a_group_as_its_submitter(driver, people):
    driver.task('short', lambda service, jobid, input: driver.world.seen(
        service), groupable=True)
    wanted = [(user, driver.add(user, 'short'))
              for user in (*people, None, *people)]
    driver.run()
    for user, jobid in wanted:
        assert driver.job(jobid)['output']['principal'] == (
            driver.world.system if user is None else user)


def test_what_a_job_adds_has_the_same_submitter(driver, people, looks):
    driver.task('more', lambda service, jobid, input: service.add('look'))
    first = driver.add(people[1], 'more')
    driver.run()
    second = driver.job(driver.job(first)['output'])
    assert second['output']['principal'] == people[1]


def test_a_submitter_that_is_gone_ends_the_job(driver, people, looks):
    ran, told = [], []
    driver.task('note', lambda input: ran.append(input))

    def subscriber(event):
        if isinstance(event, events.JobFailed):
            told.append(event.job.id)

    jobid = driver.add(people[1], 'note', 'x')
    driver.world.forget(people[1])
    import zope.event
    zope.event.subscribers.append(subscriber)
    try:
        driver.run()
    finally:
        zope.event.subscribers.remove(subscriber)
    job = driver.job(jobid)
    assert job['status'] == 'error'
    assert people[1] in job['error']
    assert not ran
    assert told == [jobid]
    # And whoever comes next is not disturbed by it.
    after = driver.add(people[0], 'look')
    driver.run()
    assert driver.job(after)['output']['principal'] == people[0]


def test_another_principal_or_the_system_takes_the_permission(
        driver, people, looks):
    manager, adder = people
    with pytest.raises(NotPermitted, match='lovely.remotetask.Manage'):
        driver.add(adder, 'look', runAs=manager)
    with pytest.raises(NotPermitted):
        driver.add(adder, 'look', runAs=SYSTEM)
    assert driver.count() == 0
    other = driver.add(manager, 'look', runAs=adder)
    system = driver.add(manager, 'look', runAs=SYSTEM)
    own = driver.add(None, 'look', runAs=manager)
    driver.run()
    assert driver.job(other)['output']['principal'] == adder
    assert driver.job(system)['output']['principal'] == driver.world.system
    assert driver.job(system)['submitter'] == SYSTEM
    assert driver.job(own)['output']['principal'] == manager


def test_direct_processing_is_in_the_name_of_the_caller(
        driver, people, looks):
    manager, adder = people
    jobid = driver.add(adder, 'look')
    with driver.world.acting(manager) as service:
        before = driver.world.state()
        service.process()
        assert driver.world.state() == before
    assert driver.job(jobid)['output']['principal'] == manager


def test_jobs_of_principals_do_not_run_where_there_are_none(
        driver, people, caplog):
    # Never as somebody else, and never in silence.
    from lovely.remotetask.host.plain import PLAIN
    from lovely.remotetask.processor import SimpleProcessor

    ran = []
    driver.task('note', ran.append)
    jobid = driver.add(people[1], 'note')
    path = [*driver.processor.servicePath]
    with driver.world.acting() as service:
        assert PLAIN.find_service(service._p_jar, path) is not None

    class Plain(SimpleProcessor):
        host = PLAIN

    plain = Plain(driver.world.database, path)
    plain.processNext()
    plain.worker.leave()
    job = driver.job(jobid)
    # It waits for the right one.
    assert job['status'] == 'queued' and ran == []
    # Where tasks are the host's, too, the job is not even claimed.
    assert people[1] in caplog.text or 'Task "note" not found' in caplog.text
