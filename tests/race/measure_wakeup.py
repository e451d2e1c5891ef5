"""From the commit of add() to the start of the task, and the idle worker.

::

    python tests/race/measure_wakeup.py              all of them
    python tests/race/measure_wakeup.py zeo busy     some

``alone``: a processor in the process of the producer, on a FileStorage;
``zeo``, ``postgresql``: a ``remotetask worker`` of its own; ``busy``: two of
them on ZEO, one of which runs a long job; ``idle``: what a worker without
jobs costs, on ZEO and PostgreSQL.
"""

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import transaction
import zodburi
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import provideUtility

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import SimpleTask

ADDS = 200

#: An idle worker is watched for so long (seconds).
IDLE = 25

DEADLINE = 30

TASKS = '''
import os
import time

from lovely.remotetask.task import task


def tell(text):
    with open('starts', 'w') as out:
        out.write(text + '\\n')


@task
def note(input):
    tell(f'{input} {time.monotonic_ns()}')


@task
def hold(input):
    tell(f'{input} {time.monotonic_ns()}')
    while not os.path.exists('go'):
        time.sleep(0.1)
'''

SERVER = '''
import sys
import ZEO

(host, port), stop = ZEO.server('Data.fs')
print(port, flush=True)
sys.stdin.read()
stop()
'''


def percentile(values, percent):
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def latencies(add, started, count=ADDS, between=(0.03, 0.06)):
    """Seconds from each commit to the start of its task.

    Arguments: ``add(name)`` adds a job and commits; ``started()`` waits for
    a start, ``(name, monotonic nanoseconds)``; ``between``, pauses in which
    the workers become idle.
    """
    found = []
    for number in range(count):
        time.sleep(random.uniform(*between))
        name = f'n{number}'
        add(name)
        committed = time.monotonic_ns()
        told, at = started()
        assert told == name, (told, name)
        found.append((at - committed) / 1e9)
    return found


def line(kind, found):
    return (f'{kind:28} p50 {percentile(found, 50) * 1000:7.2f} ms   '
            f'p99 {percentile(found, 99) * 1000:7.2f} ms   '
            f'max {max(found) * 1000:7.2f} ms')


def make_service(database):
    with database.transaction() as connection:
        folder = connection.root()['Application'] = PersistentMapping()
        service = folder['tasks'] = TaskService()
        service.__parent__, service.__name__ = folder, 'tasks'


def adder(database, task='note'):
    """``add(name)``: a job of this task, committed."""
    manager = transaction.TransactionManager()
    connection = database.open(manager)

    def add(name):
        manager.begin()
        connection.root()['Application']['tasks'].add(task, name)
        manager.commit()

    return add


# --- where it is measured ----------------------------------------------------

def alone():
    """In one process, on a FileStorage."""
    told = threading.Event()
    starts = []

    def note(input):
        starts.append((input, time.monotonic_ns()))
        told.set()

    def started():
        assert told.wait(DEADLINE)
        told.clear()
        return starts.pop()

    provideUtility(SimpleTask(note), ITask, 'note')
    with tempfile.TemporaryDirectory() as directory:
        database = DB(FileStorage(f'{directory}/Data.fs'))
        make_service(database)
        thread = threading.Thread(target=SimpleProcessor(
            database, ['Application', 'tasks'], waitTime=1), daemon=True)
        thread.running = True
        thread.start()
        try:
            return latencies(adder(database), started)
        finally:
            thread.running = False
            thread.wake_event.set()
            thread.join()
            database.close()


@contextlib.contextmanager
def zeo(directory):
    """The URI of a database on a ZEO server of its own."""
    server = subprocess.Popen(
        [sys.executable, '-c', SERVER], cwd=directory, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield f'zeo://127.0.0.1:{int(server.stdout.readline())}'
    finally:
        server.stdin.close()
        server.wait()


@contextlib.contextmanager
def postgresql(directory):
    """The URI of a database in PostgreSQL, dropped afterwards."""
    import psycopg2

    name = f'remotetask_{uuid.uuid4().hex[:12]}'
    connection = psycopg2.connect(os.environ.get(
        'REMOTETASK_POSTGRESQL', 'host=127.0.0.1 port=5432 user=postgres'
    ) + ' dbname=postgres')
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f'CREATE DATABASE {name}')
    where = connection.get_dsn_parameters()
    try:
        yield (f'postgres://{where["user"]}@{where["host"]}:{where["port"]}'
               f'/{name}?keep_history=false')
    finally:
        cursor.execute(f'DROP DATABASE {name} WITH (FORCE)')
        connection.close()


