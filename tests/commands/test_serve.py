"""`remotetask serve`: how it starts, refuses to start, and ends."""

import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys

import pytest


def one_line(run, code=1):
    """The single line on stderr of a command that failed."""
    assert run.returncode == code, (run.stdout, run.stderr)
    assert run.stderr.startswith('remotetask: '), run.stderr
    assert run.stderr.count('\n') == 1, run.stderr
    assert 'Traceback' not in run.stderr
    return run.stderr


# --- the normal course ------------------------------------------------------

@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT],
                         ids=['SIGTERM', 'Ctrl-C'])
def test_orderly_end(serve, tmp_path, environ, number):
    server = serve('--data', 'data', '--port', '0').ready()
    data = tmp_path / 'data'
    runtime = f'{environ["XDG_RUNTIME_DIR"]}/remotetask/{server.port}.token'
    for path, mode in ((data, 0o700), (data / 'token', 0o600),
                       (runtime, 0o600)):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert server.stop(number) == 0
    assert server.stderr() == 'remotetask: stopped\n'
    assert not (data / 'token').exists()
    assert not os.path.exists(runtime)
    assert (data / 'Data.fs').exists()


def test_jobs_outlive_the_server(serve, remotetask):
    server = serve('--port', '0').ready()
    jobid = remotetask('add', 'echo', '[1]', '--delay', 3600, '--url',
                       server.url).stdout.strip()
    done = remotetask('add', 'echo', '[2]', '--wait', '--url', server.url)
    assert done.stdout == '[2]\n'
    assert server.stop() == 0
    server = serve('--port', '0').ready()
    run = remotetask('show', jobid, '--json', '--url', server.url)
    job = json.loads(run.stdout)
    assert (job['status'], job['input']) == ('delayed', [1])
    assert server.stop() == 0


def test_each_start_has_a_new_token(serve, tmp_path):
    seen = set()
    for _ in range(2):
        server = serve('--port', '0').ready()
        seen.add((tmp_path / 'remotetask-data' / 'token').read_text())
        server.stop()
    assert len(seen) == 2


def test_threads_run_jobs_at_the_same_time(serve, remotetask, tmp_path):
    (tmp_path / 'meet.py').write_text('''
import threading
from lovely.remotetask.task import task

barrier = threading.Barrier(3)

@task
def meet(input):
    # Three jobs have to be here at once.
    barrier.wait(60)
    return 'met'
''')
    server = serve('--port', '0', '--tasks', 'meet', '--threads', '3').ready()
    for _ in range(2):
        remotetask('add', 'meet', '--url', server.url)
    run = remotetask('add', 'meet', '--wait', '--url', server.url)
    assert run.stdout == '"met"\n', run.stderr
    assert server.stop() == 0


def test_a_job_that_outlives_its_grace_does_not_hold_up_the_end(
        serve, remotetask, tmp_path):
    (tmp_path / 'stuck.py').write_text('''
import threading
from pathlib import Path
from lovely.remotetask.task import task

@task
def stuck(input):
    Path('running').write_text('yes')   # somebody waits at this pipe
    threading.Event().wait()
''')
    os.mkfifo(tmp_path / 'running')
    server = serve('--port', '0', '--tasks', 'stuck', '--grace', '0.1')
    server.ready()
    jobid = remotetask('add', 'stuck', '--url', server.url).stdout.strip()
    assert (tmp_path / 'running').read_text() == 'yes'
    assert server.stop() == 0
    errors = server.stderr()
    assert 'a running job was given back' in errors
    assert 'Traceback' not in errors
    assert errors.endswith('remotetask: stopped\n')
    # The job was given back: the next one runs it again.
    server = serve('--port', '0', '--tasks', 'stuck', '--grace', '0.1')
    server.ready()
    assert (tmp_path / 'running').read_text() == 'yes'
    run = remotetask('show', jobid, '--url', server.url, '--json')
    assert run.returncode == 0
    assert json.loads(run.stdout)['attempts'] == 2
    assert server.stop() == 0
    assert 'Traceback' not in server.stderr()


