"""Workers and producer: the processes, and a look at their database."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import chaos_storages
import chaos_tasks
import transaction
from chaos_storages import DEADLINE
from chaos_storages import is_away
from chaos_storages import wait_until
from transaction.interfaces import NoTransaction

HERE = Path(__file__).parent


class Lines:
    """What processes say, line by line; waited for with a deadline.

    Arguments: ``heard(line)`` is called with each line as it comes.
    """

    def __init__(self, stream, heard=lambda line: None):
        self.seen = []
        self._heard = heard
        self._more = threading.Condition()
        threading.Thread(target=self._read, args=(stream,),
                         daemon=True).start()

    def _read(self, stream):
        with stream:
            for line in stream:
                self._heard(line.strip())
                with self._more:
                    self.seen.append(line.strip())
                    self._more.notify_all()

    def wait_until(self, condition, what, deadline=DEADLINE):
        """Wait for a condition that becomes true by a line."""
        with self._more:
            assert self._more.wait_for(condition, deadline), (
                what, self.seen[-20:])

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

    Attributes: ``pid``; ``point``, at which it kills itself, or None;
    ``code``, its exit code, None while it lives; ``spares`` (bool): it is not
    to be killed now, see chaos_points.
    """

    def __init__(self, pid, point, lines):
        self.pid = pid
        self.point = point
        self._lines = lines
        self.born = self.lives = self.until = self.orderly = None
        self.code = None
        self.spares = False
        self.said = []

    def send(self, number):
        # Nobody else can have its number: its parent tells us the exit after
        # it has reaped it, so the worst is a number that nobody has.
        with contextlib.suppress(ProcessLookupError):
            if self.code is None:
                os.kill(self.pid, number)

    def says(self, text):
        return text in self.said

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
        self._lines.wait_until(lambda: self.code is not None, self)
        return self.code


class Spawner:
    """Starts worker processes by fork, in some milliseconds each.

    Arguments: ``address`` of the database; ``directory`` for the lock files
    of the "hosts"; ``scale`` of all times of signs of life; ``heard(text)``
    is called with what any of the workers says.
    """

    def __init__(self, address, directory, scale=1.0,
                 heard=lambda text: None):
        self.address = address
        self._heard = heard
        # By the number of the process: those that live, and those that start()
        # has not returned yet.
        self._living, self._born = {}, {}
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
        self.lines = Lines(self.process.stdout, self._hear)
        self.lines.wait_for('spawner ready')

    def _hear(self, line):
        first, _, rest = line.partition(' ')
        if first == 'spawned':
            self._child(int(rest))
        elif first == 'exit':
            pid, code = rest.split()
            self._living.pop(int(pid)).code = int(code)
        elif first.isdigit():
            # This line may be there before the parent's.
            child = self._child(int(first))
            child.said.append(rest)
            if rest in ('spares', 'spared'):
                child.spares = rest == 'spares'
            self._heard(rest)

    def _child(self, pid):
        if pid not in self._living:
            child = Child(pid, None, self.lines)
            self._living[pid] = self._born[pid] = child
        return self._living[pid]

    def start(self, host='a', threads=1, point=None, count=1, grace=5.0,
              lacks=None, inside=None, spares=False, fast=None):
        """Start a worker; does not wait until it is ready.

        Arguments: ``fast``, those of chaos_tasks.Fast, or None.
        """
        place = self.directory / f'host-{host}'
        place.mkdir(mode=0o700, exist_ok=True)
        seen = len(self.lines.seen)
        self.process.stdin.write(json.dumps({
            'address': self.address, 'host': str(place), 'threads': threads,
            'point': point, 'count': count, 'grace': grace, 'lacks': lacks,
            'inside': inside, 'spares': spares, 'fast': fast}) + '\n')
        self.process.stdin.flush()
        line = self.lines.wait_for(
            lambda line: line.startswith('spawned '), start=seen)
        pid = int(line.split()[1])
        # A number comes again after it was free, and never before the parent
        # has told the exit.
        child = self._born.pop(pid)
        child.point = point
        self.children.append(child)
        return child

    def close(self):
        for child in self.children:
            child.send(signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(DEADLINE)


class Database:
    """A database as the harness sees it.

    Arguments: ``address``, or ``database``, an open one.
    """

    def __init__(self, address=None, database=None):
        self.db = database or chaos_storages.opened(address)

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
            with self.root() as root:
                try:
                    result = function(root)
                    root._p_jar.transaction_manager.commit()
                    return result
                except Exception as error:
                    if not is_away(error) or time.monotonic() > end:
                        raise
                    # See edge/db.py.
                    root._p_jar.cacheMinimize()
            chaos_tasks.pause(0.01)

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
        chaos_storages.close(self.db)


# For how long (seconds) a producer may say nothing though it has jobs to add.
_SILENCE = 60


class Producer:
    """The producer's process; its errors go to producer.log.

    It is started again where it says nothing for a minute: a client of ZEO
    that asks for an object at the moment at which the server goes may wait
    for the answer for ever.
    Attributes: ``allowed``, ``added``, up to which number; ``hung``, how often
    it was started again.
    """

    def __init__(self, address, directory, seed):
        self._command = [sys.executable, HERE / 'chaos_producer.py', str(seed)]
        self._address = address
        self._log = directory / 'producer.log'
        self.allowed = self.added = self.hung = 0
        self._start()

    def _start(self):
        with open(self._log, 'ab') as log:
            self.process = subprocess.Popen(
                [*self._command, str(self.added), *self._address],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True)
        self._heard = time.monotonic()
        self._lines = Lines(self.process.stdout, self._hear)

    def _hear(self, line):
        self._heard = time.monotonic()
        if line.startswith('added '):
            self.added = int(line.split()[1])

    def allow(self, number):
        """Let it add jobs up to this number."""
        if number > self.allowed:
            if self.added == self.allowed:
                self._heard = time.monotonic()      # it had nothing to do
            self.allowed = number
            self._send()

    def _send(self):
        # A broken pipe tells nothing of why the producer has ended.
        assert self.process.poll() is None, self._log.read_text()
        self.process.stdin.write(f'{self.allowed}\n')
        self.process.stdin.flush()

    def revive(self):
        """Start it again if it hangs."""
        if (self.added < self.allowed
                and time.monotonic() - self._heard > _SILENCE):
            self.hung += 1
            self.process.kill()
            self.process.wait(DEADLINE)
            self._start()
            self._send()

    def wait(self):
        def is_done():
            self.revive()
            return self.added >= self.allowed

        wait_until(is_done, DEADLINE + 2 * _SILENCE)
        self.process.stdin.close()
        return self.process.wait(DEADLINE)
