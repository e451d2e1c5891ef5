"""`remotetask worker`: real processes on a real ZEO server."""

import contextlib
import doctest
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import ZODB
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from forked import started
from required import missing
from worker_process import DEADLINE
from worker_process import Producer
from worker_process import heard
from worker_process import there
from ZODB.fsIndex import fsIndex

from lovely.remotetask import TaskService


def one_line(run, code=1):
    """The single line on stderr of a command that failed."""
    assert run.returncode == code, (run.stdout, run.stderr)
    assert run.stdout == ''
    assert run.stderr.startswith('remotetask: '), run.stderr
    assert run.stderr.count('\n') == 1, run.stderr
    assert 'Traceback' not in run.stderr
    return run.stderr


# --- the normal course ------------------------------------------------------

@pytest.mark.parametrize('options', [(), ('--tasks', 'thetasks')])
def test_a_worker_without_tasks_says_so(zeo, producer, worker, options):
    process = worker('--db', zeo.uri, *options).ready()
    assert process.stop() == 0
    assert ('can run nothing but echo' in process.rest()) is not bool(options)


def test_a_worker_tells_of_a_paused_queue(zeo, producer, worker):
    with producer.service() as service:
        service.pause()
    process = worker('--db', zeo.uri, '--tasks', 'thetasks').ready()
    process.wait_for('remotetask: the queue is paused: no job is started '
                     'until: remotetask resume')
    with producer.service() as service:
        service.resume()
    jobid = producer.add('note', 'it')
    with producer.service() as service:
        assert service.waitFor(jobid, DEADLINE).status == 'completed'


def test_the_job_of_another_process_is_waited_for(zeo, producer, worker):
    worker('--db', zeo.uri, '--tasks', 'thetasks').ready()
    with producer.root() as root:
        root['Application']['effects'] = OOBTree({5: Length()})
    jobid = producer.add('count', 5)
    with producer.service() as service:
        assert service.waitFor(jobid, DEADLINE).status == 'completed'
        assert service.__parent__['effects'][5]() == 1


def test_two_workers_run_every_job_once(zeo, producer, worker, directory):
    # As a user starts them.
    workers = [worker('--db', zeo.uri, '--tasks', 'thetasks', '--threads', n,
                      start=started) for n in (1, 3)]
    lines = [process.ready().line for process in workers]
    assert lines == [
        'remotetask: worker ready: service /tasks, 1 thread, '
        'tasks: count, echo, hold, meet, note\n',
        'remotetask: worker ready: service /tasks, 3 threads, '
        'tasks: count, echo, hold, meet, note\n']
    # Neither can end these alone, for each has only a place of its own.
    jobs = [producer.add('meet') for _ in range(4)]
    with producer.root() as root:
        root['Application']['effects'] = OOBTree(
            {number: Length() for number in range(60)})
    jobs += [producer.add('count', number) for number in range(60)]
    for jobid in jobs:
        producer.wait_for(jobid, 'completed')
    with producer.root() as root:
        effects = root['Application']['effects']
        assert {number: effects[number]() for number in effects} == {
            number: 1 for number in range(60)}
    assert {producer.job(jobid)[1] for jobid in jobs} == {1}
    for process in workers:
        assert process.stop() == 0
        assert process.rest().endswith('remotetask: worker stopped\n')
    with producer.service() as service:
        assert service.listWorkers() == []


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT],
                         ids=['SIGTERM', 'Ctrl-C'])
def test_a_signal_lets_running_jobs_end(zeo, producer, worker, directory,
                                        number):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--threads',
                     '1').ready()
    running = producer.add('hold')
    waiting = producer.add('note')
    assert heard(directory / 'running')
    process.send(number)
    process.wait_for('worker stopping: running jobs get up to 10 s')
    (directory / 'go').touch()
    assert process.end() == 0
    assert process.rest().endswith('remotetask: worker stopped\n')
    assert producer.job(running) == ('completed', 1)
    # And it has not begun another one.
    assert producer.job(waiting) == ('queued', 0)
    assert not (directory / 'log').exists()


