"""Threads, logs, factories: how 0.5.2 ran its services."""

import logging
import threading
import traceback

import pytest
import transaction
import zope.component

from lovely.remotetask import TaskService
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import QueueStub
from lovely.remotetask.testing import TaskServiceStub

DEADLINE = 20


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


def threads(prefix='remotetasks.'):
    return [t for t in threading.enumerate() if t.name.startswith(prefix)]


# --- threads -----------------------------------------------------------------

def test_thread_names(application):
    root = application.service('rootTaskService')
    site = application.site('site1')
    nested = application.service(
        'testTaskService1', site.getSiteManager()['default'])
    names = {
        root: 'remotetasks.rootTaskService',
        nested: 'remotetasks.site1.++etc++site.default.testTaskService1'}
    for service, name in names.items():
        assert service._threadName() == name
        service.startProcessing()
        (thread,) = (t for t in threads() if t.name == name)
        assert thread.daemon is True and thread.running is True
    for service, name in names.items():
        assert service.isProcessing() is True
        assert service.stopProcessing() is None
        assert service.isProcessing() is False
        assert name not in [t.name for t in threads()]


@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
def test_start_and_stop_are_idempotent(factory, service):
    service.processorFactory = factory
    transaction.commit()
    for _ in range(2):
        service.startProcessing()
        service.startProcessing()
        assert service.isProcessing() is True and len(threads()) == 1
        service.stopProcessing()
        service.stopProcessing()
        assert service.isProcessing() is False and threads() == []


MADE = []


class Factory:
    """A user's own: a plain class, called as 0.5.2 called it."""

    def __init__(self, db, servicePath, **arguments):
        MADE.append((db, servicePath, arguments))

    def __call__(self):
        thread = threading.current_thread()
        MADE.append((thread.name, thread.daemon, thread.running))
        pause = threading.Event()
        while thread.running:
            pause.wait(0.01)


def test_a_factory_of_one_s_own(application, service):
    MADE.clear()
    service.processorFactory = Factory
    service.processorArguments = {'colour': 'red'}
    transaction.commit()
    # Changed in place and not committed: it still reaches the factory.
    service.processorArguments['size'] = 1
    service.startProcessing()
    (thread,) = threads()
    assert service.isProcessing() is True
    service.stopProcessing(wait=DEADLINE)
    assert not thread.is_alive() and service.isProcessing() is False
    (db, path, arguments), seen = MADE
    assert db is application.db and list(path) == ['tasks']
    assert isinstance(path, list)
    assert arguments == {'colour': 'red', 'size': 1}
    assert seen == ('remotetasks.tasks', True, True)


class Counting(SimpleProcessor):
    """A user's subclass that overrides what 0.5.2's loop called."""

    ran = threading.Event()

    def processNext(self, jobid=None):
        found = super().processNext(jobid)
        if found:
            self.ran.set()
        return found


def test_a_subclass_of_a_processor(service):
    service.processorFactory = Counting
    jobid = service.add('echo', 1)
    transaction.commit()
    service.startProcessing()
    assert Counting.ran.wait(DEADLINE)
    service.stopProcessing(wait=None)
    transaction.begin()
    assert service.getStatus(jobid) == 'completed'


@pytest.mark.parametrize('factory, arguments', [
    (SimpleProcessor, {}), (SimpleProcessor, {'waitTime': 0}),
    (MultiProcessor, {'maxThreads': 1}),
    (MultiProcessor, {'waitTime': 0, 'maxThreads': 3})])
def test_arguments_that_are_accepted(factory, arguments, service, wait_for):
    service.processorFactory = factory
    service.processorArguments = arguments
    jobid = service.add('echo')
    transaction.commit()
    service.startProcessing()
    wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)


def test_a_processor_by_hand(application, service):
    processor = MultiProcessor(application.db, ['tasks'])
    assert processor.hasJobsWaiting() is False
    assert processor.claimNextJob() is None
    assert processor.processNext() is False
    jobid = service.add('echo', 'x')
    transaction.commit()
    assert processor.hasJobsWaiting() is True
    assert processor.claimNextJob() == jobid
    assert processor.hasJobsWaiting() is False
    assert processor.processNext(jobid) is True
    transaction.begin()
    assert service.getResult(jobid) == 'x'


