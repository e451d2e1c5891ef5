"""Real processes: `remotetask` as a user runs it.

Servers and workers are started as a user starts them.  Commands that end by
themselves are forked from a process that has the libraries loaded: there are
hundreds, and most of their time would go into imports.
"""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
from worker_process import directory  # noqa: F401
from worker_process import producer  # noqa: F401
from worker_process import tasks  # noqa: F401
from worker_process import worker  # noqa: F401
from worker_process import zeo  # noqa: F401

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


#: Forks a process for each command.  It has no thread, no open file and no
#: connection of ours before the fork.
_FORKS = '''
import gc, importlib, json, os, runpy, socket, sys

for name in ('BTrees.Length', 'ZODB.FileStorage', 'click', 'email',
             'importlib.metadata', 'transaction', 'xmlrpc.client',
             'zodburi.resolvers', 'zope.component.hooks',
             'zope.configuration.xmlconfig', 'zope.location', 'zope.schema',
             'zope.publisher.base', 'zope.security.checker',
             'lovely.remotetask.cli.program', 'lovely.remotetask.cli.verbs',
             'lovely.remotetask.cli.client', 'lovely.remotetask.cli.server',
             'lovely.remotetask.cli.databases', 'lovely.remotetask.web.api'):
    importlib.import_module(name)
# Or each process would go through all of it, and copy it, at its end.
gc.freeze()
wire = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, ends, _, _ = socket.recv_fds(wire, 1 << 20, 3)
    if not request:
        sys.exit()
    pid = os.fork()
    if not pid:
        break
    for end in ends:
        os.close(end)
    wire.send(b'%d' % pid)
    wire.send(b'%d' % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
wire.close()
for number, end in enumerate(ends):
    os.dup2(end, number)
    os.close(end)
request = json.loads(request)
os.chdir(request['cwd'])
os.environ.clear()
os.environ.update(request['environ'])
sys.path[0] = request['cwd']
sys.argv[1:] = request['arguments']
runpy.run_module('lovely.remotetask.cli', run_name='__main__', alter_sys=True)
'''


class Forks:
    """Runs commands one after the other."""

    def __init__(self):
        # Each message is received as it was sent.
        self._wire, other = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, '-c', _FORKS, str(other.fileno())],
                pass_fds=[other.fileno()])
        self._wire.settimeout(DEADLINE)

    def run(self, arguments, environ, cwd, input):
        if any(name.startswith('LOVELY_REMOTETASK_') for name in environ):
            # Settings are read when the package is imported.
            return subprocess.run(
                [*CLI, *arguments], env=environ, cwd=cwd, input=input,
                text=True, capture_output=True, timeout=DEADLINE)
        with contextlib.ExitStack() as files:
            stdin, stdout, stderr = (files.enter_context(
                tempfile.TemporaryFile('w+', encoding='utf-8'))
                for _ in range(3))
            stdin.write(input or '')
            stdin.seek(0)
            socket.send_fds(self._wire, [json.dumps({
                'arguments': arguments, 'environ': environ, 'cwd': str(cwd),
                }).encode()], [file.fileno()
                               for file in (stdin, stdout, stderr)])
            pid = int(self._wire.recv(100))
            try:
                code = int(self._wire.recv(100))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                # Or the next command would take this one's end for its own.
                self._wire.recv(100)
                raise
            stdout.seek(0), stderr.seek(0)
            return subprocess.CompletedProcess(
                arguments, code, stdout.read(), stderr.read())

    def close(self):
        self._wire.close()
        assert self._process.wait(DEADLINE) == 0


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
    place = tmp_path_factory.mktemp('server')
    (place / 'thetasks.py').write_text(TASKS)
    server = Server(
        ['--port', '0', '--data', str(place / 'data'), '--tasks',
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
