"""Pyramid applications served for real, and workers beside them."""

import json
import os
import re
import signal
import subprocess
import textwrap
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from xmlrpc.client import Fault
from xmlrpc.client import ProtocolError
from xmlrpc.client import ServerProxy

import host_forks
import pytest
from waiting import answers
from waiting import free_port
from waiting import wait_until
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

pytestmark = pytest.mark.environment('pyramid')

DOCS = Path(__file__).parents[2] / 'docs'
REFERENCE = DOCS / 'reference' / 'pyramid.rst'
HOWTO = DOCS / 'howto' / 'run-workers-in-pyramid.rst'
SCRIPTS = DOCS / 'howto' / 'run-scripts-in-pyramid.rst'
TUTORIAL = DOCS / 'tutorial' / 'first-pyramid-app.rst'
SECONDS = 40

#: An application as acceptance 1 of hosts.md wants it, and what tests need.
APPLICATION = '''
import time

from persistent.mapping import PersistentMapping
from pyramid.config import Configurator
from pyramid.response import Response
from pyramid.threadlocal import get_current_request
from pyramid_zodbconn import get_connection


class Policy:
    def identity(self, request):
        return request.environ.get(
            'remotetask.user', request.headers.get('X-User'))

    authenticated_userid = identity

    def permits(self, request, context, permission):
        return self.identity(request) == 'mia'


def once(service, jobid, input):
    request = get_current_request()
    ran = get_connection(request).root()['ran']
    ran[jobid] = ran.get(jobid, 0) + 1
    return [request.route_url('add'), request.authenticated_userid]


def wait(input):
    time.sleep(input)


def add(request):
    job = request.remotetask.add('once', None)
    if 'fail' in request.GET:
        raise KeyError('fail')
    return {'job': job}


def hold(request):
    return {'job': request.remotetask.add('wait', 60)}


def look(request):
    service = request.remotetask
    return {'status': [job.status for job in service.jobs.values()],
            'ran': list(get_connection(request).root()['ran'].values()),
            'output': [job.output for job in service.jobs.values()]}


def root(request):
    root = get_connection(request).root()
    if 'ran' not in root:
        root['ran'] = PersistentMapping()
    return root


def main(global_config, **settings):
    with Configurator(settings=settings, security_policy=Policy(),
                      root_factory=root) as config:
        config.include('pyramid_retry')
        config.include('pyramid_zodbconn')
        config.include('lovely.remotetask.pyramid')
        config.add_task_service()
        config.add_remote_task('once', once)
        config.add_remote_task('wait', wait)
        config.add_remotetask_xmlrpc('/rpc', permission='rpc')
        for view in (add, hold, look):
            config.add_route(view.__name__, '/' + view.__name__)
            config.add_view(view, route_name=view.__name__, renderer='json')
        return config.make_wsgi_app()
'''

INI = '''
[app:main]
use = call:shop:main
zodbconn.uri = {uri}
retry.attempts = 3
remotetask.base_url = https://www.example.com/shop
{more}

[server:main]
use = egg:waitress#main
listen = 127.0.0.1:{port}
threads = 8
'''


