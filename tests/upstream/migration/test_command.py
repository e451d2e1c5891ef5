"""``remotetask migrate``: its output, and what it does when all goes wrong."""

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import transaction
from ZODB.Connection import TransactionMetaData
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask import TaskService
from lovely.remotetask.cli import program
from lovely.remotetask.edge import db as edge
from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.generations import migration
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.host.walk import services
from lovely.remotetask.store import upstream

HERE = Path(__file__).parent

TASKS = '''\
/tasks
status       before  after
queued       626     627
processing   1       0
cancelled    11      11
error        4       5
completed    123     123
delayed      4       5
cronjob      8       6
start later  14      14
never added  1       1
total        792     792
queued, and in no queue: 0.5.2 had taken them and not ended them: \
298837034, 298837035
were processing, and are queued again: 298837672
have a schedule that never occurs, and are errors now: 298837683
had a delay after each run, and run once more: 298837684
'''

ALL = TASKS + '''\
/upgraded
status  before  after
queued  1       1
total   1       1
/site1/++etc++site/default/mail
status   before  after
queued   3       3
cronjob  1       1
total    4       4
'''

NOTHING = 'no service of 0.5.2 is here: there is nothing to migrate\n'
#: What becomes of jobs that are over.
TOLD = ('workers will remove old jobs that are over; to keep them, say so '
        'before you start one: remotetask retention --help\n')


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_dry_run_changes_nothing(migrate, written, press):
    before = digest(written)
    code, out, errors = migrate('--dry-run')
    assert (code, out, errors) == (
        0, f'{ALL}this was a dry run: nothing has been changed\n', '')
    assert digest(written) == before


def test_it_prints_what_it_did(migrate, press):
    assert migrate() == (0, ALL, TOLD)


def test_twice(migrate, written, press):
    assert migrate()[0] == 0
    before = digest(written)
    assert migrate() == (0, NOTHING, '')
    assert migrate('--service', '/tasks') == (0, NOTHING, '')
    assert migrate('--dry-run') == (0, NOTHING, '')
    assert digest(written) == before


def test_one_service(migrate, opened, press):
    assert migrate('--service', 'tasks') == (0, TASKS, TOLD)
    found = opened()
    assert len(found.tasks.jobs) == 792
    with pytest.raises(NotMigrated):
        found.mail().getStatus(1)
    found.close()
    code, out, _ = migrate()
    assert code == 0 and '/tasks' not in out and '/upgraded' in out


def test_json(migrate, press):
    code, out, _ = migrate('--dry-run', '--json')
    answer = json.loads(out)
    assert code == 0 and answer['dryRun'] is True
    tasks, upgraded, mail = answer['services']
    assert upgraded['before'] == upgraded['after'] == {'queued': 1}
    assert tasks['lost'] == [298837034, 298837035]
    assert mail['service'] == '/site1/++etc++site/default/mail'


def test_lost_jobs_can_be_cancelled(migrate, opened, press):
    code, out, _ = migrate('--cancel-lost', '--service', '/tasks')
    assert code == 0
    assert 'queued       626     625\n' in out
    assert 'cancelled    11      13\n' in out
    tasks = opened().tasks
    assert tasks.getStatus(298837034) == 'cancelled'
    assert [job.input for job in tasks._queue][:2] == [
        'an application said so', 0]


def test_the_page_about_it(migrate, press):
    """docs/explanation/porting.rst shows commands with their output."""
    page = (HERE.parents[2] / 'docs/explanation/porting.rst').read_text()
    shown = [textwrap.dedent(block) for block in re.findall(
        r'code-block:: console\n\n((?: {7}.*\n|\n)+)', page)]
    runs = [part.partition('\n') for part in
            ''.join(shown).split('$ remotetask migrate ')[1:]]
    assert len(runs) == 3
    for command, _, output in runs:
        where, uri, *arguments = command.split()
        assert (where, uri) == ('--db', 'file:///srv/app/Data.fs')
        code, out, errors = migrate(*arguments)
        assert (code, out) == (0, output.rstrip('\n') + '\n')
        assert errors in ('', TOLD)


# --- databases and services that are not there -------------------------------

def test_an_empty_database(migrate, tmp_path):
    path = tmp_path / 'other.fs'
    DB(FileStorage(str(path))).close()
    uri = f'file://{path}'
    assert migrate(uri=uri) == (0, NOTHING, '')
    code, out, errors = migrate('--service', '/tasks', uri=uri)
    assert (code, out) == (1, '')
    assert 'there is no task service at /tasks' in errors


