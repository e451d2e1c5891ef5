"""Jobs run by processors: a transaction, site and interaction of their own."""

import threading

import pytest
import transaction
import zope.component
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.security.management import queryInteraction

from lovely.remotetask import events
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import ProcessorRequest
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.run import threads
from lovely.remotetask.service import make_service
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.task import TaskError

DEADLINE = 20


@pytest.fixture
def processor(application, service):
    return SimpleProcessor(application.db, ['tasks'], waitTime=0)


@pytest.fixture
def run(processor, service):
    """Adds a job, commits, runs it in a processor, and shows the result."""
    def run(name, input=None):
        jobid = service.add(name, input)
        transaction.commit()
        assert processor.processNext() is True
        transaction.begin()
        return service.jobs[jobid]

    return run


@pytest.fixture
def subscribe():
    import zope.event

    before = list(zope.event.subscribers)
    yield zope.event.subscribers.append
    zope.event.subscribers[:] = before


@pytest.mark.usefixtures('longest_waits')
def test_anything_raised_is_retried_and_the_worker_lives(
        service, register, processor, run, log):
    @register
    def exits(input):
        raise SystemExit('bye')

    job = run('exits')
    assert job.status == 'queued' and job.failures == 1
    assert str(job.error) == 'bye'
    # It waits: there is nothing to run at once.
    assert processor.processNext() is False
    (line,) = log
    assert line.startswith('WARNING Caught a generic exception, preventing '
                           'thread from crashing: Job ')
    assert service.getResult(job.id) is None


def test_the_policy_of_a_task_counts(register, run, service):
    @register
    def fails(input):
        raise ValueError('no')

    task = zope.component.getUtility(ITask, 'fails')
    task.retry = NO_RETRY
    job = run('fails')
    assert job.status == 'error' and job.attempts == 1


SEEN = []


def look(input):
    """Stored with a site, so it has to be found by its name."""
    (participation,) = queryInteraction().participations
    SEEN.append((getSite().__name__, participation))
    participation.setPrincipal('somebody')


def test_a_task_sees_its_site_and_an_interaction(application, register):
    site = application.site('site')
    service = application.service(
        'tasks.general', parent=site.getSiteManager())
    SEEN.clear()
    # Known in this site only.
    site.getSiteManager().registerUtility(SimpleTask(look), ITask, 'look')
    setSite(site)
    for _ in range(2):
        service.add('look')
    setSite(None)
    transaction.commit()
    processor = SimpleProcessor(
        application.db, ['site', '++etc++site', 'tasks.general'])
    assert processor.processNext() and processor.processNext()
    assert [name for name, _ in SEEN] == ['site', 'site']
    first, second = (participation for _, participation in SEEN)
    assert isinstance(first, ProcessorRequest)
    assert first is not second
    # Nothing is left behind in this thread.
    assert getSite() is None and queryInteraction() is None
    assert processor.processNext() is False


def test_subscribers_of_a_failure_write_with_the_error(
        application, run, register, subscribe):
    def note(event):
        if isinstance(event, events.JobFailed):
            root = event.service._p_jar.root()['Application']
            root.trace = str(event.job.error)

    subscribe(note)

    @register
    def fail(input):
        raise TaskError('no')

    assert run('fail').status == 'error'
    assert application.root.trace == 'no'


def test_a_failing_subscriber_does_not_lose_the_error(
        run, register, subscribe, log):
    def broken(event):
        if isinstance(event, events.JobFailed):
            raise RuntimeError('subscriber')

    subscribe(broken)

    @register
    def fail(input):
        raise TaskError('no')

    job = run('fail')
    assert job.status == 'error' and str(job.error) == 'no'
    first, second = log
    assert first.startswith('ERROR Job ') and 'TaskError: no' in first
    assert 'storing that failed as well' in second


def test_the_undo_log_can_be_read(application, run, register):
    register(lambda input: None, 'quiet')
    job = run('quiet')
    (entry,) = application.db.undoLog(0, 1)
    assert entry['description'] == f'quiet job {job.id}'


