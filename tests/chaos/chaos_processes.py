"""Server, workers, producer: the processes, and a look at their database."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import chaos_tasks
import transaction
from transaction.interfaces import NoTransaction
from transaction.interfaces import TransientError
from ZEO.ClientStorage import ClientStorage
from ZODB.DB import DB

HERE = Path(__file__).parent

#: How long (seconds) anything may take that is waited for.
DEADLINE = 60


def wait_until(condition, deadline=DEADLINE, what=''):
    """Poll until ``condition()`` is true; returns what it returned."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f'waited {deadline} s in vain: {what}'
        pause.wait(0.01)


def pids(service):
    """The processes whose workers the service knows, dead or alive."""
    # As listWorkers() has it; a worker's id tells the process.
    return {int(name.split(':')[2]) for name in service.jobqueue.workers}


# Not runzeo: its SIGTERM raises SystemExit wherever the server is just then.
# In the middle of a call that can become the answer of the call, and the
# server lives on.
_SERVER = '''
import signal, sys
import ZEO
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
path, host, port = sys.argv[1:]
_, stop = ZEO.server(path, port=(host, int(port)), zeo_conf={
    # Who is stopped between the two phases of a commit keeps everybody else
    # from committing.
    'transaction_timeout': 10})
signal.sigwait({signal.SIGTERM})
stop()
'''


class Server:
    """A ZEO server in a process of its own, over a FileStorage."""

    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.address = probe.getsockname()
        self.start()

    def start(self):
        host, port = self.address
        with open(self.directory / 'zeo.log', 'ab') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-c', _SERVER, self.directory / 'Data.fs',
                 host, str(port)],
                cwd=self.directory, stdout=log, stderr=log)
        wait_until(self._answers, what='ZEO server')

    def _answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection(self.address, 1).close()
            return True
        return False

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(DEADLINE)


class Lines:
    """What processes say, line by line; waited for with a deadline."""

    def __init__(self, stream):
        self.seen = []
        self._more = threading.Condition()
        threading.Thread(target=self._read, args=(stream,),
                         daemon=True).start()

    def _read(self, stream):
        with stream:
            for line in stream:
                with self._more:
                    self.seen.append(line.strip())
                    self._more.notify_all()

    def has(self, text):
        with self._more:
            return text in self.seen

    def wait_for(self, text, deadline=DEADLINE, start=0):
        """Wait for a line, or for one that a function accepts."""
        accepts = text if callable(text) else text.__eq__
        found = []

        def look():
            found[:] = [line for line in self.seen[start:] if accepts(line)]
            return found

        with self._more:
            assert self._more.wait_for(look, deadline), (
                text, self.seen[-20:])
            return found[0]


class Child:
    """A worker process.

    Attributes: ``pid``; ``point``, at which it kills itself, or None.
    """

    def __init__(self, pid, point, lines):
        self.pid = pid
        self.point = point
        self._lines = lines
        self.until = self.orderly = None

    def _exit(self):
        for line in self._lines.seen:
            if line.startswith(f'exit {self.pid} '):
                return int(line.split()[2])
        return None

    @property
    def code(self):
        """Its exit code; None while it lives."""
        return self._exit()

    def send(self, number):
        # Nobody else can have its number: its parent tells us the exit after
        # it has reaped it, so the worst is a number that nobody has.
        with contextlib.suppress(ProcessLookupError):
            if self.code is None:
                os.kill(self.pid, number)

    def says(self, text):
        return self._lines.has(f'{self.pid} {text}')

    def wait_for(self, text, deadline=DEADLINE):
        self._lines.wait_for(f'{self.pid} {text}', deadline)
        return self

    def wait_for_start(self, text):
        """Wait for a line that begins so."""
        self._lines.wait_for(
            lambda line: line.startswith(f'{self.pid} {text}'))

    def end(self, number=None):
        """Wait until it has ended, after a signal; returns its exit code."""
        if number is not None:
            self.send(number)
        self._lines.wait_for(
            lambda line: line.startswith(f'exit {self.pid} '))
        return self.code