def test_a_job_longer_than_the_grace_is_given_back(zeo, producer, worker,
                                                   directory):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--grace',
                     '0.1').ready()
    jobid = producer.add('hold')
    assert heard(directory / 'running')
    assert process.stop() == 0
    assert process.rest().endswith(
        'remotetask: worker stopped: a running job was given back\n')
    assert producer.job(jobid)[0] == 'queued'
    other = worker('--db', zeo.uri, '--tasks', 'thetasks').ready()
    assert heard(directory / 'running')
    (directory / 'go').touch()
    producer.wait_for(jobid, 'completed')
    assert producer.job(jobid)[1] == 2
    with producer.service() as service:
        # Nobody died: it must not come nearer to being poison.
        assert service.jobs[jobid].interruptions == 0
    assert other.stop() == 0


def test_a_job_with_checkpoints_goes_on_in_the_next_worker(
        zeo, producer, worker, directory):
    """It does not wait for the grace, and repeats nothing."""
    arguments = ('--db', zeo.uri, '--tasks', 'thetasks', '--grace', '600')
    process = worker(*arguments).ready()
    jobid = producer.add('walk')
    assert heard(directory / 'running')
    assert process.stop() == 0
    assert producer.job(jobid) == ('queued', 1)
    with producer.service() as service:
        reached = service.jobs[jobid].checkpoint.cursor()
        assert reached > 0 and service.jobs[jobid].interruptions == 0
    other = worker(*arguments).ready()

    def items():
        return [*map(int, (directory / 'log').read_text().split())]

    deadline = time.monotonic() + DEADLINE
    while len(items()) <= reached:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    (directory / 'go').touch()
    producer.wait_for(jobid, 'completed')
    assert items() == [*range(len(items()))]
    with producer.service() as service:
        assert service.getResult(jobid) == len(items())
    assert other.stop() == 0


@pytest.mark.parametrize(('numbers', 'code'), [
    ((signal.SIGTERM, signal.SIGTERM), 143),
    ((signal.SIGINT, signal.SIGTERM), 143),
    ((signal.SIGINT, signal.SIGINT), 130)])
def test_a_second_signal_ends_it_at_once(zeo, producer, worker, directory,
                                         numbers, code):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--grace',
                     '600').ready()
    jobid = producer.add('hold')
    assert heard(directory / 'running')
    process.send(numbers[0])
    process.wait_for('worker stopping')
    assert process.stop(numbers[1]) == code
    assert process.rest().endswith('remotetask: worker stopped at once\n')
    # The job is not lost: another worker sees that its worker is gone.
    other = worker('--db', zeo.uri, '--tasks', 'thetasks').ready()
    assert heard(directory / 'running')
    (directory / 'go').touch()
    producer.wait_for(jobid, 'completed')
    assert other.stop() == 0


def test_it_goes_on_after_its_server_was_away(zeo, producer, worker,
                                              directory):
    process = worker('--db', zeo.uri.replace('=5', '=1'), '--tasks',
                     'thetasks').ready()
    jobid = producer.add('hold')
    assert heard(directory / 'running')
    # The next attempt finds a file there: nobody has to listen.
    (directory / 'running').unlink()
    zeo.stop()
    (directory / 'go').touch()
    there(directory / 'ended')      # it is about to commit
    zeo.start()
    producer.wait_for(jobid, 'completed')
    producer.wait_for(producer.add('note', 'after'), 'completed')
    assert process.stop() == 0
    errors = process.rest()
    assert errors.endswith('remotetask: worker stopped\n')
    assert 'Traceback' not in errors


def test_a_server_that_is_away_does_not_hold_up_the_end(zeo, producer,
                                                        worker):
    process = worker('--db', zeo.uri.replace('=5', '=300'), '--tasks',
                     'thetasks', '--grace', '1').ready()
    producer.wait_for(producer.add('note'), 'completed')
    zeo.stop()
    assert process.stop() == 1
    assert process.rest().endswith(
        'remotetask: worker stopped: the database does not answer; other '
        'workers will find its jobs\n')


def test_the_service_is_removed(zeo, producer, worker):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks').ready()
    producer.wait_for(producer.add('note'), 'completed')
    with producer.root() as root:
        del root['Application']['tasks']
    assert process.end() == 1
    assert re.search('remotetask: the worker of /tasks has ended by itself',
                     process.rest())


