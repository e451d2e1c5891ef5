"""Real processes: `remotetask` as a user runs it."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading

import pytest

#: Seconds that anything here may take at most; nothing waits that long.
DEADLINE = 60

CLI = [sys.executable, '-m', 'lovely.remotetask.cli']

READY = re.compile(r'remotetask: serving (http://\S+):(\d+)/tasks')


class Server:
    """A `remotetask serve` of its own, from its first line to its end."""

    def __init__(self, arguments, environ, cwd):
        self.environ = environ
        self.process = subprocess.Popen(
            [*CLI, 'serve', *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=environ, cwd=cwd)
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


@pytest.fixture
def remotetask(environ, tmp_path):
    """``remotetask(*arguments)`` runs one command to its end."""
    def run(*arguments, input=None, cwd=tmp_path, **more):
        return subprocess.run(
            [*CLI, *map(str, arguments)], capture_output=True, text=True,
            input=input, env=environ | more, cwd=cwd, timeout=DEADLINE)

    return run


@pytest.fixture
def serve(environ, tmp_path):
    """``serve(*arguments)`` starts a server; it is gone after the test."""
    servers = []

    def start(*arguments, cwd=tmp_path, **more):
        server = Server(list(map(str, arguments)), environ | more, cwd)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope='session')
def server(environ, tmp_path_factory):
    """One running server for all tests that only talk to it."""
    directory = tmp_path_factory.mktemp('server')
    (directory / 'thetasks.py').write_text(TASKS)
    server = Server(
        ['--port', '0', '--data', str(directory / 'data'), '--tasks',
         'thetasks'], environ, directory).ready()
    server.data = directory / 'data'
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
'''