def test_a_database_of_today(migrate, tmp_path):
    path = tmp_path / 'other.fs'
    database = DB(FileStorage(str(path)))
    with database.transaction() as connection:
        connection.root()['tasks'] = TaskService()
    database.close()
    before = digest(path)
    assert migrate(uri=f'file://{path}') == (0, NOTHING, '')
    assert migrate('--service', '/tasks', uri=f'file://{path}') == (
        0, NOTHING, '')
    assert digest(path) == before


def test_no_file(migrate, tmp_path):
    code, _, errors = migrate(uri=f'file://{tmp_path}/none.fs')
    assert code == 1 and 'there is no file' in errors
    assert not (tmp_path / 'none.fs').exists()


def test_another_path(migrate, press):
    code, _, errors = migrate('--service', '/task')
    assert code == 1
    assert errors == (
        'remotetask: there is no task service at /task; correct --service; '
        'there are: /tasks, /upgraded, /site1/++etc++site/default/mail\n')


def test_read_only(migrate, written, press):
    uri = f'file://{written}?read_only=1'
    before = digest(written)
    assert migrate('--dry-run', uri=uri)[0] == 0
    code, out, errors = migrate(uri=uri)
    assert (code, out) == (1, '')
    assert errors == (
        'remotetask: /tasks cannot be migrated: the database is opened '
        'read-only; open it for writing, or use --dry-run\n')
    assert digest(written) == before


def test_in_use(migrate, opened, press):
    opened()
    code, out, errors = migrate()
    assert (code, out) == (1, '')
    assert f'is in use by process {os.getpid()}; ' in errors
    assert errors.count('\n') == 1


# --- code that is not there --------------------------------------------------

def test_jobs_that_cannot_be_read(migrate, written, no_press):
    """Their class is not installed here: nothing is changed."""
    before = digest(written)
    code, out, errors = migrate('--service', '/tasks')
    assert (code, out) == (1, '')
    assert errors == (
        'remotetask: /tasks has jobs that cannot be read, and was not '
        'migrated: 1 (298837673): its class press.PressJob cannot be '
        'imported; install the code of the application beside remotetask, '
        'or leave them as they are with --leave-unreadable\n')
    assert digest(written) == before
    code, out, _ = migrate('--dry-run')
    assert code == 0
    assert 'unknown      1       1\n' in out
    assert ('cannot be read, its class press.PressJob cannot be imported: '
            '298837673\n') in out


LEFT_OUT = ('/site1/++etc++site/default/mail cannot be read: its class '
            'press.PressService cannot be imported')


def test_a_service_that_cannot_be_read(migrate, written, no_press):
    """It was left out without a word, and its jobs waited for ever."""
    before = digest(written)
    assert migrate() == (1, '', (
        f'remotetask: nothing was migrated: {LEFT_OUT}; install the code of '
        f'the application beside remotetask, or leave them as they are with '
        f'--leave-unreadable\n'))
    code, out, _ = migrate('--dry-run')
    assert code == 0 and f'\nleft out: {LEFT_OUT}\n' in out
    assert json.loads(migrate('--dry-run', '--json')[1])['unreadable'] == [
        LEFT_OUT]
    assert digest(written) == before
    code, out, _ = migrate('--leave-unreadable')
    assert code == 0 and f'\nleft out: {LEFT_OUT}\n' in out
    # As long as it is there, there is something to migrate.
    assert migrate('--leave-unreadable') == (0, f'left out: {LEFT_OUT}\n', '')


def test_one_that_was_left_out_is_migrated_later(migrate, written, press):
    sys.modules.pop('press')
    path = sys.path.pop(0)
    assert migrate('--leave-unreadable')[0] == 0
    sys.path.insert(0, path)
    code, out, errors = migrate()
    assert (code, out, errors) == (0, ALL[ALL.index('/site1'):], TOLD)