def test_tasks_by_zcml(serve, remotetask, tmp_path):
    (tmp_path / 'own.py').write_text('''
def triple(input):
    return input * 3
''')
    (tmp_path / 'tasks.zcml').write_text('''
<configure xmlns="http://namespaces.zope.org/zope"
           xmlns:remotetask="http://namespaces.zope.org/remotetask">
  <remotetask:task name="triple" handler="own.triple" />
</configure>
''')
    server = serve('--port', '0', '--zcml', 'tasks.zcml').ready()
    run = remotetask('add', 'triple', '2', '--wait', '--url', server.url)
    assert run.stdout == '6\n', run.stderr


def test_a_database_by_uri(serve, remotetask, tmp_path):
    uri = f'file://{tmp_path}/Own.fs'
    server = serve('--port', '0', '--db', uri).ready()
    run = remotetask('add', 'echo', '1', '--wait', '--url', server.url)
    assert run.stdout == '1\n', run.stderr
    assert server.stop() == 0
    assert (tmp_path / 'Own.fs').exists()


def test_a_module_without_tasks_is_told(serve, tmp_path):
    (tmp_path / 'empty.py').write_text('')
    server = serve('--port', '0', '--tasks', 'empty').ready()
    server.stop()
    assert re.search('warning: empty holds no tasks', server.stderr())


@pytest.mark.parametrize('again', [False, True])
def test_a_module_may_register_its_tasks_by_hand(
        serve, remotetask, tmp_path, again):
    (tmp_path / 'by_hand.py').write_text('''
import sys
from zope.component import provideUtility
from lovely.remotetask.commands import CommandTask
from lovely.remotetask.interfaces import ITask

said = CommandTask([sys.executable, '-c', 'print("by hand")'], remote=True)
provideUtility(said, ITask, name='said')
''')
    (tmp_path / 'more.py').write_text('''
import by_hand
from lovely.remotetask.task import task
@task
def more(input):
    return input
''')
    modules = ['more', 'by_hand'] if again else ['by_hand']
    server = serve('--port', '0', *(
        part for name in modules for part in ('--tasks', name))).ready()
    run = remotetask('add', 'said', '--wait', '--url', server.url)
    assert 'by hand' in run.stdout, run.stderr
    server.stop()
    assert 'warning' not in server.stderr()


def test_open_to_other_machines_is_told(serve, remotetask):
    server = serve('--port', '0', '--host', '0.0.0.0').ready()
    # What it says is where it can be reached.
    assert remotetask('tasks', '--url', server.url).returncode == 0
    server.stop()
    assert re.search('warning: 0.0.0.0 .* TLS', server.stderr())


@pytest.mark.parametrize('host', ['localhost', '::1', '::', '127.0.0.2'])
def test_its_own_client_finds_it_wherever_it_listens(serve, remotetask, host):
    if ':' in host and not socket.has_dualstack_ipv6():
        pytest.skip('this machine has no IPv6')
    server = serve('--port', '0', '--host', host).ready()
    run = remotetask('add', 'echo', '1', '--wait', '--url', server.url)
    assert run.stdout == '1\n', run.stderr
    assert server.stop() == 0


# --- it does not start ------------------------------------------------------

def test_a_host_that_is_allowed_and_no_other(serve):
    server = serve('--port', '0', '--allow-host', 'tasks.example.org').ready()

    def status(host):
        connection = http.client.HTTPConnection(
            '127.0.0.1', server.port, timeout=60)
        connection.putrequest('GET', '/api/v1/stats', skip_host=True)
        connection.putheader('Host', host)
        connection.endheaders()
        response = connection.getresponse()
        found = response.status, response.read().decode()
        connection.close()
        return found

    # The token is asked for behind the check of the host.
    assert status('tasks.example.org')[0] == 401
    assert status(f'tasks.example.org:{server.port}')[0] == 401
    refused, why = status('other.example.org')
    assert refused == 403 and '--allow-host' in why
    assert server.stop() == 0