class Folder:
    """A folder with files, where commands of the environment are run."""

    def __init__(self, environment, path):
        self.environment = environment
        self.path = path
        self.environ = {
            **os.environ, 'PYTHONPATH': '.', 'PYTHONWARNINGS': 'ignore',
            'PATH': f'{environment.path / "bin"}{os.pathsep}'
                    f'{os.environ["PATH"]}'}

    def write(self, name, text):
        (self.path / name).write_text(text)

    def run(self, command, *arguments, **options):
        if command == 'remotetask':
            return self._forks().run(
                arguments, self.environ, self.path,
                program=self.environment.script(command))
        return subprocess.run(
            (command, *arguments), cwd=self.path, env=self.environ, text=True,
            capture_output=True, timeout=SECONDS, **options)

    def _forks(self):
        return host_forks.forks(self.environment, (
            'ZEO.ClientStorage', 'ZODB.FileStorage', 'click',
            'pyramid.config', 'pyramid.scripts.pserve', 'pyramid_retry',
            'pyramid_tm', 'pyramid_zodbconn', 'waitress', 'webob',
            'zodburi.resolvers'))

    @contextmanager
    def started(self, command, *arguments):
        with open(self.path / 'log', 'a') as log:
            process = self._forks().start(
                arguments, self.environ, self.path, stderr=log,
                program=self.environment.script(command))
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdout.close()

    @contextmanager
    def zeo(self, port):
        with self.started('runzeo', '-a', f'127.0.0.1:{port}', '-f',
                          'Data.fs') as process:
            wait_until(lambda: answers(port), processes=[process])
            yield process

    @contextmanager
    def pserve(self, port, ini='shop.ini'):
        with self.started('pserve', ini) as process:
            wait_until(lambda: answers(port), processes=[process])
            yield process

    @contextmanager
    def worker(self, ini='shop.ini', *options):
        with self.started('remotetask', 'worker', '--paste', ini,
                          *options) as process:
            line = process.stdout.readline()
            assert 'worker ready' in line, (self.path / 'log').read_text()
            yield process


@pytest.fixture
def folder(environment, tmp_path):
    made = Folder(environment, tmp_path)
    made.write('shop.py', APPLICATION)
    return made