class Spawner:
    """Starts worker processes by fork, in some milliseconds each.

    Arguments: ``address`` of the ZEO server; ``directory`` for the lock
    files of the "hosts"; ``scale`` of all times of signs of life.
    """

    def __init__(self, address, directory, scale=1.0):
        self.address = address
        self.directory = directory
        self.children = []
        self._hosts = {}
        path = os.pathsep.join(
            [str(HERE), *filter(None, [os.environ.get('PYTHONPATH')])])
        with open(self.directory / 'workers.log', 'ab') as log:
            self.process = subprocess.Popen(
                [sys.executable, HERE / 'chaos_worker.py'],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
                env={**os.environ, 'CHAOS_SCALE': str(scale),
                     'PYTHONPATH': path})
        self.lines = Lines(self.process.stdout)
        self.lines.wait_for('spawner ready')

    def start(self, host='a', threads=1, point=None, count=1, grace=5.0):
        """Start a worker; does not wait until it is ready."""
        place = self.directory / f'host-{host}'
        place.mkdir(mode=0o700, exist_ok=True)
        seen = len(self.lines.seen)
        self.process.stdin.write(json.dumps({
            'address': self.address, 'host': str(place), 'threads': threads,
            'point': point, 'count': count, 'grace': grace}) + '\n')
        self.process.stdin.flush()
        line = self.lines.wait_for(
            lambda line: line.startswith('spawned '), start=seen)
        child = Child(int(line.split()[1]), point, self.lines)
        self.children.append(child)
        return child

    def close(self):
        for child in self.children:
            child.send(signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(DEADLINE)


class Database:
    """A database as the harness sees it."""

    def __init__(self, address):
        self.db = DB(ClientStorage(tuple(address), wait_timeout=20,
                                   max_disconnect_poll=1))

    def make(self, poison=None):
        self.write(lambda root: chaos_tasks.make(root, poison))

    @contextlib.contextmanager
    def root(self):
        """The root object, in a snapshot of its own; nothing is stored."""
        manager = transaction.TransactionManager(explicit=True)
        manager.begin()
        connection = self.db.open(manager)
        try:
            yield connection.root()
        finally:
            with contextlib.suppress(NoTransaction):
                manager.abort()
            connection.close()

    def write(self, function):
        """Call ``function(root)`` and commit, until it is committed."""
        end = time.monotonic() + DEADLINE
        while True:
            try:
                with self.root() as root:
                    result = function(root)
                    root._p_jar.transaction_manager.commit()
                    return result
            except TransientError:
                if time.monotonic() > end:
                    raise

    def service(self, function):
        """Call ``function(service)`` and commit."""
        return self.write(
            lambda root: function(root['Application']['tasks']))

    def look(self, function):
        """Call ``function(service)`` on a snapshot."""
        with self.root() as root:
            return function(root['Application']['tasks'])

    def add(self, task, n, **input):
        return self.service(lambda service: service.add(
            task, {'kind': task, 'n': n, 'a': 1, 'b': 2, **input}))

    def status(self, jobid):
        return self.look(lambda service: service.getStatus(jobid))

    def wait_for(self, jobid, *statuses, deadline=DEADLINE):
        return wait_until(lambda: self.status(jobid) in statuses, deadline,
                          f'job {jobid} {statuses}')

    def close(self):
        self.db.close()


class Producer:
    """The producer's process; its errors go to producer.log."""

    def __init__(self, address, directory, seed):
        self._log = directory / 'producer.log'
        with open(self._log, 'ab') as log:
            self.process = subprocess.Popen(
                [sys.executable, HERE / 'chaos_producer.py', address[0],
                 str(address[1]), str(seed)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True)
        self.lines = Lines(self.process.stdout)
        self._allowed = 0

    def allow(self, number):
        """Let it add jobs up to this number."""
        if number > self._allowed:
            self._allowed = number
            # A broken pipe tells nothing of why the producer has ended.
            assert self.process.poll() is None, self._log.read_text()
            self.process.stdin.write(f'{number}\n')
            self.process.stdin.flush()

    def wait(self):
        self.lines.wait_for(f'added {self._allowed}')
        self.process.stdin.close()
        return self.process.wait(DEADLINE)

    @property
    def conflicts(self):
        return sum(line == 'conflict ConflictError'
                   or line == 'conflict ReadConflictError'
                   for line in self.lines.seen)
