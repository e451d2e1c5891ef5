"""``remotetask migrate`` where other processes have the database open.

The test's own process is the one that looks on.
"""

import os
from itertools import pairwise
from pathlib import Path

import pytest
import transaction
import ZEO
from forked import MODULES
from forked import Forks
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.generations import migration
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.host.walk import services

HERE = Path(__file__).parent

#: Runs the command in batches of 150, and kills itself after a commit.
#: Arguments: the number of the commit, 0: never; the URI.
_RUN = '''
import os, signal, sys
from ZEO.ClientStorage import ClientStorage
from relstorage.storage import RelStorage
from lovely.remotetask.generations import migration
from lovely.remotetask.cli import program
migration.BATCH = 150
commits = 0
def killing(original):
    def tpc_finish(self, *args, **kw):
        global commits
        result = original(self, *args, **kw)
        commits += 1
        if commits == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return tpc_finish
for storage in ClientStorage, RelStorage:
    storage.tpc_finish = killing(storage.tpc_finish)
sys.exit(program.run(['migrate', '--db', *sys.argv[2:]]))
'''


@pytest.fixture
def zeo(written):
    (host, port), stop = ZEO.server(str(written))
    database = ZEO.DB((host, port))
    yield f'zeo://{host}:{port}', database
    database.close()
    stop()


@pytest.fixture
def postgres(written, postgresql):
    """The file, copied as ``zodbconvert`` does."""
    def opened(**options):
        options = Options(keep_history=False, **options)
        return RelStorage(PostgreSQLAdapter(postgresql, options=options),
                          options=options)

    source, copy = FileStorage(str(written), read_only=True), opened()
    copy.copyTransactionsFrom(source)
    copy.close()
    source.close()
    database = DB(opened())
    parts = dict(pair.split('=') for pair in postgresql.split())
    yield (f'postgresql://{parts["user"]}@{parts["host"]}:{parts["port"]}/'
           f'{parts["dbname"]}?keep_history=0'), database
    database.close()


@pytest.fixture(params=['zeo', 'postgres'])
def server(request):
    """A URI; the database there, opened by this process."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope='module')
def forks():
    forks = Forks(modules=(*MODULES, 'relstorage.adapters.postgresql',
                           'lovely.remotetask.cli.migrate'))
    yield forks
    forks.close()


@pytest.fixture
def command(forks, tmp_path):
    """What a Forks needs to know of the command, but for its arguments."""
    script = tmp_path / 'run.py'
    script.write_text(_RUN)
    return {'environ': os.environ | {'PYTHONPATH': str(HERE)},
            'cwd': tmp_path, 'program': script}


@pytest.fixture
def run(forks, command):
    def run(uri, *arguments, kill=0):
        return forks.run([kill, uri, *arguments], **command)

    return run


def test_killed_amid_while_another_process_looks_on(
        server, press, ran, run):
    uri, database = server
    connection = database.open()
    service = connection.root()['Application']['tasks']
    with pytest.raises(NotMigrated, match='was written by'):
        service.stats()
    before = connection._storage.lastTransaction()
    wanted = run(uri, '--dry-run', '--service', '/tasks')
    assert (wanted.returncode, wanted.stderr) == (0, '')
    connection.sync()
    assert connection._storage.lastTransaction() == before
    table = wanted.stdout.removesuffix(
        'this was a dry run: nothing has been changed\n')
    assert 'total        792     792\n' in table
    # Begin, six batches, end; each call kills itself at its third commit.
    seen = [before]
    for _ in range(2):
        assert run(uri, '--service', '/tasks', kill=3).returncode == -9
        connection.sync()
        seen.append(connection._storage.lastTransaction())
        with pytest.raises(NotMigrated, match='has not come to its end'):
            service.add('echo', 'too early')
        transaction.abort()
    assert all(early < late for early, late in pairwise(seen))
    again = run(uri, '--service', '/tasks')
    assert (again.returncode, again.stdout) == (0, table), again.stderr
    # The process that has looked on sees what the other one has left.
    connection.sync()
    assert len(service.jobs) == 792
    assert service.stats()['queued'] == 627
    jobid = service.add('echo', 'in time')
    transaction.commit()
    service.process()
    assert ran[:3] == ['lost 0', 'lost 1', 'an application said so']
    assert service.getStatus(jobid) == 'completed'
    transaction.abort()
    connection.close()


WILL_REMOVE = (
    'workers will remove old jobs that are over; to keep them, say so before '
    'you start one: remotetask retention --help\n')


def test_two_commands_at_once(server, press, forks, command):
    uri, database = server
    processes = [forks.start([0, uri], **command) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0
        # To the one that has migrated it.
        assert errors in ('', WILL_REMOVE), errors
    connection = database.open()
    assert not list(migration.old_services(connection, PLAIN))
    assert len(list(services(connection, PLAIN))) == 3
    tasks = connection.root()['Application']['tasks']
    assert len(tasks.jobs) == 792
    assert [job.input for job in tasks._queue][3:622] == list(range(619))
    connection.close()
