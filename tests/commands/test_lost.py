"""A record of the service itself is lost: each command tells which, and how
to go on.
"""

import json
import re
import subprocess
import sys

import pytest
import transaction
from ZODB.Connection import TransactionMetaData
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.utils import oid_repr
from ZODB.utils import p64
from zope.component import provideUtility
from zope.testing.cleanup import cleanUp

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask

DEADLINE = 60

#: Verbs by the name by which a message calls them.
VERBS = {
    'list': ('list',), 'stats': ('stats',), 'show': ('show', 'ID'),
    'tasks': ('tasks',), 'add': ('add', 'echo', '--key', 'new'),
    'pause': ('pause',), 'resume': ('resume',)}

#: What is lost -> its name in the messages, and the verbs that answer all the
#: same, as those say.
RESTORED = {
    'queue': ('the queue', {'show', 'tasks'}),
    'jobs': ('the mapping of jobs', {'tasks', 'pause', 'resume'}),
    'blocks': ('the mapping of jobs', {'tasks', 'pause', 'resume'}),
    'slots': ("the slots of the workers' threads",
              {'show', 'add', 'tasks', 'pause', 'resume'}),
    'slot': ("the slots of the workers' threads",
             {'show', 'add', 'tasks', 'pause', 'resume'}),
    'claims': ('the claims',
               {'show', 'tasks', 'pause', 'resume'}),
    'workers': ('the workers', {'list', 'show', 'tasks', 'pause', 'resume'}),
    'worker': ('the workers', {'list', 'show', 'tasks', 'pause', 'resume'}),
}

REPAIRED = {
    'keys': 'the unique keys', 'key': 'the unique keys',
    'ready': 'the lanes of jobs that are ready',
    'lane': 'the lanes of jobs that are ready',
    'due': 'the lanes of jobs that are due',
    'log': 'the logs of jobs that are over'}


@pytest.fixture
def lose(tmp_path):
    """``lose(name)``: makes a database that has lost a record; the oid of
    that (int), and the id of a job.
    """
    def lose(name):
        storage = FileStorage(str(tmp_path / 'Data.fs'))
        database = DB(storage)
        with database.transaction() as connection:
            service = make_service(connection.root(), 'tasks')
            service.add('echo', 'runs')
            service.add('echo', 'waits', key='mine')
            service.add('echo', delay=3600)
        processor = SimpleProcessor(database, ['tasks'])
        processor.processNext()
        with database.transaction() as connection:
            jobid = connection.root()['tasks'].add('echo', startLater=True)
        processor.worker.claim()
        with database.transaction() as connection:
            service = connection.root()['tasks']
            queue = service.jobqueue
            worker, = queue.workers.values()
            slot = queue.slots[1]
            oid = {
                'service': service, 'queue': queue, 'jobs': service.jobs,
                'blocks': service.jobs._tree, 'slots': queue.slots,
                'slot': slot, 'claims': slot.claims, 'log': slot.completed,
                'workers': queue.workers, 'worker': worker,
                'keys': queue.uniques, 'key': queue.uniques._tree('mine'),
                'ready': queue.ready, 'lane': queue.ready._lanes.trees[3],
                'due': queue.due}[name]._p_oid
        _, serial = storage.load(oid)
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        storage.deleteObject(oid, serial, meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
        database.close()
        return int.from_bytes(oid, 'big'), jobid

    provideUtility(FunctionTask(lambda input: input), ITask, 'echo')
    yield lose
    transaction.abort()
    cleanUp()


@pytest.fixture
def ask(remotetask, tmp_path):
    def ask(*arguments):
        return remotetask(*arguments, '--db', f'file://{tmp_path}/Data.fs')

    return ask


def one_line(done):
    """The line of a command that failed."""
    assert (done.returncode, done.stdout) == (1, ''), done.stdout
    line, = done.stderr.splitlines()
    assert line.startswith('remotetask: ') and 'unexpected' not in line, line
    return line


@pytest.mark.parametrize('name', RESTORED)
def test_what_only_a_backup_brings_back(lose, ask, name):
    oid, jobid = lose(name)
    part, answering = RESTORED[name]
    told = (f'a record of this service is lost: {oid_repr(p64(oid))}, of '
            f'{part};')
    for repair in ((), ('--repair',)):
        done = ask('check', *repair)
        assert done.returncode == 1 and done.stderr == ''
        line, = (line for line in done.stdout.splitlines() if told in line)
        assert 'remotetask check cannot mend it' in line
        assert 'restore the database from a backup' in line
    assert json.loads(ask('check', '--json').stdout)['records'] == {
        str(oid): line}
    # What the line says of other commands is true, and no other one ends in a
    # traceback.
    said = line.rpartition('until then')[2]
    assert {verb for verb in VERBS
            if re.search(rf'\b{verb}\b', said)} == answering
    for verb in sorted({'list', 'stats', 'show', 'add'} | answering):
        done = ask(*(jobid if one == 'ID' else one for one in VERBS[verb]))
        if verb in answering or not done.returncode:
            assert done.returncode == 0, (verb, done.stderr)
        else:
            assert line in one_line(done), verb


@pytest.mark.parametrize('name', REPAIRED)
def test_what_a_check_mends(lose, ask, name):
    oid, _ = lose(name)
    done = ask('check')
    assert done.returncode == 1
    assert (f', of {REPAIRED[name]}; remotetask check --repair mends it'
            in done.stdout)
    done = ask('stats')
    if done.returncode:
        assert 'remotetask check --repair mends it' in one_line(done)
    done = ask('check', '--repair')
    assert done.returncode == 0, done.stdout
    assert (f'lost records of the queue itself, by their oids: {oid} '
            f'(repaired)' in done.stdout)
    assert ask('check').stdout == 'nothing is wrong\n'
    for verb in ('list', 'stats', 'add'):
        assert ask(*VERBS[verb]).returncode == 0


def test_the_service_itself_is_lost(lose, ask):
    lose('service')
    assert ('the record of the task service at /tasks is lost; restore the '
            'database from a backup') in one_line(ask('check'))


@pytest.mark.parametrize('name', ['jobs', 'queue'])
def test_a_worker_does_not_begin(lose, environ, tmp_path, name):
    lose(name)
    done = subprocess.run(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'worker', '--db',
         f'file://{tmp_path}/Data.fs'], env=environ, cwd=tmp_path, text=True,
        capture_output=True, timeout=DEADLINE)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert 'service /tasks cannot run: a record of this service is' in line
    assert RESTORED[name][0] in line and 'from a backup' in line


def test_a_server_tells_it_too(lose, serve, remotetask, tmp_path):
    lose('claims')
    server = serve('--port', '0', '--db',
                   f'file://{tmp_path}/Data.fs').ready()
    line = one_line(remotetask('stats', '--url', server.url))
    assert 'of the claims; remotetask check cannot mend it' in line
