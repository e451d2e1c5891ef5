"""Which database a command works on, and how it waits for it."""

import json
import os
import re
import socket

import pytest
import transaction
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.service import make_service


def one_line(run, code=1):
    """The single line on stderr of a command that failed."""
    assert run.returncode == code, (run.stdout, run.stderr)
    assert run.stdout == ''
    assert run.stderr.startswith('remotetask: '), run.stderr
    assert run.stderr.count('\n') == 1, run.stderr
    return run.stderr


@pytest.fixture
def data(tmp_path):
    """``data(*names)``: a file with a service under each name."""
    def data(*names):
        database = DB(FileStorage(str(tmp_path / 'Data.fs')))
        connection = database.open()
        application = connection.root()['Application'] = PersistentMapping()
        for name in names:
            make_service(application, name)
        transaction.commit()
        connection.close()
        database.close()
        return f'file://{tmp_path}/Data.fs'

    return data


@pytest.fixture
def configuration(tmp_path, data):
    data('tasks')
    (tmp_path / 'zodb.conf').write_text(
        f'<zodb>\n<blobstorage>\nblob-dir {tmp_path}/blobs\n<filestorage>\n'
        f'path {tmp_path}/Data.fs\n</filestorage>\n</blobstorage>\n</zodb>\n')
    return 'zodb.conf'


def test_all_verbs_take_the_database_as_the_worker_does(remotetask):
    for verb in ('add', 'list', 'show', 'cancel', 'tasks', 'retry', 'clean',
                 'check', 'stats', 'workers', 'pause', 'resume', 'worker'):
        told = remotetask(verb, '--help').stdout
        for option in ('--db', '--zodb-conf', '--paste', '--zope-conf',
                       '--service'):
            assert f' {option} ' in told, (verb, option)


def test_a_zodb_configuration(remotetask, configuration):
    where = ['--zodb-conf', configuration]
    run = remotetask('add', 'echo', '1', *where)
    assert run.returncode == 0, run.stderr
    [job] = json.loads(remotetask('list', '--json', *where).stdout)['jobs']
    assert job['id'] == int(run.stdout)
    assert remotetask('cancel', job['id'], *where).returncode == 0


def test_the_environment_names_the_database(remotetask, data, serve):
    uri = data('tasks')
    run = remotetask('add', 'echo', REMOTETASK_DB=uri)
    assert run.returncode == 0, run.stderr
    [job] = json.loads(remotetask(
        'list', '--json', '--service', 'tasks', REMOTETASK_DB=uri
        ).stdout)['jobs']
    assert job['id'] == int(run.stdout)
    # An option comes before the environment, in each direction.
    for option in (['--url', 'http://127.0.0.1:1'],
                   ['--zodb-conf', 'missing.conf'], ['--db', 'file://no']):
        run = remotetask('list', *option, REMOTETASK_DB=uri)
        assert option[1] in one_line(run)
    run = remotetask('stats', '--db', uri, REMOTETASK_DB='nonsense://',
                     REMOTETASK_URL='http://127.0.0.1:1')
    assert run.returncode == 0
    # Two names in the environment, and nothing that says which one is meant.
    run = remotetask('stats', REMOTETASK_DB=uri,
                     REMOTETASK_URL='http://127.0.0.1:1')
    assert run.returncode == 2 and 'REMOTETASK_URL' in run.stderr
    server = serve('--port', '0', REMOTETASK_DB=uri)
    line = server.lines.get(timeout=60)
    assert 'serving' in line and '(data in' not in line
    assert server.stop() == 0
    server = serve('--port', '0', '--data', 'own', REMOTETASK_DB=uri)
    assert '(data in' in server.lines.get(timeout=60)


def test_options_that_exclude_each_other(remotetask):
    for verb in ('list', 'worker'):
        run = remotetask(verb, '--db', 'memory://', '--paste', 'x.ini')
        assert run.returncode == 2
        assert '--db and --paste exclude each other' in run.stderr
        run = remotetask(verb, '--zope-conf', 'a', '--zodb-conf', 'b')
        assert run.returncode == 2 and 'exclude' in run.stderr
    run = remotetask('add', 'x', '--paste', 'x.ini', '--tasks', 'y')
    assert run.returncode == 2
    assert 'tasks come from the application' in run.stderr


def test_several_services_are_listed(remotetask, data):
    uri = data('one', 'two')
    line = one_line(remotetask('list', '--db', uri))
    assert '/one, /two' in line and '--service' in line
    assert remotetask('list', '--db', uri, '--service', 'two').returncode == 0


# --- passwords ---------------------------------------------------------------

def test_a_uri_from_a_file(remotetask, data, tmp_path):
    uri = data('tasks')
    (tmp_path / 'uri').write_text(f'# of the shop\n\n{uri}\n')
    for run in (remotetask('stats', '--db', '@uri'),
                remotetask('stats', REMOTETASK_DB='@uri')):
        assert (run.returncode, run.stderr) == (0, '')
    assert 'cannot read nothing' in one_line(
        remotetask('stats', '--db', '@nothing'))
    (tmp_path / 'empty').write_text('# a:b@c\n')
    assert 'empty has 0 lines' in one_line(
        remotetask('stats', '--db', '@empty'))
    (tmp_path / 'bytes').write_bytes(b'\xff\xfe')
    assert 'is no text' in one_line(remotetask('stats', '--db', '@bytes'))