def test_they_can_be_taken_along(migrate, written, opened, no_press,
                                 monkeypatch):
    code, out, _ = migrate('--leave-unreadable')
    assert code == 0 and 'unknown      1       1\n' in out
    found = opened()
    assert found.tasks.getStatus(298837673) == 'unknown'
    assert found.tasks.stats()['error'] == 6
    assert 'PressJob' in found.tasks.getError(298837673)
    # Inputs without their class have records of their own.
    late = found.tasks._queue[-2]
    assert late.status == 'queued' and late.task == 'publish'
    found.close()
    # Once the class is there, a check puts the job into the queue.
    monkeypatch.syspath_prepend(str(HERE))
    found = opened()
    job = found.tasks.jobs[298837673]
    assert (job.status, job.desk, job.input) == ('queued', 'sports', 'sports')
    assert job.createdAt.timestamp() == job.created.timestamp()
    assert found.tasks.jobs[late.id].input.text == 'late edition'
    found.close()
    sys.modules.pop('press')
    assert program.run(['check', '--repair', '--service', '/tasks', '--db',
                        f'file://{written}']) == 0
    found = opened()
    assert found.tasks._queue[-1].input == 'sports'
    sys.modules.pop('press')


def test_an_application_that_is_not_there(written, press):
    """Zope's folders cannot be loaded: no service can be seen."""
    run = subprocess.run(
        [sys.executable, '-c', (
            'import sys; sys.modules["zope.site"] = None\n'
            'from lovely.remotetask.cli import program\n'
            'sys.exit(program.run(sys.argv[1:]))'),
         'migrate', '--db', f'file://{written}'],
        capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (1, '')
    assert run.stderr == (
        'remotetask: this database holds no task service that can be seen: '
        'the code of its application is not installed here; install it '
        'beside remotetask\n')


def test_a_record_that_is_lost(written, migrate, opened, press):
    found = opened()
    assert upstream.is_old(found.tasks)
    oid = found.tasks.__dict__['_upstream']['jobs'][298837015]._p_oid
    # ZODB has no way to delete a record but this, for tools.
    storage, run = found.db.storage, TransactionMetaData()
    storage.tpc_begin(run)
    storage.deleteObject(oid, storage.load(oid)[1], run)
    storage.tpc_vote(run)
    storage.tpc_finish(run)
    found.close()
    code, _, errors = migrate()
    assert code == 1
    assert '1 (298837015): its record is lost (POSKeyError 0x' in errors
    assert migrate('--leave-unreadable')[0] == 0
    tasks = opened().tasks
    assert tasks.getStatus(298837015) == 'unknown'
    assert len(tasks.jobs) == 792
    tasks.clean()
    assert 298837015 not in tasks.jobs


# --- interrupted -------------------------------------------------------------

def test_killed_at_each_commit(written, tmp_path):
    """kill -9: the next call goes on, and what comes out is the same."""
    work = tmp_path / 'work'
    work.mkdir()
    run = subprocess.run(
        [sys.executable, str(HERE / 'kill_migrations.py'), str(written),
         str(work)], capture_output=True, text=True, timeout=220,
        env=os.environ | {'PYTHONPATH': str(HERE)})
    assert run.returncode == 0, run.stderr
    # Begin, three batches and end, at two points of a commit.
    assert run.stdout == '10\n'


def test_a_service_between_two_calls(written, migrate, opened, press,
                                     monkeypatch):
    """Its jobs are in neither world: it says so, and can be looked over."""
    class Stopped(BaseException):
        pass

    def stop(done):
        raise Stopped

    found = opened()
    path = next(services(found.connection, PLAIN))
    with pytest.raises(Stopped):
        migration.migrate(path, progress=stop)
    found.connection.sync()
    with pytest.raises(NotMigrated, match='its migration has not come to its '
                                          'end: stop what uses it, and run'):
        found.tasks.stats()
    found.close()
    before = digest(written)
    code, out, _ = migrate('--dry-run', '--service', '/tasks')
    assert code == 0 and 'total        792     792\n' in out
    assert digest(written) == before
    assert migrate('--service', '/tasks') == (0, TASKS, TOLD)


def test_two_at_once(opened, press, monkeypatch):
    """They help each other."""
    monkeypatch.setattr(migration, 'BATCH', 50)
    found = opened()
    path = next(services(found.connection, PLAIN))
    transaction.abort()
    together = threading.Barrier(2, timeout=20)
    errors = []

    def run():
        try:
            migration.look_over(path)
            together.wait()
            migration.migrate(path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    found.connection.sync()
    assert found.tasks.stats()['queued'] == 627
    assert [job.input for job in found.tasks._queue][3:622] == list(range(619))
    assert edge.read(found.db, lambda connection: len(
        connection.get(found.tasks._p_oid).jobs)) == 792
