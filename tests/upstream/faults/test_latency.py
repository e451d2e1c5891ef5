"""Start-up sleeps and polling: 20 jobs a second, 0.7 s until a look."""

import threading

import pytest
import transaction
from persistent.mapping import PersistentMapping
from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.DB import DB

from lovely.remotetask import TaskService
from lovely.remotetask import processor
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.wakeup import WAIT_FLOOR
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor

DEADLINE = 20
NEVER = 3600.0


@pytest.fixture(params=[SimpleProcessor, MultiProcessor])
def factory(request):
    return request.param


def test_multiprocessor_slept_at_each_start(
        service, register, monkeypatch, wait_for):
    monkeypatch.setattr(processor, 'THREAD_STARTUP_WAIT', NEVER)
    register(lambda input: input, 'echo')
    service.processorFactory = MultiProcessor
    ids = [service.add('echo', n) for n in range(10)]
    transaction.commit()
    service.startProcessing()
    for jobid in ids:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)


class Told:
    """Mixed into a processor: says when it found nothing to do."""

    idle = threading.Event()

    def _work(self):
        worked = super()._work()
        if not worked:
            self.idle.set()
        return worked


def test_idle_latency_was_uniform_over_waittime(
        factory, application, service, register, wait_for):
    """With an hour between two looks, a job is run at once all the same."""
    register(lambda input: input, 'echo')

    class Telling(Told, factory):
        idle = threading.Event()

    TaskService = type(service)
    before = TaskService.processorFactory
    TaskService.processorFactory = Telling
    try:
        service.processorArguments = {'waitTime': NEVER}
        transaction.commit()
        service.startProcessing()
        for _ in range(3):
            assert Telling.idle.wait(DEADLINE)
            Telling.idle.clear()
            jobid = service.add('echo')
            transaction.commit()
            wait_for(service, jobid, 'completed')
        # Nor does a stop wait for it.
        assert Telling.idle.wait(DEADLINE)
        service.stopProcessing(wait=DEADLINE)
        assert not [t for t in threading.enumerate()
                    if t.name == 'remotetasks.tasks']
    finally:
        TaskService.processorFactory = before


def test_a_full_multiprocessor_notices_a_free_thread(
        service, register, wait_for):
    register(lambda input: input, 'echo')
    service.processorFactory = MultiProcessor
    service.processorArguments = {'waitTime': NEVER, 'maxThreads': 1}
    ids = [service.add('echo', n) for n in range(5)]
    transaction.commit()
    service.startProcessing()
    for jobid in ids:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)


class WakeEvent(wakeup.WakeEvent):
    """Notes how long the processor wants to wait, and stops it then."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        if len(self.waits) == 5:
            threading.current_thread().running = False
        return False


@pytest.fixture
def mute(tmp_path, components):
    """A database whose storage tells nobody what others have committed."""
    options = Options(keep_history=False)
    database = DB(RelStorage(Sqlite3Adapter(
        str(tmp_path / 'sqlite'), {}, options=options), options=options))
    with database.transaction() as connection:
        folder = connection.root()['Application'] = PersistentMapping()
        folder['tasks'] = TaskService()
    yield database
    database.close()


def test_waittime_0_span_at_100_percent(factory, mute):
    processor = factory(mute, ['Application', 'tasks'], waitTime=0.0)
    event = processor._listener.wake_event = WakeEvent()
    thread = threading.Thread(target=processor)
    thread.running = True
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert event.waits == [WAIT_FLOOR] * 5


def test_an_idle_processor_writes_nothing(application, service):
    processor = SimpleProcessor(application.db, ['tasks'])
    before = application.db.lastTransaction()
    for _ in range(5):
        assert processor.processNext() is False
        assert processor.claimNextJob() is None
    assert application.db.lastTransaction() == before