@pytest.mark.parametrize('verb', ['list', 'worker', 'serve'])
def test_a_password_that_other_users_see_is_warned_of(
        remotetask, tmp_path, verb):
    # Nothing listens there: it works, up to that.
    uri = 'postgres://me:secret@127.0.0.1:1/x'
    run = remotetask(verb, '--db', uri)
    warning, error = run.stderr.splitlines()
    assert warning.startswith('remotetask: warning: all users of this machine')
    assert '@FILE' in warning and 'REMOTETASK_DB' in warning
    assert '127.0.0.1:1' in error
    (tmp_path / 'uri').write_text(uri)
    for run in (remotetask(verb, '--db', '@uri'),
                remotetask(verb, REMOTETASK_DB=uri)):
        assert 'warning' not in run.stderr
        assert 'secret' not in run.stderr
        assert run.returncode == 1
    assert 'secret' not in warning + error


def test_credentials_from_a_file(remotetask, server, tmp_path):
    token = (server.data / 'token').read_text().strip()
    (tmp_path / 'user').write_text(f'any:{token}\n')
    run = remotetask('tasks', '--url', server.url, '--user', '@user')
    assert (run.returncode, run.stderr) == (0, '')
    run = remotetask('tasks', '--url', server.url, '--user', f'any:{token}')
    assert run.returncode == 0
    assert 'REMOTETASK_PASSWORD' in run.stderr and token not in run.stderr


# --- a database that does not answer, or is in use --------------------------

@pytest.fixture
def silent():
    """The port of a server that takes connections and never answers."""
    with socket.create_server(('127.0.0.1', 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize('kind', ['zeo', 'postgres', 'zodb-conf'])
def test_a_server_that_does_not_answer(remotetask, silent, tmp_path, kind):
    if kind == 'zodb-conf':
        (tmp_path / 'zodb.conf').write_text(
            f'<zodb>\n<zeoclient>\nserver 127.0.0.1:{silent}\n</zeoclient>\n'
            f'</zodb>\n')
        where = ['--zodb-conf', 'zodb.conf']
    else:
        path = '' if kind == 'zeo' else '/x'
        where = ['--db', f'{kind}://127.0.0.1:{silent}{path}']
    run = remotetask('list', *where)
    assert run.returncode == 1, run.stderr
    waiting, error = run.stderr.splitlines()
    assert waiting.startswith('remotetask: waiting for the database')
    assert 'has not answered for 5 s; start its server' in error


def test_a_uri_says_how_long_to_wait(remotetask, silent):
    run = remotetask('list', '--db',
                     f'zeo://127.0.0.1:{silent}?wait_timeout=1')
    assert 'start the database server' in one_line(run)


@pytest.fixture(params=['--db', '--zodb-conf'])
def in_use(request, configuration, tmp_path, remotetask):
    """A database that this process has open; a job is in it."""
    database = DB(FileStorage(str(tmp_path / 'Data.fs')))
    with database.transaction() as connection:
        service = connection.root()['Application']['tasks']
        service._task = lambda name: name
        jobid = service.add('echo')
        del service.__dict__['_task']
    where = ([request.param, configuration] if request.param == '--zodb-conf'
             else [request.param, f'file://{tmp_path}/Data.fs'])
    yield lambda *arguments: remotetask(*arguments, *where), jobid, database
    database.close()


def test_a_file_in_use_is_looked_at(in_use):
    ask, jobid, database = in_use
    run = ask('list', '--json')
    assert (run.returncode, run.stderr) == (0, '')
    assert [job['id'] for job in json.loads(run.stdout)['jobs']] == [jobid]
    assert json.loads(ask('stats', '--json').stdout)['queued'] == 1
    assert re.search(f'^id: +{jobid}$', ask('show', jobid).stdout, re.M)
    for verb in ('workers', 'tasks'):
        assert ask(verb).returncode == 0
    # And each look sees what is committed meanwhile.
    with database.transaction() as connection:
        connection.root()['Application']['tasks'].cancel(jobid)
    assert json.loads(ask('stats', '--json').stdout)['cancelled'] == 1


def test_a_file_in_use_is_not_written(in_use):
    ask, jobid, _ = in_use
    for verb in (['add', 'echo'], ['cancel', jobid], ['retry', jobid],
                 ['pause'], ['resume']):
        line = one_line(ask(*verb))
        assert f'in use by process {os.getpid()}; ' in line
        assert 'list, show, stats, tasks and workers can look' in line


def test_a_look_makes_nothing(remotetask, tmp_path):
    (tmp_path / 'Data.fs').touch()
    run = remotetask('list', '--db', f'file://{tmp_path}/Data.fs')
    assert 'holds no task service' in one_line(run)
    assert (tmp_path / 'Data.fs').read_bytes() == b''