def test_a_removed_service_stops_its_thread(application, service, log):
    service.startProcessing()
    (thread,) = (t for t in threading.enumerate()
                 if t.name == 'remotetasks.tasks')
    # It must have seen the service once: let it run a job.
    done = threading.Event()
    zope.component.provideUtility(
        SimpleTask(lambda input: done.set()), ITask, 'done')
    service.add('done')
    transaction.commit()
    assert done.wait(DEADLINE)
    # The thread may look by itself, and is no longer listed once it has ended.
    loop = threads.loops[thread]
    del application.root['tasks']
    transaction.commit()
    loop.wake_event.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert len(log) == 1 and 'there is no service at /tasks' in log[0]


@pytest.mark.parametrize('count', [1, 3])
def test_a_service_that_is_made_anew_at_its_path(
        application, service, register, log, count):
    """As another process does it, between two looks of the processor."""
    register(lambda input: input, 'echo')
    worker = MultiProcessor(
        application.db, ['tasks'], maxThreads=count).worker
    worker.enroll(LOOP, count)
    del application.root['tasks']
    transaction.commit()
    anew = make_service(application.root, 'tasks')
    transaction.commit()
    jobid = anew.add('echo')
    transaction.commit()
    worker.run(worker.claim())
    transaction.begin()
    assert anew.getStatus(jobid) == 'completed'
    (row,) = anew.listWorkers()
    assert row['id'] == worker.identity.id and len(row['slots']) == count
    assert log == []
    worker.leave()
    transaction.begin()
    assert anew.listWorkers() == []


def test_many_threads_at_once_but_no_more(application, service, register):
    service.processorFactory = MultiProcessor
    service.processorArguments = {'maxThreads': 3}
    transaction.commit()
    entered, release = threading.Semaphore(0), threading.Event()
    running, most, seen = [], [], set()

    @register
    def hold(input):
        running.append(input)
        most.append(len(running))
        seen.add(input)
        entered.release()
        release.wait(DEADLINE)
        running.remove(input)

    ids = [service.add('hold', n) for n in range(7)]
    transaction.commit()
    service.startProcessing()
    for _ in range(3):
        assert entered.acquire(timeout=DEADLINE)
    names = [t.name for t in threading.enumerate()]
    assert [n for n in names if n.startswith('remotetasks.')] == [
        'remotetasks.tasks']
    release.set()
    # One may come twice: the claim that shares its commit may conflict.
    while len(seen) < 7:
        assert entered.acquire(timeout=DEADLINE)
    service.stopProcessing(wait=None)
    assert service.isProcessing() is False
    transaction.begin()
    assert {service.getStatus(i) for i in ids} == {'completed'}
    assert max(most) == 3


def test_stop_says_what_still_runs(service, register, log):
    entered, release = threading.Event(), threading.Event()

    @register
    def hold(input):
        entered.set()
        release.wait(DEADLINE)

    service.add('hold')
    transaction.commit()
    service.startProcessing()
    assert entered.wait(DEADLINE)
    (thread,) = (t for t in threading.enumerate()
                 if t.name == 'remotetasks.tasks')
    service.stopProcessing(wait=0)
    assert service.isProcessing() is False
    assert thread.is_alive()
    assert log == ['WARNING remotetasks.tasks was told to stop and still '
                   'runs a job; it ends after that job']
    # One may start again at once; the old thread takes no further job.
    service.startProcessing()
    service.startProcessing()
    assert service.isProcessing() is True
    release.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    service.stopProcessing(wait=None)


@pytest.mark.parametrize('wait', [7, None])
def test_a_stop_waits_as_long_as_it_is_told(service, register, wait, log):
    began, release, waits = threading.Event(), threading.Event(), []

    @register
    def hold(input):
        began.set()
        assert release.wait(DEADLINE)

    service.add('hold')
    transaction.commit()
    service.startProcessing()
    assert began.wait(DEADLINE)
    thread, = threads.threads_of(service, service._threadName())
    join = thread.join

    def noted(timeout=None):
        # The job ends once it is waited for: the test takes no time.
        waits.append(timeout)
        release.set()
        join(timeout)

    thread.join = noted
    service.stopProcessing(wait=wait)
    assert waits == [wait if wait is None else pytest.approx(wait, abs=3)]
    assert not thread.is_alive() and log == []


