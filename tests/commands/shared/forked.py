"""Commands in processes that are forked where the libraries are loaded.

A test speaks to a process as to one of subprocess.Popen.
"""

import concurrent.futures
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile

#: Seconds that anything here may take at most; nothing waits that long.
DEADLINE = 60

PROGRAM = 'lovely.remotetask.cli'
CLI = [sys.executable, '-m', PROGRAM]

#: What most commands of `remotetask` import.
MODULES = (
    'BTrees.Length', 'ZEO.ClientStorage', 'ZODB.FileStorage', 'click',
    'email', 'importlib.metadata', 'transaction', 'xmlrpc.client',
    'zodburi.resolvers', 'zope.component.hooks',
    'zope.configuration.xmlconfig', 'zope.location', 'zope.schema',
    'zope.publisher.base', 'zope.security.checker', 'waitress',
    'lovely.remotetask.cli.program', 'lovely.remotetask.cli.verbs',
    'lovely.remotetask.cli.client', 'lovely.remotetask.cli.server',
    'lovely.remotetask.cli.databases', 'lovely.remotetask.cli.serve',
    'lovely.remotetask.cli.worker', 'lovely.remotetask.processor',
    'lovely.remotetask.web.api')

#: Forks a process for each command, and tells its number and its end.  It has
#: no thread, no open file and no connection of ours before the fork.
_FORKS = '''
import contextlib, gc, importlib, json, os, runpy, select, signal, socket, sys

for name in sys.argv[2:]:
    importlib.import_module(name)
# Or each process would go through all of it, and copy it, at its end.
gc.freeze()
wire = socket.socket(fileno=int(sys.argv[1]))
# A byte comes out of the pipe when a command has ended.
ended, ends_here = os.pipe2(os.O_NONBLOCK)
signal.signal(signal.SIGCHLD, lambda *arguments: None)
signal.set_wakeup_fd(ends_here)
running = {}
while True:
    ready, _, _ = select.select([wire, ended], [], [])
    if ended in ready:
        os.read(ended, 1000)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            with running.pop(pid) as tells, contextlib.suppress(
                    ConnectionError):
                tells.send(b'%d' % os.waitstatus_to_exitcode(status))
    if wire not in ready:
        continue
    request, ends, _, _ = socket.recv_fds(wire, 1 << 20, 4)
    if not request:
        sys.exit()
    tells = socket.socket(fileno=ends.pop())
    pid = os.fork()
    if not pid:
        break
    running[pid] = tells
    tells.send(b'%d' % pid)
    for end in ends:
        os.close(end)
signal.set_wakeup_fd(-1)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
for end in (ended, ends_here):
    os.close(end)
for end in (wire, tells, *running.values()):
    end.close()
for number, end in enumerate(ends):
    os.dup2(end, number)
    os.close(end)
request = json.loads(request)
os.chdir(request['cwd'])
os.environ.clear()
os.environ.update(request['environ'])
if 'lovely.remotetask.settings' in sys.modules and any(
        name.startswith('LOVELY_REMOTETASK_') for name in os.environ):
    # They are read when this is imported.
    importlib.reload(sys.modules['lovely.remotetask.settings'])
sys.path[0] = request['cwd']
program, *sys.argv[1:] = request['arguments']
if os.sep in program:
    # A script; Python has looked for the places of modules long ago.
    sys.argv[0], sys.path[0] = program, os.path.dirname(program)
    sys.path[1:1] = filter(None, os.environ.get('PYTHONPATH', '').split(':'))
    runpy.run_path(program, run_name='__main__')
else:
    runpy.run_module(program, run_name='__main__', alter_sys=True)
'''


def started(arguments, environ, cwd, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE):
    """Start a command as a user does."""
    return subprocess.Popen(
        [*CLI, *arguments], stdout=stdout, stderr=stderr, text=True,
        env=environ, cwd=cwd)


