"""`remotetask worker` as a process, a ZEO server, and an application.

conftest.py imports the fixtures.
"""

import contextlib
import os
import queue
import select
import signal
import threading
import time

import pytest
import transaction
import ZEO
from forked import DEADLINE
from persistent.mapping import PersistentMapping
from zope.component import provideUtility
from zope.testing.cleanup import cleanUp

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask

TASKS = '''
import os
import threading
import time
from pathlib import Path
from lovely.remotetask.context import currentJob
from lovely.remotetask.task import task


@task
def note(input):
    # One write of a few bytes to a file opened for appending is whole.
    with open('log', 'a') as out:
        out.write(f'{input} {os.getpid()}\\n')


@task
def count(service, jobid, input):
    service.__parent__['effects'][input].change(1)


@task
def meet(input):
    """Ends when two processes are here at once."""
    Path(f'here.{os.getpid()}').touch()
    deadline = time.monotonic() + 50
    while len(list(Path('.').glob('here.*'))) < 2:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@task
def hold(input):
    Path('running').write_text('yes')   # somebody waits at this pipe
    deadline = time.monotonic() + 50
    while not Path('go').exists():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    Path('ended').touch()
    return 'done'


@task
def walk(input):
    """Has a checkpoint for each item; ends once ``go`` is there."""
    job = currentJob()
    item = job.cursor or 0
    if not item:
        Path('running').write_text('yes')
    while not Path('go').exists():
        with open('log', 'a') as out:
            out.write(f'{item}\\n')
        item += 1
        job.checkpoint(item)
        threading.Event().wait(0.01)
    return item
'''


def heard(pipe):
    """Wait until somebody has written something into a named pipe."""
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        ready, _, _ = select.select([end], [], [], DEADLINE)
        return bool(ready and os.read(end, 100))
    finally:
        os.close(end)


def there(path):
    """Wait until a file is there."""
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not path.exists():
        assert time.monotonic() < deadline, path
        pause.wait(0.01)


class Process:
    """A `remotetask worker`; its lines are waited for."""

    def __init__(self, start, arguments, environ, cwd):
        self.process = start(['worker', *map(str, arguments)], environ, cwd)
        self.lines = queue.Queue()
        self.errors = queue.Queue()
        self.told = []
        for stream, lines in ((self.process.stdout, self.lines),
                              (self.process.stderr, self.errors)):
            threading.Thread(target=self._read, daemon=True,
                             args=(stream, lines)).start()

    def _read(self, stream, lines):
        with stream:
            for line in stream:
                lines.put(line)
        lines.put('')

    def ready(self):
        self.line = self.lines.get(timeout=DEADLINE)
        assert self.line.startswith('remotetask: worker ready: '), (
            self.line, self.rest())
        return self

    def wait_for(self, text):
        """Wait for a line on stderr."""
        deadline = time.monotonic() + DEADLINE
        while not self.told or text not in self.told[-1]:
            line = self.errors.get(
                timeout=max(0, deadline - time.monotonic()))
            self.told.append(line)
            assert line, f'{text!r} was never said: {self.told}'

    def rest(self):
        """What is left on stderr, once it has ended."""
        while not self.told or self.told[-1]:
            self.told.append(self.errors.get(timeout=DEADLINE))
        return ''.join(self.told)

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        """The exit code."""
        return self.process.wait(DEADLINE)

    def stop(self, number=signal.SIGTERM):
        self.send(number)
        return self.end()


@pytest.fixture
def directory(tmp_path):
    (tmp_path / 'thetasks.py').write_text(TASKS)
    os.mkfifo(tmp_path / 'running')
    return tmp_path


@pytest.fixture
def worker(forks, environ, directory):
    """``worker(*arguments)`` starts one; it is gone after the test."""
    started = []

    def start(*arguments, start=forks.start):
        process = Process(start, arguments, environ, directory)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait(DEADLINE)


class Zeo:
    """A ZEO server that can be stopped and started again."""

    def __init__(self, path):
        self._path = path
        self.port = 0
        self.start()

    def start(self):
        (self.host, self.port), self._stop = ZEO.server(
            str(self._path), port=('127.0.0.1', self.port))

    def stop(self):
        if self._stop is not None:
            self._stop()
            self._stop = None

    @property
    def uri(self):
        return f'zeo://{self.host}:{self.port}?wait_timeout=5'

    @property
    def address(self):
        return self.host, self.port


@pytest.fixture
def zeo(tmp_path):
    server = Zeo(tmp_path / 'Data.fs')
    yield server
    server.stop()


class Producer:
    """An application: adds jobs and looks at them."""

    def __init__(self, database):
        self.database = database

    @contextlib.contextmanager
    def root(self):
        manager = transaction.TransactionManager()
        connection = self.database.open(manager)
        try:
            yield connection.root()
            manager.commit()
        finally:
            manager.abort()
            connection.close()

    @contextlib.contextmanager
    def service(self, path=('Application', 'tasks')):
        with self.root() as root:
            found = root
            for name in path:
                found = found[name]
            yield found

    def make(self, *path):
        """Make a service, and the mappings it lies in."""
        with self.root() as root:
            parent = root
            for name in path[:-1]:
                if name not in parent:
                    parent[name] = PersistentMapping()
                    parent[name].__parent__ = parent
                    parent[name].__name__ = name
                parent = parent[name]
            service = parent[path[-1]] = TaskService()
            service.__parent__ = parent
            service.__name__ = path[-1]

    def add(self, task, input=None):
        with self.service() as service:
            return service.add(task, input)

    def job(self, jobid):
        """Status and attempts."""
        with self.service() as service:
            job = service.jobs[jobid]
            return job.status, job.attempts

    def wait_for(self, jobid, status):
        deadline = time.monotonic() + DEADLINE
        pause = threading.Event()
        while (now := self.job(jobid)[0]) != status:
            assert time.monotonic() < deadline, (jobid, now)
            pause.wait(0.01)


@pytest.fixture
def tasks():
    """This process knows the names of the tasks, as a producer has to."""
    cleanUp()
    for name in ('count', 'note', 'meet', 'hold', 'walk'):
        provideUtility(EchoTask(), ITask, name=name)
    yield
    cleanUp()


@pytest.fixture
def producer(zeo, tasks):
    database = ZEO.DB(zeo.address)
    producer = Producer(database)
    producer.make('Application', 'tasks')
    yield producer
    database.close()