# --- logs --------------------------------------------------------------------

GENERIC = ('ERROR Caught a generic exception, preventing thread from '
           'crashing')


@pytest.mark.usefixtures('longest_waits')
@pytest.mark.parametrize('direct', [True, False])
def test_a_failing_task_is_logged_once_with_its_traceback(
        direct, service, register, run_all, caplog):
    @register
    def fails(input):
        raise ZeroDivisionError('deep inside')

    service.add('fails')
    service.process() if direct else run_all()
    (record,) = caplog.records
    assert record.name == 'lovely.remotetask'
    # A worker tells which job it was, and warns of one that it tries again.
    assert record.getMessage().startswith(GENERIC[6:])
    assert record.levelname == ('ERROR' if direct else 'WARNING')
    assert not direct or record.getMessage() == GENERIC[6:]
    text = ''.join(traceback.format_exception(*record.exc_info))
    assert 'ZeroDivisionError: deep inside' in text
    assert 'in fails' in text


@pytest.mark.parametrize('direct', [True, False])
def test_a_missing_task_is_logged(direct, service, register, run_all, log):
    task = register(lambda input: input, 'soon gone')
    service.add('soon gone')
    zope.component.getGlobalSiteManager().unregisterUtility(
        task, ITask, 'soon gone')
    service.process() if direct else run_all()
    assert log == ['ERROR Task "soon gone" not found!']


@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
def test_normal_running_logs_nothing_not_even_debug(
        factory, service, wait_for, log):
    service.processorFactory = factory
    transaction.commit()
    service.startProcessing()
    ids = [service.add('echo', n) for n in range(3)]
    ids.append(service.addCronJob('echo', delay=0))
    service.cancel(service.add('echo', startLater=True))
    transaction.commit()
    for jobid in ids:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    service.clean()
    transaction.commit()
    assert log == []


def test_a_task_error_is_no_surprise_and_not_logged_as_one(
        service, register, log):
    @register
    def fails(input):
        raise TaskError('no')

    service.add('fails')
    service.process()
    assert log == []


def test_diagnostics_speak_when_asked(service, wait_for, caplog):
    trace = logging.getLogger('lovely.remotetask.trace')
    before = trace.level
    jobid = service.add('echo')
    transaction.commit()
    try:
        trace.setLevel(logging.DEBUG)
        service.startProcessing()
        wait_for(service, jobid, 'completed')
        service.stopProcessing(wait=None)
    finally:
        trace.setLevel(before)
    assert [r for r in caplog.records if r.name == trace.name]


# --- without a database, and the stub ----------------------------------------

def test_a_service_without_database_and_parent():
    service = TaskService()
    jobid = service.add('echo', 'x')
    delayed = service.addCronJob('echo', 'y', delay=10)
    assert len(service._queue) == 1
    service.process(0)
    assert service.getResult(jobid) == 'x'
    assert service.getStatus(delayed) == 'delayed'
    service.process(10)
    assert service.getResult(delayed) == 'y'
    # 0.5.2 did nothing here, and nobody learned why no job ran.
    with pytest.raises(ConfigurationError, match='has no place'):
        service.startProcessing()
    assert service.isProcessing() is False


def test_the_stub(register):
    register(EchoTask(), 'stub echo', ITaskStub)
    stub = TaskServiceStub()
    assert list(stub.getAvailableTasks()) == ['stub echo']
    with pytest.raises(ValueError) as caught:
        stub.add('echo')
    # Without the note, which pytest's match would see.
    assert str(caught.value) == 'Task does not exist'
    assert [stub.add('stub echo', n) for n in 'abc'] == [1, 2, 3]
    stub.process()
    assert stub.getResult(2) == 'b'
    for method in (stub.startProcessing, stub.stopProcessing):
        with pytest.raises(NotImplementedError):
            method()


def test_queuestub_is_a_queue():
    queue = QueueStub()
    assert not queue
    for item in 'abcd':
        queue.put(item)
    assert queue.pull() == 'a' and queue.pull(-1) == 'd'
    assert (list(queue), len(queue), queue[0], queue[-1]) == (
        ['b', 'c'], 2, 'b', 'c')
    for wrong in (5, -5):
        with pytest.raises(IndexError):
            queue.pull(wrong)