def test_a_zodb_configuration(zeo, producer, worker, directory):
    (directory / 'zodb.conf').write_text(f'''
<zodb main>
  <zeoclient>
    server {zeo.host}:{zeo.port}
  </zeoclient>
</zodb>
''')
    process = worker('--zodb-conf', 'zodb.conf', '--service', 'tasks',
                     '--tasks', 'thetasks').ready()
    assert 'service /tasks, 5 threads' in process.line
    producer.wait_for(producer.add('note'), 'completed')
    assert process.stop() == 0


def test_both_databases_of_a_configuration_are_closed(
        worker, directory, tasks):
    """A FileStorage writes its index when it is closed."""
    (directory / 'zodb.conf').write_text(f'''
<zodb main>
  <filestorage>
    path {directory}/Main.fs
  </filestorage>
</zodb>
<zodb jobs>
  <filestorage>
    path {directory}/Jobs.fs
  </filestorage>
</zodb>
''')
    databases = {}
    main, jobs = (
        ZODB.DB(f'{directory}/{name.title()}.fs', databases=databases,
                database_name=name) for name in ('main', 'jobs'))
    with main.transaction() as connection:
        service = connection.root()['tasks'] = TaskService()
        service.__parent__, service.__name__ = connection.root(), 'tasks'
        connection.get_connection('jobs').add(service)
        service.add('hold')
    for database in (main, jobs):
        database.close()
    process = worker('--zodb-conf', 'zodb.conf', '--tasks', 'thetasks').ready()
    assert heard(directory / 'running')
    (directory / 'go').touch()
    assert process.stop() == 0
    for name in ('Main.fs', 'Jobs.fs'):
        known = fsIndex.load(directory / f'{name}.index')['pos']
        assert known == (directory / name).stat().st_size


def test_a_file_that_nobody_else_has_open(worker, remotetask, directory,
                                          tasks):
    uri = f'file://{directory}/Own.fs'
    database = ZODB.DB(f'{directory}/Own.fs')
    producer = Producer(database)
    producer.make('Application', 'tasks')
    jobid = producer.add('hold')
    line = one_line(remotetask('worker', '--db', uri))
    assert f'in use by process {os.getpid()}; ' in line
    assert 'ZEO' in line
    database.close()
    process = worker('--db', uri, '--tasks', 'thetasks').ready()
    assert heard(directory / 'running')
    (directory / 'go').touch()
    assert process.stop() == 0
    run = remotetask('show', jobid, '--db', uri, '--json')
    assert json.loads(run.stdout)['output'] == 'done', run.stderr


def test_postgresql(worker, remotetask, directory):
    reason = 'needs PostgreSQL on 127.0.0.1:5432, user postgres'
    name = f'remotetask_worker_{os.getpid()}'
    try:
        import psycopg2
        server = psycopg2.connect(
            'host=127.0.0.1 user=postgres dbname=postgres connect_timeout=2')
    except Exception as error:
        missing(f'{reason}: {error}')
    server.autocommit = True
    with contextlib.closing(server), server.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE {name}')
        try:
            uri = f'postgresql://postgres@127.0.0.1/{name}'
            line = one_line(remotetask('worker', '--db', uri))
            assert 'holds no task service' in line
            from relstorage.adapters.postgresql import PostgreSQLAdapter
            from relstorage.storage import RelStorage
            database = ZODB.DB(RelStorage(PostgreSQLAdapter(
                f'host=127.0.0.1 user=postgres dbname={name}')))
            Producer(database).make('Application', 'tasks')
            database.close()
            process = worker('--db', uri, '--tasks', 'thetasks').ready()
            run = remotetask('add', 'note', '7', '--wait', '--db', uri,
                             '--tasks', 'thetasks', cwd=directory)
            assert (run.returncode, run.stdout) == (0, 'null\n'), run.stderr
            assert process.stop() == 0
        finally:
            cursor.execute(f'DROP DATABASE IF EXISTS {name} WITH (FORCE)')


# --- which service ----------------------------------------------------------

def test_the_only_service_is_found_anywhere(zeo, producer, worker):
    with producer.root() as root:
        del root['Application']['tasks']
    producer.make('Application', 'site', 'folder', 'own')
    process = worker('--db', zeo.uri).ready()
    assert 'service /site/folder/own, ' in process.line
    assert process.stop() == 0