def get(port, path, **headers):
    request = urllib.request.Request(
        f'http://127.0.0.1:{port}{path}', headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def look(port):
    return json.loads(get(port, '/look')[1])


@pytest.mark.parametrize('manager', ['default', 'explicit'])
def test_adds_of_many_clients_are_run_once_each(folder, manager):
    # hosts.md: acceptance 1, 2 and 4; issue 6: 60 enqueues, 8 clients.
    zeo, port = free_port(), free_port()
    folder.write('shop.ini', INI.format(
        uri=f'zeo://127.0.0.1:{zeo}', port=port,
        more='tm.manager_hook = pyramid_tm.explicit_manager'
        if manager == 'explicit' else ''))
    with (folder.zeo(zeo), folder.pserve(port) as server,
          folder.worker() as worker):
        assert get(port, '/add?fail')[0] == 500
        assert look(port)['status'] == []
        with ThreadPoolExecutor(8) as clients:
            codes = list(clients.map(
                lambda number: get(port, '/add', **{'X-User': 'mia'})[0],
                range(60)))
        assert codes == [200] * 60
        wait_until(lambda: look(port)['status'] == ['completed'] * 60,
                   processes=[server, worker])
        seen = look(port)
        assert seen['ran'] == [1] * 60
        assert all(output == ['https://www.example.com/shop/add', 'mia']
                   for output in seen['output'])


def test_postgresql_without_a_port(folder, postgresql):
    parts = dict(part.split('=') for part in postgresql.split())
    port = free_port()
    folder.write('shop.ini', INI.format(
        uri='postgresql://{user}@{host}/{dbname}'.format(**parts), port=port,
        more=''))
    with folder.pserve(port) as server, folder.worker() as worker:
        assert get(port, '/add', **{'X-User': 'mia'})[0] == 200
        wait_until(lambda: look(port)['status'] == ['completed'],
                   processes=[server, worker])


def test_xmlrpc(folder):
    # hosts.md: acceptance 3, traps 7 and 11.
    port = free_port()
    folder.write('shop.ini', INI.format(
        uri=f'file://{folder.path}/Data.fs', port=port,
        more='remotetask.autostart = true'))
    url = f'http://127.0.0.1:{port}/rpc'
    with folder.pserve(port) as server:
        with pytest.raises(ProtocolError) as refused:
            ServerProxy(url).add('once')
        assert refused.value.errcode == 403
        assert get(port, '/rpc', **{'X-User': 'mia'})[0] == 404
        proxy = ServerProxy(url, headers=[('X-User', 'mia')],
                            allow_none=True)
        with pytest.raises(Fault, match='Task does not exist'):
            proxy.add('nothing')
        with pytest.raises(Fault, match='4711'):
            proxy.getStatus(4711)
        assert look(port)['status'] == []
        jobid = proxy.add('once', {'foo': 'bär'})
        wait_until(lambda: proxy.getStatus(jobid) == 'completed',
               processes=[server])


def test_the_server_ends_in_order(folder):
    # SIGTERM is what ends servers, and pserve dies of it at once.
    zeo, port = free_port(), free_port()
    folder.write('shop.ini', INI.format(
        uri=f'zeo://127.0.0.1:{zeo}', port=port,
        more='remotetask.autostart = true'))
    folder.write('look.ini', INI.format(
        uri=f'zeo://127.0.0.1:{zeo}', port=port, more=''))
    with folder.zeo(zeo):
        with folder.pserve(port) as server:
            get(port, '/hold')
            wait_until(lambda: look(port)['status'] == ['processing'],
                       processes=[server])
            server.terminate()
            assert server.wait(SECONDS) == 0
        with folder.pserve(port, 'look.ini'):
            assert look(port)['status'] == ['queued']


def test_the_verbs_beside_the_server(folder):
    """They find database, service and tasks as the worker does."""
    zeo, port = free_port(), free_port()
    folder.write('shop.ini', INI.format(
        uri=f'zeo://127.0.0.1:{zeo}', port=port, more=''))

    def ask(*arguments):
        done = folder.run('remotetask', *map(str, arguments), '--paste',
                          'shop.ini')
        assert (done.returncode, done.stderr) == (0, ''), done
        return done.stdout

    with (folder.zeo(zeo), folder.pserve(port), folder.worker()):
        # A look by HTTP makes the root's mapping.
        assert look(port)['status'] == []
        assert [line.split()[0] for line in ask('tasks').splitlines()] == [
            'task', 'once', 'wait']
        # Of no user: it runs by the application's own account.
        assert json.loads(ask('add', 'once', '--wait')) == [
            'https://www.example.com/shop/add', None]
        jobid = int(ask('add', 'once', '--delay', 3600))
        assert ask('cancel', jobid) == f'job {jobid} is cancelled\n'
        assert sorted(look(port)['status']) == ['cancelled', 'completed']
        assert json.loads(ask('stats', '--json'))['workers'] == 1


@pytest.mark.parametrize('options', [
    ('--service', '*'), ('--service', '/tasks', '--service', '/mail')])
def test_one_worker_for_several_services(folder, options):
    zeo, port = free_port(), free_port()
    folder.write('shop.py', APPLICATION.replace(
        'config.add_task_service()',
        "config.add_task_service(); config.add_task_service('mail')"))
    folder.write('shop.ini', INI.format(
        uri=f'zeo://127.0.0.1:{zeo}', port=port, more=''))
    with (folder.zeo(zeo), folder.pserve(port),
          folder.worker('shop.ini', *options)):
        assert look(port)['status'] == []
        for path in ('/tasks', '/mail'):
            done = folder.run('remotetask', 'add', 'once', '--wait',
                              '--paste', 'shop.ini', '--service', path)
            assert (done.returncode, done.stderr) == (0, ''), done
            assert json.loads(done.stdout) == [
                'https://www.example.com/shop/add', None]


def test_a_file_that_the_server_has_open_is_looked_at(folder):
    port = free_port()
    folder.write('shop.ini', INI.format(
        uri=f'file://{folder.path}/Data.fs?blobstorage_dir='
            f'{folder.path}/blobs', port=port, more=''))

    def ask(*arguments):
        return folder.run('remotetask', *map(str, arguments), '--paste',
                          'shop.ini')

    with folder.pserve(port) as server:
        assert look(port)['status'] == []
        jobid = json.loads(get(port, '/add', **{'X-User': 'mia'})[1])['job']
        for verb, said in ((['list'], rf'{jobid} +queued +once'),
                           (['show', jobid], rf'id: +{jobid}\n'),
                           (['stats'], r'queued: +1\n'), (['tasks'], 'once'),
                           (['workers'], 'id')):
            done = ask(*verb)
            assert (done.returncode, done.stderr) == (0, ''), done
            assert re.search(said, done.stdout), done
        for verb in (['add', 'once'], ['cancel', jobid], ['pause'],
                     ['clean', '--all']):
            done = ask(*verb)
            assert done.returncode == 1
            assert re.search(
                rf'^remotetask: .* in use by process {server.pid}; stop that '
                rf'one, .*\n$', done.stderr), done
        # The server writes on.
        assert get(port, '/add', **{'X-User': 'mia'})[0] == 200
        assert look(port)['status'] == ['queued'] * 2


def test_a_look_at_an_application_that_never_ran(folder):
    """Its first start makes the service."""
    folder.write('shop.ini', INI.format(
        uri=f'file://{folder.path}/Data.fs', port=free_port(), more=''))
    held = DB(FileStorage(str(folder.path / 'Data.fs')))
    done = folder.run('remotetask', 'list', '--paste', 'shop.ini')
    held.close()
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == (
        'remotetask: --paste shop.ini: the application writes to its database '
        'when it starts, and another process has the file; stop that process, '
        'or share the file by ZEO\n')
    done = folder.run('remotetask', 'list', '--paste', 'shop.ini')
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('more, said', [
    ('shop.ini --service /nothing', r'no task service at /nothing; .*/tasks'),
    ('missing.ini', r'no file missing\.ini; correct the path'),
    ('nozodb.ini', r'no ZODB: .*zodbconn\.uri'),
    ('locked.ini', r'in use by process \d+; .*ZEO.*; list, show, stats'),
    ('broken.ini', r'cannot be made: .*nothing.*; .*pserve broken\.ini'),
    ('empty.ini', r'cannot be made: .*'),
    ('scheme.ini', r'cannot be made: .*'),
    ('noport.ini', r'be made: .*; write postgresql:// in zodbconn\.uri'),
    ('plain.ini', r"nothing of tasks; add config\.include"),
])
def test_a_worker_says_in_a_line_why_it_cannot_start(folder, more, said):
    port = free_port()
    uri = f'file://{folder.path}/Data.fs'
    folder.write('shop.ini', INI.format(uri=uri, port=port, more=''))
    folder.write('nozodb.ini', INI.format(uri='', port=port, more=''))
    folder.write('locked.ini', INI.format(uri=uri, port=port, more=''))
    folder.write('broken.ini', INI.replace('shop:', 'nothing:').format(
        uri=uri, port=port, more=''))
    folder.write('empty.ini', '')
    folder.write('scheme.ini', INI.format(
        uri='mysql://me:secret@db/x', port=port, more=''))
    folder.write('noport.ini', INI.format(
        uri='postgres://me:secret@127.0.0.1/x', port=port, more=''))
    folder.write('plain.ini', '[app:main]\nuse = call:plain:main\n')
    folder.write('plain.py', textwrap.dedent('''
        from pyramid.config import Configurator

        def main(global_config, **settings):
            return Configurator(settings=settings).make_wsgi_app()
        '''))

    def fails():
        return folder.run('remotetask', 'worker', '--paste', *more.split())

    if more == 'locked.ini':
        with folder.pserve(port):
            done = fails()
    else:
        done = fails()
    assert done.returncode == 1, done
    assert 'secret' not in done.stderr
    # RelStorage warns by itself, with an empty line behind.
    line, = [line for line in done.stderr.splitlines()
             if line and not line.startswith('WARNING:relstorage')]
    assert re.search(said, line), line
    assert done.stdout == ''


#: How much an add costs a request over its own commit, on a FileStorage: CPU,
#: and of the requests that what else the machine does disturbed least.
COST = '''
import sys, tempfile, time
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid_zodbconn import get_connection

def write(request):
    root = get_connection(request).root()
    root['count'] = root.get('count', 0) + 1
    if 'add' in request.GET:
        root['tasks'].add('echo', {'foo': 'bar'})
    return Response('')

config = Configurator(package='lovely.remotetask', settings={
    'zodbconn.uri': f'file://{tempfile.mkdtemp()}/Data.fs'})
config.include('pyramid_zodbconn')
config.include('lovely.remotetask.pyramid')
config.add_task_service()
config.add_remote_task('echo', len)
config.add_route('write', '/')
config.add_view(write, route_name='write')
app = config.make_wsgi_app()

def once(path):
    request = Request.blank(path)
    began = time.thread_time()
    assert request.get_response(app).status_code == 200
    return time.thread_time() - began

plain, adding = [], []
for _ in range(50):
    once('/'), once('/?add')
for _ in range(1000):
    plain.append(once('/'))
    adding.append(once('/?add'))
print(1000 * (min(adding) - min(plain)), 1000 * min(plain))
'''


def test_an_add_costs_a_request_no_millisecond(folder):
    # issue 6; 0.15 ms where nobody else is busy.
    folder.write('cost.py', COST)
    done = folder.run('python', 'cost.py')
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[0]) < 1