class Fleet:
    """``remotetask worker`` processes on one database."""

    def __init__(self, storage, count=1):
        self._stack = contextlib.ExitStack()
        with self._stack:
            self.directory = Path(self._stack.enter_context(
                tempfile.TemporaryDirectory()))
            uri = self._stack.enter_context(storage(self.directory))
            factory, _ = zodburi.resolve_uri(uri)
            self.database = DB(factory())
            self._stack.callback(self.database.close)
            make_service(self.database)
            (self.directory / 'watched.py').write_text(TASKS)
            os.mkfifo(self.directory / 'starts')
            # Open for writing, too, or it ends with each writer.
            self._starts = self._stack.enter_context(
                os.fdopen(os.open(self.directory / 'starts', os.O_RDWR)))
            for name in ('note', 'hold'):
                provideUtility(SimpleTask(lambda input: None), ITask, name)
            self.workers = [self._start(uri) for _ in range(count)]
            self._stack = self._stack.pop_all()

    def _start(self, uri):
        worker = subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.cli', 'worker',
             '--db', uri, '--tasks', 'watched', '--threads', '1'],
            cwd=self.directory, text=True, stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(
                ['.', os.environ.get('PYTHONPATH', '')])})
        self._stack.callback(worker.stdout.close)
        self._stack.callback(worker.wait)
        self._stack.callback(worker.terminate)
        assert worker.stdout.readline().startswith('remotetask: worker ready')
        return worker

    def started(self):
        name, at = self._starts.readline().split()
        return name, int(at)

    def settle(self):
        """Let the workers enroll and become idle."""
        time.sleep(3)

    def close(self):
        (self.directory / 'go').touch()
        self._stack.close()


def elsewhere(storage, between=(0.03, 0.06)):
    """A worker in a process of its own."""
    with contextlib.closing(Fleet(storage)) as fleet:
        fleet.settle()
        return latencies(adder(fleet.database), fleet.started,
                         between=between)


def busy(storage=zeo):
    """Two workers, one of which is busy for all the time."""
    with contextlib.closing(Fleet(storage, 2)) as fleet:
        fleet.settle()
        adder(fleet.database, 'hold')('held')
        assert fleet.started()[0] == 'held'
        return latencies(adder(fleet.database), fleet.started)


def idle(storage, seconds=IDLE):
    """CPU (share of a core) and commits of a worker without jobs."""
    with contextlib.closing(Fleet(storage)) as fleet:
        fleet.settle()
        adder(fleet.database)('first')
        fleet.started()
        fleet.settle()
        seen = set()
        pid = fleet.workers[0].pid
        before, began = _cpu(pid), time.monotonic()
        first = _last(fleet.database)
        while time.monotonic() - began < seconds:
            time.sleep(0.5)
            seen.add(_last(fleet.database))
        took = time.monotonic() - began
        return (_cpu(pid) - before) / took, len(seen - {first}), took


def _last(database):
    """The last transaction, whoever has committed it."""
    with database.transaction() as connection:
        # The database's own knows, with RelStorage, nothing of others.
        return connection._storage.lastTransaction()


def _cpu(pid):
    """Seconds of CPU a process has used, by its threads' own counters."""
    total = 0
    for task in Path(f'/proc/{pid}/task').iterdir():
        total += int((task / 'schedstat').read_text().split()[0])
    return total / 1e9


def main(chosen):
    def wanted(name):
        return not chosen or name in chosen

    if wanted('alone'):
        print(line('same process, FileStorage', alone()), flush=True)
    if wanted('zeo'):
        print(line('other process, ZEO', elsewhere(zeo)), flush=True)
    if wanted('postgresql'):
        print(line('other process, PostgreSQL', elsewhere(postgresql)),
              flush=True)
    if wanted('busy'):
        print(line('owner of the lane busy, ZEO', busy()), flush=True)
    if wanted('idle'):
        for storage in (zeo, postgresql):
            cpu, commits, took = idle(storage)
            print(f'idle worker, {storage.__name__:15} {cpu * 100:.3f} % CPU,'
                  f' {commits} commits in {took:.0f} s', flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])