@pytest.mark.parametrize('options', [
    [], ['-v'], ['--log-level', 'info'], ['--log-config', 'log.ini']])
def test_what_it_logs(zeo, producer, worker, directory, options):
    """Where the ends of its runs are to be seen: test_logs has the server."""
    (directory / 'log.ini').write_text(LOG_FILE)
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', *options).ready()
    producer.wait_for(producer.add('note'), 'completed')
    assert process.stop() == 0
    shown = ' INFO lovely.remotetask.runs: Job ' in process.rest()
    assert shown is (options[:1] in (['-v'], ['--log-level']))
    assert (directory / 'runs.log').exists() is ('log.ini' in options)


LOG_FILE = '''
[loggers]
keys=root
[handlers]
keys=file
[formatters]
keys=
[logger_root]
level=INFO
handlers=file
[handler_file]
class=FileHandler
args=('runs.log',)
'''


def test_several_services_are_listed(zeo, producer, remotetask, worker):
    producer.make('Application', 'site', 'mail')
    for run in (remotetask('worker', '--db', zeo.uri),
                remotetask('stats', '--db', zeo.uri)):
        line = one_line(run)
        assert 'several task services: /tasks, /site/mail' in line
        assert '--service' in line
    for name in ('site/mail', '/site/mail', '/site/mail/'):
        process = worker('--db', zeo.uri, '--service', name).ready()
        assert 'service /site/mail, ' in process.line
        assert process.stop() == 0


@pytest.mark.parametrize('name', ['/nonsense', 'tasks/jobs', '/', '', 'bä r'])
def test_a_service_that_is_not_there(zeo, producer, remotetask, name):
    line = one_line(remotetask('worker', '--db', zeo.uri, '--service', name))
    assert 'there is no task service at /' in line
    assert 'there are: /tasks' in line


def test_a_database_without_a_service(zeo, remotetask):
    line = one_line(remotetask('worker', '--db', zeo.uri))
    assert 'holds no task service' in line
    assert 'remotetask serve makes it' in line
    line = one_line(remotetask('worker', '--db', zeo.uri, '--service', 'x'))
    assert 'no task service at /x' in line


# --- it does not start ------------------------------------------------------

def test_wrong_usage(remotetask):
    for arguments in ([], ['--db', 'memory://', '--zodb-conf', 'x'],
                      ['--db', 'memory://', '--threads', '0'],
                      ['--db', 'memory://', '--threads', 'x'],
                      ['--db', 'memory://', '--threads', '257'],
                      ['--db', 'memory://', '--grace', '-1'],
                      ['--db'], ['--nonsense']):
        run = remotetask('worker', *arguments)
        assert run.returncode == 2, arguments
        assert 'Traceback' not in run.stderr


@pytest.mark.parametrize(('uri', 'reason'), [
    ('nonsense://x', 'there is no storage for this kind of URI'),
    ('', 'there is no storage for this kind of URI'),
    ('file:relative.fs', 'cannot be read'),
    ('file:///no/such/directory/Data.fs', 'there is no file'),
    ('zconfig:///no/such/file', 'cannot'),
    ('zeo://127.0.0.1:1?wait_timeout=1', 'start the database server'),
    ('zeo://127.0.0.1:x', 'cannot be read'),
    ('postgresql://me@127.0.0.1:1/db', 'start the database server'),
    ('memory://', 'holds no task service'),
])
def test_database_uri_that_does_not_work(remotetask, tmp_path, uri, reason):
    line = one_line(remotetask('worker', '--db', uri))
    assert reason in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(('text', 'reason'), [
    (None, 'No such file'),
    (b'\xff', 'no text'),
    (b'', 'zodb'),
    (b'<zodb', 'ConfigurationSyntaxError'),
    (b'<zodb>\n</zodb>\n', 'cannot open the database of zodb.conf'),
    (b'<zodb>\n<filestorage>\npath /no/such/x\n</filestorage>\n</zodb>\n',
     '/no/such/x does not exist'),
])
def test_zodb_configuration_that_does_not_work(remotetask, tmp_path, text,
                                               reason):
    if text is not None:
        (tmp_path / 'zodb.conf').write_bytes(text)
    line = one_line(remotetask('worker', '--zodb-conf', 'zodb.conf'))
    assert reason in line
    assert 'zodb.conf' in line