def test_what_installing_us_brings(environment):
    # hosts.md, acceptance 4.
    assert environment.changed() == {}
    names = [line.split('==')[0].lower() for line
             in environment.pip('freeze').stdout.splitlines()]
    assert not [name for name in names if name.startswith('zope.app')
                or name in ('pyramid-zcml', 'pyramid_zcml',
                            'pyramid-chameleon', 'pyramid_chameleon')]


#: The id of the job in the tutorial.
JOB = '882604112'

# --- the tutorial ------------------------------------------------------------

_BLOCK = re.compile(
    r'^\.\. code-block:: (?P<kind>\w+)\n(?:   :caption: (?P<file>\S+)\n)?\n'
    r'(?P<text>(?:   .*\n|\n)+)', re.M)


class Reader:
    """Does what pages say, in a folder, with ports of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = str(free_port()), str(free_port())
        self._running, self._jobs = [], []

    def read(self, page, types=True):
        """Write the files of a page, and type its commands in.

        Returns: the commands.
        """
        zeo, port = self.ports
        text = page.read_text().replace('9991', zeo).replace('6543', port)
        ran = []
        for block in _BLOCK.finditer(text):
            content = textwrap.dedent(block['text']).strip() + '\n'
            if block['kind'] != 'console':
                self.folder.write(block['file'], content)
                continue
            for part in re.split(r'^\$ ', content, flags=re.M)[1:]:
                command, _, expected = part.partition('\n')
                if types:
                    self.type(command, expected)
                    ran.append(command)
        return ran

    def type(self, command, expected=''):
        type_in(self.folder, command, expected, self._running, self.ports,
                self._jobs)

    def close(self):
        for process in reversed(self._running):
            process.__exit__(None, None, None)


@pytest.fixture
def reader(environment, tmp_path):
    # From an empty folder; the environment is what "Install" makes.
    reader = Reader(Folder(environment, tmp_path))
    yield reader
    reader.close()


def test_the_tutorial(reader):
    assert len(reader.read(TUTORIAL)) == 8


def test_the_page_on_scripts(reader):
    reader.read(TUTORIAL, types=False)
    reader.type(f'runzeo -a 127.0.0.1:{reader.ports[0]} -f Data.fs')
    reader.type('remotetask worker --paste words.ini',
                'remotetask: worker ready: service /tasks, 5 threads, tasks: '
                'count_words\n')
    assert len(reader.read(SCRIPTS)) == 5


def type_in(folder, command, expected, running, ports, jobs):
    words = command.removeprefix('PYTHONPATH=. ').split()
    if words[0] in ('runzeo', 'pserve') or words[:2] == [
            'remotetask', 'worker']:
        running.append(folder.started(*words))
        process = running[-1].__enter__()
        if expected:
            assert process.stdout.readline() == expected
        else:
            port = int(ports[words[0] == 'pserve'])
            wait_until(lambda: answers(port), processes=[process])
        return
    if jobs:
        # The reader has got another id.
        command = command.replace(JOB, jobs[0])
    done = None

    def says_so():
        nonlocal done
        done = folder.run('bash', '-c', command)
        return done.returncode == 0 and matches(expected, done.stdout)

    if '"completed"' in expected:
        # "A moment later".
        wait_until(says_so)
    found = says_so() if done is None else matches(expected, done.stdout)
    assert found, (command, expected, done)
    jobs += found.groups()


def matches(expected, output):
    if not expected:
        return re.fullmatch('', output)
    # Spaces: how wide a column is depends on what is in it.
    pattern = '.*'.join(re.escape(part.strip(' '))
                        for part in expected.split('...'))
    return re.fullmatch(pattern.replace(JOB, r'(\d+)'),
                        output.rstrip('\n') + '\n', re.S)


#: Runs what the pages say, as a reader would put it into an application.
PAGES = """
import json, sys
from types import SimpleNamespace
from pyramid.config import Configurator
from pyramid.request import Request

