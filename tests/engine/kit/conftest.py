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

import subprocess
import sys

import pytest
import transaction
import ZEO
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage

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
def world(request, tmp_path, make_world):
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

    with make_world(opener, kind in SHARED) as world:
        yield world


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


class Meanwhile:
    """A transaction of another process that is open for a while."""

    def __init__(self, world):
        self.manager = transaction.TransactionManager(explicit=True)
        self.manager.begin()
        self.connection = world.other().open(self.manager)
        self.service = world.service(self.connection)
        # It has seen all of it before the others commit.
        self.service.stats()

    def commit(self):
        self.manager.commit()
        self.manager.begin()

    def close(self):
        self.manager.abort()
        self.connection.close()


@pytest.fixture
def meanwhile(world):
    opened = []

    def meanwhile():
        opened.append(Meanwhile(world))
        return opened[-1]

    yield meanwhile
    for one in opened:
        one.close()