class Process:
    """A command that runs; the attributes are those of subprocess.Popen."""

    def __init__(self, wire, stdout, stderr):
        self._wire = wire
        self.stdout, self.stderr = stdout, stderr
        self.returncode = None
        self.pid = int(wire.recv(100))

    def poll(self):
        """The exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=DEADLINE):
        if self.returncode is None:
            ready, _, _ = select.select([self._wire], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(self.pid, timeout)
            self.returncode = int(self._wire.recv(100))
            self._wire.close()
        return self.returncode

    def communicate(self, timeout=DEADLINE):
        """What is left on both streams, when it has ended."""
        with concurrent.futures.ThreadPoolExecutor(2) as readers:
            read = [stream and readers.submit(stream.read)
                    for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return tuple(one and one.result() for one in read)

    def send_signal(self, number):
        # The process that has started it may have reaped it.
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Forks:
    """Starts commands, and runs them to their end.

    Arguments: ``python``, an interpreter; ``modules``, what it imports first;
    ``environ``, its environment.  ``program`` of a command is a module, or the
    path of a script.
    """

    def __init__(self, python=sys.executable, modules=MODULES, environ=None):
        # Each message is received as it was sent.
        self._wire, other = self._pair()
        with other:
            self._process = subprocess.Popen(
                [python, '-c', _FORKS, str(other.fileno()), *modules],
                pass_fds=[other.fileno()], env=environ,
                # Pipes, as those of commands: Python looks once, when it
                # starts, whether it can seek in its streams.
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)

    @staticmethod
    def _pair():
        ours, other = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(DEADLINE)
        return ours, other

    def _fork(self, program, arguments, environ, cwd, ends):
        """Fork a command; ``ends`` become its three streams."""
        wire, other = self._pair()
        with other:
            socket.send_fds(self._wire, [json.dumps({
                'arguments': [str(one) for one in (program, *arguments)],
                'environ': environ, 'cwd': str(cwd)}).encode()],
                [*ends, other.fileno()])
        return wire

    def start(self, arguments, environ, cwd, stdout=None, stderr=None,
              program=PROGRAM):
        """Start a command.

        Arguments: ``stdout``, ``stderr``, open files; default pipes.
        Returns: a Process.
        """
        with contextlib.ExitStack() as files:
            ends = [files.enter_context(open(os.devnull))]
            read = []
            for file in stdout, stderr:
                if file is None:
                    end, other = os.pipe()
                    read.append(os.fdopen(end))
                    file = files.enter_context(os.fdopen(other, 'w'))
                else:
                    read.append(None)
                ends.append(file)
            wire = self._fork(program, arguments, environ, cwd,
                              [file.fileno() for file in ends])
        return Process(wire, *read)

    def run(self, arguments, environ, cwd, input=None, program=PROGRAM):
        """Run a command to its end; returns what subprocess.run() does."""
        if program == PROGRAM and any(
                name.startswith('LOVELY_REMOTETASK_') for name in environ):
            # A wrong one is told of before the command line is there.
            return subprocess.run(
                [*CLI, *arguments], env=environ, cwd=cwd, input=input,
                text=True, capture_output=True, timeout=DEADLINE)
        with contextlib.ExitStack() as files:
            stdin, stdout, stderr = ends = [files.enter_context(
                tempfile.TemporaryFile('w+', encoding='utf-8'))
                for _ in range(3)]
            stdin.write(input or '')
            stdin.seek(0)
            process = Process(
                self._fork(program, arguments, environ, cwd,
                           [file.fileno() for file in ends]), None, None)
            try:
                code = process.wait()
            finally:
                process.kill()
            stdout.seek(0), stderr.seek(0)
            return subprocess.CompletedProcess(
                arguments, code, stdout.read(), stderr.read())

    def close(self):
        self._wire.close()
        _, said = self._process.communicate(timeout=DEADLINE)
        assert self._process.returncode == 0, said