for place, blocks in json.load(sys.stdin).items():
    config = Configurator(package='lovely.remotetask', settings={
        'zodbconn.uri': 'memory://'})
    config.include('pyramid_zodbconn')
    names = {'config': config, 'user_of_header': lambda request: 'tom'}
    for block in blocks:
        exec(block, names)
    config.include('lovely.remotetask.pyramid')
    app = config.make_wsgi_app()
    request = Request.blank('/', environ={
        'remotetask.connection': 'lent', 'remotetask.user': 'mia'})
    if 'get_connection' in names:
        assert names['get_connection'](request) == 'lent'
        own = SimpleNamespace(environ={}, my_zodb='own')
        assert names['get_connection'](own) == 'own'
        policy = SimpleNamespace(users={'mia': 1, 'tom': 2})
        assert names['identity'](policy, request) == 1
        assert names['identity'](policy, own) == 2
    else:
        from lovely.remotetask.interfaces import IHost
        host = app.registry.getUtility(IHost)
        assert sorted(host.services) == ['', 'mail']
        assert host.services['mail'].autostart
        with host.database().transaction() as connection:
            tasks = connection.root()['tasks']
            assert tasks.processorArguments == {'maxThreads': 3}
"""


def test_what_the_other_pages_say(folder):
    def blocks(page, kind):
        return [textwrap.dedent(block['text'])
                for block in indented(page.read_text(), kind)]

    folder.write('pages.py', PAGES)
    folder.environ['LOVELY_REMOTETASK_AUTOSTART'] = '0'
    howto = blocks(HOWTO, 'python')
    said = json.dumps({
        'howto': ["config.include('lovely.remotetask.pyramid')", *howto],
        'reference': blocks(REFERENCE, 'python')})
    done = folder.run('python', 'pages.py', input=said)
    assert done.returncode == 0, done.stderr
    command, _, expected = blocks(HOWTO, 'console')[-1].strip().partition(
        '\n')
    done = folder.run(*command.removeprefix('$ ').split())
    assert done.stderr.strip() == expected


def indented(text, kind):
    # Some are in a list.
    return re.finditer(
        r'^(?P<in> *)\.\. code-block:: ' + kind + r'\n\n'
        r'(?P<text>(?:(?P=in)   .*\n|\n)+)', text, re.M)
