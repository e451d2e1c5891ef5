"""What tests of the engine share, on whichever storage they run."""

import os
import threading
import time
from contextlib import contextmanager

import pytest
import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError

from lovely.remotetask import TaskService
from lovely.remotetask.context import currentJob
from lovely.remotetask.edge import db as edge
from lovely.remotetask.peers import liveness
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.testing import FrozenClock

DEADLINE = 30


class World:
    """A service in a database, and the threads that run its jobs.

    Arguments: ``opener()`` opens the database; ``shared`` (bool), whether
    several processes can have the storage open; ``locks``, a directory.
    Attributes: ``db``; ``path``, where the service is; ``shared``.
    """

    def __init__(self, opener, shared, locks):
        self.shared = shared
        self._opener = opener
        self._locks = str(locks)
        self._databases = []
        self._threads = []
        self.db = self._open()
        self.path = [f'tests-{os.urandom(4).hex()}', 'tasks']
        edge.write(self.db, self._make)

    def _open(self):
        database = self._opener()
        if self.shared:
            # Lock files of tests belong to the tests.
            liveness.for_database(database, directory=self._locks)
        self._databases.append(database)
        return database

    def _make(self, connection):
        folder = connection.root()[self.path[0]] = PersistentMapping()
        # A tree: other jobs' effects must not conflict with a job's.
        folder['effects'] = OOBTree()
        service = folder['tasks'] = TaskService()
        service.__parent__ = folder
        service.__name__ = 'tasks'

    def other(self):
        """The database as another process has it, where there can be one."""
        return self._open() if self.shared else self.db

    def service(self, connection):
        return connection.root()[self.path[0]]['tasks']

    def do(self, function, database=None):
        """Call ``function(service)`` and commit; again after a conflict."""
        return edge.write(database or self.db, lambda connection: function(
            self.service(connection)))

    def see(self, function):
        """Call ``function(service)`` on a fresh snapshot."""
        return edge.read(self.db, lambda connection: function(
            self.service(connection)))

    def add(self, *arguments, **options):
        return self.do(lambda service: service.add(*arguments, **options))

    def status(self, jobid):
        return self.see(lambda service: service.getStatus(jobid))

    def effects(self):
        """What the tasks wrote: see ``effect``."""
        return self.see(lambda service: dict(
            service._p_jar.root()[self.path[0]]['effects']))

    def effect(self, service, name):
        """Count one up in the task's transaction."""
        effects = service._p_jar.root()[self.path[0]]['effects']
        effects[name] = effects.get(name, 0) + 1

    def dies(self, worker):
        """The process of a worker was killed, and another one has seen that.

        Returns: the ids of the jobs that it ran.
        """
        jobs = self.do(lambda service: service.jobqueue.retire(
            worker.identity.id, service.clock.now(), charged=True))
        # What it runs does not run in this process.
        worker.active.clear()
        return jobs

    # -- processors -----------------------------------------------------------

    def processor(self, database=None, factory=SimpleProcessor, **options):
        options.setdefault('waitTime', 0.05)
        return factory(database or self.db, self.path, **options)

    def run_elsewhere(self):
        """Run a job in another thread; a task's own has a transaction."""
        thread = threading.Thread(target=self.drain, args=(1,))
        thread.start()
        thread.join(DEADLINE)
        assert not thread.is_alive()

    def drain(self, most=50):
        """Run what is ready, in this thread; how many runs that took."""
        processor = self.processor()
        runs = 0
        while runs < most and processor.processNext():
            runs += 1
        return runs

    def start(self, database=None, factory=SimpleProcessor, **options):
        """A thread that runs jobs until the test ends, or ``stop``."""
        processor = self.processor(database, factory, **options)
        thread = threading.Thread(target=processor, daemon=True)
        thread.running = True
        thread.processor = processor
        self._threads.append(thread)
        thread.start()
        return thread

    def stop(self):
        for thread in self._threads:
            tell_to_stop(thread)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), 'a processor does not stop'
        self._threads.clear()

    def until(self, condition, seconds=DEADLINE):
        """Wait until ``condition(service)`` holds; what it gave."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not (found := self.see(condition)):
            assert time.monotonic() < deadline, (
                f'still not after {seconds} s; jobs: ' + str(self.see(
                    lambda service: [(job.id, job.status, str(job.error))
                                     for job in service.listJobs()[0]])))
            pause.wait(0.01)
        return found

    def until_over(self, *jobids):
        """Wait until these jobs have ended; their statuses."""
        def statuses(service):
            found = [service.getStatus(jobid) for jobid in jobids]
            over = {'completed', 'error', 'cancelled'}
            return found if over.issuperset(found) else None

        return self.until(statuses)

    def close(self):
        try:
            self.stop()
        finally:
            transaction.abort()
            for database in self._databases:
                if self.shared:
                    liveness.for_database(database).close()
                database.close()
            self._databases.clear()
            self.db = None


@pytest.fixture
def make_world(tmp_path, components):
    """``with make_world(opener, shared) as world``: see World."""
    @contextmanager
    def make_world(opener, shared):
        world = World(opener, shared, tmp_path / 'locks')
        try:
            yield world
        finally:
            world.close()

    return make_world


@pytest.fixture
def patient(monkeypatch):
    """A busy machine must not make groups smaller, nor break a chain."""
    for name in ('settings.GROUP_SECONDS', 'run.executor._CHAIN_SECONDS',
                 'run.chain.GRACE_FIRST', 'run.worker._GROUP_PATIENCE'):
        monkeypatch.setattr(f'lovely.remotetask.{name}', 600.0)


@pytest.fixture
def held(world, register):
    """A task ``hold`` that says that it runs, and ends when it is told to.

    Attributes: ``running``, ``go``, events; ``attempts``, those of its runs.
    """
    class Held:
        def __init__(self):
            self.running, self.go = threading.Event(), threading.Event()
            self.attempts = []

        def wait(self):
            assert self.running.wait(DEADLINE), 'the task does not start'

    held = Held()

    @register
    def hold(input):
        held.attempts.append(currentJob().attempt)
        held.running.set()
        assert held.go.wait(DEADLINE)

    yield held
    held.go.set()


@pytest.fixture
def ran(register):
    """The inputs of the jobs of the task ``note`` that ran, in their order."""
    ran = []

    @register
    def note(input):
        ran.append(input)
        return input

    return ran


@pytest.fixture
def clock():
    """The clock of services, which moves only when the test says so."""
    with FrozenClock(1_800_000_000.0) as clock:
        yield clock


@pytest.fixture
def without_savepoints():
    """A class of data managers that know no savepoints, as of a mailer."""
    class WithoutSavepoints:
        transaction_manager = transaction.manager

        def sortKey(self):
            return 'without savepoints'

        def abort(self, txn):
            pass

        tpc_begin = commit = tpc_vote = tpc_finish = tpc_abort = abort

        def __repr__(self):
            return '<WithoutSavepoints>'

    return WithoutSavepoints


@pytest.fixture
def lose_record():
    """``lose_record(storage, oid)``: as a pack does that has missed a
    reference; the id of that transaction."""
    def lose_record(storage, oid):
        _, serial = storage.load(oid)
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        try:
            storage.deleteObject(oid, serial, meta)
            storage.tpc_vote(meta)
        except ConflictError:
            storage.tpc_abort(meta)
            raise
        return storage.tpc_finish(meta)

    return lose_record