def test_tasks_that_do_not_work(remotetask, zeo, producer):
    line = one_line(remotetask('worker', '--db', zeo.uri, '--tasks', 'no.x'))
    assert "there is no module 'no'" in line
    line = one_line(remotetask('worker', '--db', zeo.uri, '--zcml', 'no.x'))
    assert 'No such file' in line


def test_no_password_in_messages(remotetask):
    for uri in ('nonsense://me:secret@localhost/db',
                'postgresql://me:secret@127.0.0.1:1/db',
                'zeo://127.0.0.1:1?wait_timeout=1&username=me'
                '&password=secret'):
        run = remotetask('worker', '--db', uri)
        assert run.returncode == 1
        # A warning, and the error.
        assert len(run.stderr.splitlines()) == 2, run.stderr
        assert 'secret' not in run.stderr


def test_a_signal_before_it_is_ready(worker, directory):
    (directory / 'starting.py').write_text(
        'from pathlib import Path\nPath("running").write_text("yes")\n')
    process = worker('--db', 'zeo://127.0.0.1:1?wait_timeout=600', '--tasks',
                     'starting')
    # It is importing its tasks, or waiting for the server already.
    assert heard(directory / 'running')
    assert process.stop() == 0
    assert process.rest().endswith('remotetask: worker stopped\n')


def test_debug_shows_the_traceback(remotetask):
    run = remotetask('worker', '--db', 'nonsense://x', '--debug')
    assert run.returncode == 1
    assert 'Traceback' in run.stderr
    assert 'there is no storage' in run.stderr


# --- the documentation ------------------------------------------------------

HOWTO = Path(__file__).parents[2] / 'docs' / 'howto'

_BLOCK = re.compile(
    r'^\.\. code-block:: (?P<kind>\w+)\n(?:   :caption: (?P<file>\S+)\n)?\n'
    r'(?P<text>(?:   .*\n|\n)+)', re.M)

# The reader's shell.
PRELUDE = '''
remotetask() { "$PYTHON" -m lovely.remotetask.cli "$@"; }
python() { "$PYTHON" "$@"; }
'''


@pytest.mark.skipif(shutil.which('bash') is None,
                    reason='the page is typed into bash')
@pytest.mark.parametrize(
    'page', ['run-workers', 'run-one-worker-for-many-sites'])
def test_the_page_about_workers(zeo, worker, environ, directory, page,
                                monkeypatch):
    """A page of docs/howto, typed into a shell from top to bottom."""
    monkeypatch.setitem(environ, 'LOVELY_REMOTETASK_SERVICES_SECONDS', '0.2')
    environ = environ | {'PYTHON': sys.executable}
    checker = doctest.OutputChecker()
    said = PRELUDE
    process = None
    text = (HOWTO / f'{page}.rst').read_text().replace(
        '127.0.0.1:9991', f'127.0.0.1:{zeo.port}').replace(
        "('127.0.0.1', 9991)", f"('127.0.0.1', {zeo.port})")
    for block in _BLOCK.finditer(text):
        code = textwrap.dedent(block['text']).strip() + '\n'
        if block['kind'] == 'python':
            (directory / block['file']).write_text(code)
        if block['kind'] != 'console':
            continue
        for part in re.split(r'^\$ ', code, flags=re.M)[1:]:
            command, _, expected = part.partition('\n')
            if command.startswith('runzeo'):
                continue        # the server of this test
            if command.startswith('remotetask worker '):
                process = worker(*shlex.split(command)[2:])
                said_there = process.ready().line
            else:
                # One shell per command; variables are carried along.
                assigned = re.match(r'(\w+)=\$\(', command)
                tail = f'\necho "${assigned[1]}"' if assigned else ''
                run = subprocess.run(
                    ['bash', '-c', said + command + tail],
                    capture_output=True, text=True, env=environ,
                    cwd=directory, timeout=DEADLINE)
                assert (run.returncode, run.stderr) == (0, ''), command
                said_there = run.stdout
                if assigned:
                    said += f'{assigned[1]}={said_there.strip()}\n'
                    said_there = ''
            assert checker.check_output(
                expected, said_there, doctest.ELLIPSIS
                | doctest.NORMALIZE_WHITESPACE), (command, said_there)
    assert process is not None and process.stop() == 0