@pytest.mark.parametrize('tasks', [0, 1])
def test_a_worker_that_can_run_nothing_says_so(
        application, service, register, caplog, tasks):
    warned = threading.Event()

    class Looks(SimpleProcessor):
        def _look_for_tasks(self):
            super()._look_for_tasks()
            warned.set()

    service.processorFactory = Looks
    if tasks:
        register(lambda input: input, 'task')
    service.startProcessing()
    assert warned.wait(DEADLINE)
    service.stopProcessing(wait=None)
    said = [record.getMessage() for record in caplog.records
            if record.levelname == 'WARNING']
    assert len(said) == 1 - tasks
    assert all('service /tasks can run nothing' in text for text in said)


def test_a_task_may_stop_its_own_service(service):
    stopped = threading.Event()

    class Stops:
        inputSchema = outputSchema = None

        def __call__(self, service, jobid, input):
            service.stopProcessing(wait=None)
            stopped.set()

    zope.component.provideUtility(Stops(), ITask, 'stops')
    service.add('stops')
    transaction.commit()
    service.startProcessing()
    assert stopped.wait(DEADLINE)
    assert service.isProcessing() is False


def test_call_takes_arguments(processor, service, register):
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    transaction.commit()
    assert processor.call('getStatus', (jobid,)) == 'queued'


def test_claims_what_is_due_then(service, register):
    register(lambda input: input, 'echo')
    jobid = service.add('echo', delay=60)
    transaction.commit()
    due = service.jobs[jobid].scheduledAt.timestamp()
    assert service.claimNextJob() is service.claimNextJob(due - 1) is None
    assert service.claimNextJob(due + 1) == jobid


def test_call_reports_errors_and_goes_on(processor, log):
    assert processor.call('hasJobsWaiting') is False
    assert isinstance(processor.call('nonsense'), AttributeError)
    assert processor.call('getStatus', (5,), errorValue='no') == 'no'
    assert [r for r in log if 'caused an error!' in r] == log
    assert len(log) == 2


def test_a_service_in_an_application_with_another_root(application, register):
    """As in a Pyramid application: root()['app']['tasks']."""
    from persistent.mapping import PersistentMapping

    from lovely.remotetask import TaskService

    roots = application.connection.root()
    services = []
    for name in ('app', 'other'):
        app = roots[name] = PersistentMapping()
        service = app['tasks'] = TaskService()
        service.__parent__, service.__name__ = app, 'tasks'
        services.append(service)
    transaction.commit()
    done = threading.Event()
    register(lambda input: done.set(), 'done')
    for service in services:
        done.clear()
        service.startProcessing()
        jobid = service.add('done')
        transaction.commit()
        assert done.wait(DEADLINE)
        service.stopProcessing(wait=None)
        transaction.begin()
        assert service.getStatus(jobid) == 'completed'


def test_no_pool_is_exceeded(application, service, register, caplog):
    """MultiProcessor(5) beside four threads of a web server."""
    before = application.db.getPoolSize()
    service.processorFactory = MultiProcessor
    service.processorArguments = {'maxThreads': 5}
    transaction.commit()
    entered, release = threading.Semaphore(0), threading.Event()

    @register
    def hold(input):
        entered.release()
        release.wait(DEADLINE)

    for n in range(20):
        service.add('hold', n)
    transaction.commit()
    service.startProcessing()
    for _ in range(5):
        assert entered.acquire(timeout=DEADLINE)
    web = [application.db.open(transaction.TransactionManager())
           for _ in range(3)]           # the fourth is the fixture's own
    assert len(application.db.connectionDebugInfo()) >= 9
    for n in range(5):
        service.add('hold', n)
        transaction.commit()
    release.set()
    service.stopProcessing(wait=None)
    for connection in web:
        connection.close()
    assert not [r for r in caplog.records if 'pool_size' in r.getMessage()]
    assert application.db.getPoolSize() == before
