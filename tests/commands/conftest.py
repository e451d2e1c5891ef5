"""Real processes: `remotetask` as a user runs it.

They are forked from a process that has the libraries loaded: there are
hundreds, and most of their time would go into imports.  The one server of the
session, and those whose arguments say so, are started as a user starts them.
"""

import os
import queue
import re
import signal
import threading

import pytest
from forked import DEADLINE
from forked import Forks
from forked import started
from worker_process import directory  # noqa: F401
from worker_process import producer  # noqa: F401
from worker_process import tasks  # noqa: F401
from worker_process import worker  # noqa: F401
from worker_process import zeo  # noqa: F401
from ZODB.DB import DB

from lovely.remotetask.service import make_service

READY = re.compile(r'remotetask: serving (http://\S+):(\d+)/tasks')


class Server:
    """A `remotetask serve` of its own, from its first line to its end."""

    def __init__(self, start, arguments, environ, cwd):
        self.environ = environ
        self.process = start(['serve', *arguments], environ, cwd)
        self.errors = []
        self.lines = queue.Queue()
        self._threads = [
            threading.Thread(target=self._read, daemon=True,
                             args=(self.process.stdout, self.lines.put)),
            threading.Thread(target=self._read, daemon=True,
                             args=(self.process.stderr, self.errors.append))]
        for thread in self._threads:
            thread.start()

    def _read(self, stream, keep):
        with stream:
            for line in stream:
                keep(line)
        keep('')

    def ready(self):
        line = self.lines.get(timeout=DEADLINE)
        found = READY.match(line)
        assert found, (line, self.stderr())
        self.port = int(found[2])
        self.url = f'{found[1]}:{found[2]}'
        return self

    def stderr(self):
        self._threads[1].join(DEADLINE)
        return ''.join(self.errors)

    def stop(self, number=signal.SIGTERM):
        """End it; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@pytest.fixture(scope='session')
def environ(tmp_path_factory):
    """The environment of all processes: places of their own."""
    home = tmp_path_factory.mktemp('home')
    runtime = tmp_path_factory.mktemp('run')
    runtime.chmod(0o700)
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith('REMOTETASK_')}
    return clean | {'HOME': str(home), 'XDG_RUNTIME_DIR': str(runtime),
                    'TMPDIR': str(home)}


@pytest.fixture(scope='session')
def forks():
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def remotetask(forks, environ, tmp_path):
    """``remotetask(*arguments)`` runs one command to its end."""
    def run(*arguments, input=None, cwd=tmp_path, **more):
        return forks.run(list(map(str, arguments)), environ | more, cwd,
                         input)

    return run


@pytest.fixture
def serve(forks, environ, tmp_path):
    """``serve(*arguments)`` starts a server; it is gone after the test."""
    servers = []

    def start(*arguments, cwd=tmp_path, **more):
        server = Server(forks.start, list(map(str, arguments)),
                        environ | more, cwd)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope='session')
def server(environ, tmp_path_factory):
    """One running server for all tests that only talk to it."""
    place = tmp_path_factory.mktemp('server')
    (place / 'thetasks.py').write_text(TASKS)
    server = Server(
        started, ['--port', '0', '--data', str(place / 'data'), '--tasks',
                  'thetasks'], environ, place).ready()
    server.data = place / 'data'
    yield server
    assert server.stop() == 0, server.stderr()


TASKS = '''
from lovely.remotetask.errors import TaskError
from lovely.remotetask.task import task


@task
def double(input):
    return input * 2


@task(name='fail')
def failing(input):
    raise TaskError('it\\x1b[31m does\\nnot work')


@task
def odd(input):
    return {1, 2}


@task
def scale(source, width=100, *, name='it\\x1b[31m', **others):
    pass


@task
def tidy():
    pass
'''


@pytest.fixture(params=['server', 'database'])
def ask(request, remotetask, serve, tmp_path):
    """Asks a server, or a database that a server has left."""
    own = serve('--port', '0', '--data', 'data').ready()
    if request.param == 'server':
        where = ['--url', own.url]
    else:
        assert own.stop() == 0
        where = ['--db', f'file://{tmp_path}/data/Data.fs']

    def ask(verb, *arguments, **more):
        return remotetask(verb, *arguments, *where, **more)

    ask.kind = request.param
    return ask


@pytest.fixture(params=['server', 'database'])
def where(request, tmp_path):
    """The options that name a server of all tests, or a new database."""
    if request.param == 'server':
        return ['--url', request.getfixturevalue('server').url]
    database = DB(str(tmp_path / 'Data.fs'))
    with database.transaction() as connection:
        make_service(connection.root(), 'tasks')
    database.close()
    return ['--db', f'file://{tmp_path}/Data.fs']