def test_port_in_use(remotetask, tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = one_line(remotetask('serve', '--port', port))
    assert f'port {port}' in line
    assert '--port' in line
    # And leaves neither token nor lock behind.
    assert not (tmp_path / 'remotetask-data' / 'token').exists()


def test_locked_data_directory(serve, remotetask, tmp_path):
    server = serve('--port', '0').ready()
    line = one_line(remotetask('serve', '--port', '0'))
    assert str(tmp_path / 'remotetask-data') in line
    assert 'in use' in line
    assert '--data' in line
    # The first one has lost nothing.
    assert remotetask('tasks', '--url', server.url).returncode == 0


def test_data_directory_below_a_file(remotetask, tmp_path):
    (tmp_path / 'file').write_text('')
    for data in ('file', 'file/data'):
        line = one_line(remotetask('serve', '--port', '0', '--data', data))
        assert str(tmp_path / data) in line
        assert '--data' in line


@pytest.mark.skipif(os.geteuid() == 0,
                    reason='root may write everywhere: permissions cannot '
                           'be tested')
def test_unwritable_data_directory(remotetask, tmp_path):
    (tmp_path / 'data').mkdir(mode=0o500)
    line = one_line(remotetask('serve', '--port', '0', '--data', 'data'))
    assert 'Permission denied' in line
    assert '--data' in line


@pytest.mark.parametrize('mode', [0o755, 0o710, 0o770, 0o777, 0o701])
def test_data_directory_open_to_others(remotetask, tmp_path, mode):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data').chmod(mode)
    line = one_line(remotetask('serve', '--port', '0', '--data', 'data'))
    assert str(tmp_path / 'data') in line
    assert 'is open to other users' in line and 'chmod 700' in line
    assert list((tmp_path / 'data').iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give away')
def test_data_directory_of_another_user(remotetask, tmp_path):
    (tmp_path / 'data').mkdir(mode=0o700)
    os.chown(tmp_path / 'data', 12345, 12345)
    # Behind a link of our own, too.
    (tmp_path / 'link').symlink_to('data')
    for name in ('data', 'link'):
        line = one_line(remotetask('serve', '--port', '0', '--data', name))
        assert 'belongs to the user 12345' in line and '--data' in line
    assert list((tmp_path / 'data').iterdir()) == []


def test_data_directory_behind_a_link(serve, tmp_path):
    (tmp_path / 'disk').mkdir(mode=0o700)
    (tmp_path / 'data').symlink_to('disk')
    server = serve('--port', '0', '--data', 'data').ready()
    assert (tmp_path / 'disk' / 'token').exists()
    assert server.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give away')
def test_a_directory_of_another_user_keeps_nobody_from_starting(
        serve, remotetask, tmp_path):
    usual = tmp_path / f'remotetask-{os.geteuid()}'
    usual.mkdir(mode=0o700)
    os.chown(usual, 12345, 12345)
    places = {'TMPDIR': str(tmp_path), 'XDG_RUNTIME_DIR': ''}
    server = serve('--port', '0', **places).ready()
    run = remotetask('add', 'echo', '1', '--wait', '--url', server.url,
                     **places)
    assert run.stdout == '1\n', run.stderr
    assert server.stop() == 0
    assert list(usual.iterdir()) == []


def test_damaged_data(remotetask, tmp_path):
    (tmp_path / 'data').mkdir(mode=0o700)
    (tmp_path / 'data' / 'Data.fs').write_bytes(b'nonsense' * 100)
    line = one_line(remotetask('serve', '--port', '0', '--data', 'data'))
    assert 'Data.fs is damaged or no database' in line


@pytest.mark.parametrize(('uri', 'reason'), [
    ('nonsense://x', 'there is no storage for this kind of URI'),
    ('nonsense', 'there is no storage for this kind of URI'),
    ('file:relative.fs', 'cannot be read'),
    ('file:///no/such/directory/Data.fs', 'cannot open the database'),
    ('zconfig:///no/such/file', 'cannot'),
    ('zeo://127.0.0.1:1?wait_timeout=1', 'cannot open the database'),
])
def test_database_uri_that_does_not_work(remotetask, uri, reason):
    line = one_line(remotetask('serve', '--port', '0', '--db', uri))
    assert reason in line
    assert uri in line


def test_locked_database_by_uri(serve, remotetask, tmp_path):
    uri = f'file://{tmp_path}/Own.fs'
    serve('--port', '0', '--db', uri).ready()
    line = one_line(remotetask('serve', '--port', '0', '--db', uri))
    assert 'in use' in line


@pytest.mark.parametrize('uri', [
    'nonsense://me:secret@localhost/db',
    'nonsense://localhost/db?password=secret',
    'postgresql://me:secret@127.0.0.1:1/db',
    'zeo://127.0.0.1:1?wait_timeout=1&username=me&password=secret'])
def test_no_password_in_messages(remotetask, uri):
    run = remotetask('serve', '--port', '0', '--db', uri)
    assert run.returncode == 1
    # A warning of the password in the command line, and the error.
    assert len(run.stderr.splitlines()) == 2, run.stderr
    assert 'secret' not in run.stderr


@pytest.mark.parametrize(('source', 'reason'), [
    (None, "there is no module 'broken'"),
    ('import no_such_thing_at_all', "ModuleNotFoundError: No module named "
     "'no_such_thing_at_all'"),
    ('1 / 0', 'ZeroDivisionError.*broken.py, line 1'),
    ('def', 'SyntaxError.*broken.py, line 1'),
    ('import sys; sys.exit()', 'SystemExit'),
    ('raise ValueError("two\\nlines")', 'two lines'),
    ('from lovely.remotetask.task import task\n'
     '@task\ndef f(*all): pass', 'broken.py'),
])
def test_unimportable_tasks(remotetask, tmp_path, source, reason):
    if source is not None:
        (tmp_path / 'broken.py').write_text(source)
    line = one_line(remotetask('serve', '--port', '0', '--tasks', 'broken'))
    assert '--tasks broken' in line
    assert re.search(reason, line)
    # It fails before it makes anything.
    assert not (tmp_path / 'remotetask-data').exists()


@pytest.mark.parametrize(('source', 'reason'), [
    (None, 'No such file'),
    ('<configure', 'no element found|unclosed'),
    ('<configure xmlns="http://namespaces.zope.org/zope"><nonsense/>'
     '</configure>', 'nonsense'),
    ('<configure xmlns="http://namespaces.zope.org/zope"><include '
     'package="no.such.package"/></configure>', 'no'),
])
def test_zcml_that_does_not_work(remotetask, tmp_path, source, reason):
    if source is not None:
        (tmp_path / 'own.zcml').write_text(source)
    line = one_line(remotetask('serve', '--port', '0', '--zcml',
                               'own.zcml'))
    assert '--zcml own.zcml' in line
    assert re.search(reason, line)


def test_host_that_is_none(remotetask):
    line = one_line(remotetask('serve', '--port', '0', '--host',
                               'no.such.host.invalid'))
    assert '--host' in line
    line = one_line(remotetask('serve', '--port', '0', '--host',
                               '192.0.2.1'))
    assert '--host' in line


def test_token_directory_open_to_others(remotetask, tmp_path):
    run = tmp_path / 'run'
    run.mkdir(mode=0o700)
    (run / 'remotetask').mkdir()
    (run / 'remotetask').chmod(0o777)
    line = one_line(remotetask('serve', '--port', '0',
                               XDG_RUNTIME_DIR=str(run)))
    assert 'open to other users' in line
    assert 'chmod 700' in line


def test_debug_shows_the_traceback(remotetask, tmp_path):
    run = remotetask('serve', '--port', '0', '--tasks', 'broken', '--debug')
    assert run.returncode == 1
    assert 'Traceback' in run.stderr
    assert "there is no module 'broken'" in run.stderr


def test_without_the_extra_a_line_says_so(environ, tmp_path):
    for missing, extra in (('click', 'server'), ('waitress', 'server'),
                           ('zope.configuration', 'zcml')):
        arguments = ['serve', '--port', '0']
        if missing == 'zope.configuration':
            arguments += ['--zcml', 'x.zcml']
        program = (f'import sys; sys.modules[{missing!r}] = None; '
                   f'from lovely.remotetask.cli import main; '
                   f'sys.exit(main({arguments!r}))')
        run = subprocess.run([sys.executable, '-c', program], env=environ,
                             cwd=tmp_path, capture_output=True, text=True)
        line = one_line(run)
        assert missing in line
        assert f"pip install 'lovely.remotetask[{extra}]'" in line


def test_a_setting_that_is_wrong_is_said_in_one_line(remotetask):
    done = remotetask('serve', LOVELY_REMOTETASK_POISON='never')
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert line.startswith("remotetask: LOVELY_REMOTETASK_POISON is 'never'")
