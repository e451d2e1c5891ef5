"""One kit for the engine, run on every kind of storage that users have.

Each test gets a ``world``: a service of its own in a database of one kind.

================  ======================================================
filestorage       opened by this process alone
demostorage       in memory
zeo               a server process of its own; our package is installed
zeo-foreign       the same, and the server cannot import ``lovely``: most
                  servers are such, and it can do less
postgresql        RelStorage, history-free, on a real server
================  ======================================================

Most tests run on all kinds but ``zeo``.  A test about some kinds only asks
for ``shared``, ``zeo`` or ``pg`` instead: it is generated for those kinds
alone, and so none is ever skipped.

A server without our package (hosts.md trap 13) is one whose imports of
``lovely`` fail: that is all a missing package does, and it is true of wheels
and editable installs alike.  The server proves it before it says its port.
"""

import os
import subprocess
import sys
import threading
import time

import pytest
import transaction
import ZEO
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage

from lovely.remotetask import TaskService
from lovely.remotetask.context import currentJob
from lovely.remotetask.edge import db as edge
from lovely.remotetask.peers import liveness
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run.threads import tell_to_stop

DEADLINE = 30

SHARED = ('zeo', 'zeo-foreign', 'postgresql')

KINDS = ('filestorage', 'demostorage', 'zeo-foreign', 'postgresql')

#: Fixture -> the kinds that a test with this fixture is about.
ABOUT = {'shared': SHARED, 'zeo': ('zeo',), 'pg': ('postgresql',)}

_SERVER = '''
import importlib.util
import sys


class Missing:
    """Stands for a machine where nobody has installed our package."""

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'lovely':
            raise ModuleNotFoundError(f'No module named {name!r}')


foreign = sys.argv[2] == 'zeo-foreign'
if foreign:
    sys.meta_path.insert(0, Missing())
try:
    import lovely.remotetask.store.lanes
except ModuleNotFoundError:
    assert foreign
else:
    assert not foreign
import ZEO

(host, port), stop = ZEO.server(sys.argv[1])
print(port, flush=True)
sys.stdin.read()
stop()
'''


class Server:
    """A ZEO server process."""

    def __init__(self, kind, path):
        self.process = subprocess.Popen(
            [sys.executable, '-c', _SERVER, str(path), kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, f'the ZEO server ended with {self.process.wait()}'
        self.address = ('127.0.0.1', int(line))

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope='session')
def servers(tmp_path_factory):
    """``servers(kind)``, a ZEO server; tests share it, in folders."""
    running = {}

    def servers(kind):
        if kind not in running:
            path = tmp_path_factory.mktemp(kind) / 'Data.fs'
            running[kind] = Server(kind, path)
        return running[kind]

    yield servers
    for server in running.values():
        server.stop()


class World:
    """A service in a database of one kind.

    Attributes: ``db``; ``path``, where the service is; ``shared`` (bool),
    whether several processes can have the storage open.
    """

    def __init__(self, kind, opener, locks):
        self.kind = kind
        self.shared = kind in SHARED
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


def _relstorage(dsn):
    options = Options(keep_history=False)
    return DB(RelStorage(PostgreSQLAdapter(dsn, options), options=options))


def pytest_generate_tests(metafunc):
    if 'world' in metafunc.fixturenames:
        kinds = [ABOUT[name] for name in metafunc.fixturenames
                 if name in ABOUT]
        metafunc.parametrize(
            'world', kinds[0] if kinds else KINDS, indirect=True)


@pytest.fixture
def world(request, tmp_path, components):
    kind = request.param
    if kind == 'filestorage':
        def opener():
            return DB(FileStorage(str(tmp_path / 'Data.fs')))
    elif kind == 'demostorage':
        def opener():
            return DB(DemoStorage())
    elif kind == 'postgresql':
        # A database takes longer to make than most tests to run.
        # Tests that look at its sessions have one of their own.
        dsn = request.getfixturevalue(
            'postgresql' if 'pg' in request.fixturenames
            else 'shared_postgresql')

        def opener():
            return _relstorage(dsn)
    else:
        address = request.getfixturevalue('servers')(kind).address

        def opener():
            return ZEO.DB(address)

    world = World(kind, opener, tmp_path / 'locks')
    yield world
    world.close()


@pytest.fixture
def patient(monkeypatch):
    """A busy machine must not make groups smaller, nor break a chain."""
    for name in ('settings.GROUP_SECONDS', 'run.executor._CHAIN_SECONDS',
                 'run.chain.GRACE_FIRST', 'run.worker._GROUP_PATIENCE'):
        monkeypatch.setattr(f'lovely.remotetask.{name}', 600.0)


@pytest.fixture
def shared(world):
    """A world whose storage several processes can have open."""
    return world


@pytest.fixture
def zeo(world):
    """A world on ZEO."""
    return world


@pytest.fixture
def pg(world, postgresql):
    """A world in a PostgreSQL database of its own.

    Attributes more: ``name``, the database's; ``ask(statement)``, what its
    server answers, asked from outside of that database.
    """
    # Where the driver is missing, the other kinds are tested all the same.
    import psycopg2

    world.name = postgresql.split('dbname=')[1]
    server = psycopg2.connect(postgresql.replace(world.name, 'postgres'))
    server.autocommit = True
    cursor = server.cursor()

    def ask(statement):
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None

    world.ask = ask
    yield world
    server.close()


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
