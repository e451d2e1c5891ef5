"""docs/howto/my-job-does-not-run.rst: each row of its tables is tried."""

import re
import threading
import time
from pathlib import Path

import pytest
import transaction
import ZEO
import ZODB
from ZODB.POSException import ConflictError
from zope.component import provideUtility
from zope.testing.cleanup import cleanUp

from lovely.remotetask import TaskService
from lovely.remotetask import settings
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.job import Job
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import TaskError

PAGE = Path(__file__).parents[2] / 'docs' / 'howto' / 'my-job-does-not-run.rst'

#: The literals in the first column of each row, without those in brackets,
#: which tell where they are seen.
ROWS = [
    re.findall('``(.+?)``', re.sub(r'\(``.+?``\)', '', ' '.join(row.split())))
    for row in re.findall(
        r'^   \* - (``.*?)\n     - ', PAGE.read_text(encoding='utf-8'),
        re.M | re.S)]

DEADLINE = 60

#: What a trouble yields for a literal of its row that is a call or a command,
#: and says nothing.
A_CALL = object()

KILLS = '''
import os

from lovely.remotetask.task import task


@task
def kill(input):
    os.kill(os.getpid(), 9)
'''


class OldJob(Job):
    """A class that only this process has."""


class World:
    """An application with its database on a ZEO server."""

    def __init__(self, place, remotetask, forks, environ, log):
        self.place, self.log, self._forks = place, log, forks
        self._remotetask, self._environ = remotetask, environ
        address, self._stop = ZEO.server(
            str(place / 'Data.fs'), port=('127.0.0.1', 0))
        self.uri = 'zeo://{}:{}'.format(*address)
        self._database = ZEO.DB(address)
        self._connection = self._database.open()
        self.service = make_service(self._connection.root(), 'tasks')
        transaction.commit()
        self.release = threading.Event()
        self.holds = threading.Event()
        self.processes = []
        self.task(self.hold)

    def hold(self, input):
        self.holds.set()
        assert self.release.wait(DEADLINE)

    def task(self, function, name=None, **options):
        provideUtility(FunctionTask(function, **options), ITask,
                       name or function.__name__)

    def add(self, *args, **options):
        jobid = self.service.add(*args, **options)
        transaction.commit()
        return jobid

    def start(self):
        self.service.startProcessing()

    def says(self, *command):
        """What a command of the command line prints, on one line."""
        done = self._remotetask(*command, '--db', self.uri)
        return ' '.join((done.stdout + done.stderr).split())

    def show(self, jobid):
        return self.says('show', jobid)

    def worker(self, *options, uri=None, **environ):
        """A process that runs jobs; its log is in a file."""
        with open(self.place / 'worker.log', 'a') as file:
            process = self._forks.start(
                ['worker', '--db', uri or self.uri, *options],
                self._environ | environ, self.place, stdout=file, stderr=file)
        self.processes.append(process)
        return process

    def logged(self):
        """What workers have logged: of this process, and of others."""
        file = self.place / 'worker.log'
        return '\n'.join(self.log) + (
            file.read_text() if file.exists() else '')

    def until(self, condition):
        """Wait until something true can be seen."""
        deadline, pause = time.monotonic() + DEADLINE, threading.Event()
        while not (found := condition()):
            assert time.monotonic() < deadline, self.logged()
            pause.wait(0.05)
            transaction.abort()
        return found

    def ends(self, jobid):
        return self.service.waitFor(jobid, DEADLINE)

    def close(self):
        self.release.set()
        transaction.abort()
        self.service.stopProcessing(wait=DEADLINE)
        for process in self.processes:
            process.kill()
            process.wait(DEADLINE)
        self._connection.close()
        self._database.close()
        self._stop()


@pytest.fixture
def world(tmp_path, remotetask, forks, environ, log):
    cleanUp()
    world = World(tmp_path, remotetask, forks, environ, log)
    yield world
    world.close()
    cleanUp()


def not_committed(world):
    jobid = world.service.add('hold')
    transaction.abort()
    yield world.show(jobid)


def no_task(world):
    with pytest.raises(ValueError) as refused:
        world.service.add('nothing')
    yield str(refused.value)


def key(world):
    jobid = world.add('hold', key='once')
    assert world.add('hold', key='once') == jobid
    yield world.show(jobid)
    yield A_CALL


def schedule_paused(world):
    jobid = world.service.addCronJob('hold', hour=(3,), enabled=False)
    transaction.commit()
    yield world.show(jobid)
    world.service.resumeCronJob(jobid)
    transaction.commit()
    assert 'scheduledAt:' in world.show(jobid)


def paused(world):
    world.start()
    world.service.pause()
    jobid = world.add('hold')
    yield world.says('stats')
    assert world.service.getStatus(jobid) == 'queued'
    world.says('resume')
    assert world.holds.wait(DEADLINE)


def queue_paused(world):
    jobid = world.add('hold', queue='slow')
    world.service.pause(queue='slow')
    transaction.commit()
    queues = world.says('queues')
    yield queues
    yield queues
    world.start()
    assert 'resumed' in world.says('resume', '--queue', 'slow')
    world.release.set()
    assert world.ends(jobid).status == 'completed'


def queue_without_worker(world):
    jobid = world.add('hold', queue='slow')
    worker = world.worker('--not-queue', 'slow')
    world.until(lambda: world.service.listWorkers())
    yield world.show(jobid)
    worker.terminate()
    worker.wait(DEADLINE)
    world.release.set()
    world.start()
    assert world.ends(jobid).status == 'completed'


def barred(world):
    world.task(world.hold, 'one', limit=1)
    world.service.processorArguments = {'waitTime': 0.1, 'maxThreads': 2}
    world.service.processorFactory = MultiProcessor
    jobs = [world.add('one'), world.add('one')]
    world.start()
    assert world.holds.wait(DEADLINE)
    world.until(lambda: len(world.service.jobqueue.barred))
    yield world.show(jobs[1])
    limits = world.says('limits')
    # The command has no tasks.
    assert re.search(r'task one \? \? the code 1 1', limits), limits
    world.release.set()
    assert world.ends(jobs[1]).status == 'completed'


def no_worker(world):
    world.add('hold')
    yield world.says('stats')
    world.start()
    assert world.holds.wait(DEADLINE)


def no_code(world):
    world.worker()
    yield world.until(lambda: 'ready' in world.logged() and world.logged())


def missing_task(world):
    world.task(len, 'len')
    jobid = world.add('len', 'abc')
    world.worker(LOVELY_REMOTETASK_MISSING_FIRST='0.1')
    yield world.until(lambda: (said := world.show(jobid)) and
                      'TaskMissing' in said and said)
    yield world.until(lambda: (said := world.says('workers')) and
                      'lacks' in said and said)
    world.start()
    assert world.ends(jobid).output == 3


def another_worker(world):
    world.task(len, 'len')
    world.add('len', 'abc', runAs='pyramid: anna')
    world.start()
    yield world.until(lambda: 'left' in world.logged() and world.logged())


def rests(world):
    @world.task
    def mail(input):
        if not tried:
            tried.append(True)
            raise RetryLater(3600, reason='the server is full')

    tried = []
    jobid = world.add('mail')
    world.start()
    said = world.until(lambda: (said := world.show(jobid)) and
                       'waitsFor' in said and said)
    yield said
    yield said
    world.says('retry', jobid)
    assert world.ends(jobid).status == 'completed'


def all_busy(world):
    first, second = world.add('hold'), world.add('hold')
    world.start()
    assert world.holds.wait(DEADLINE)
    yield world.until(lambda: (said := world.says('workers')) and
                      'runs for' in said and said)
    transaction.abort()
    assert {world.service.getStatus(first), world.service.getStatus(second)
            } == {'processing', 'queued'}


def nowhere(world):
    jobid = world.add('hold')
    position = world.service.jobs[jobid].position
    world.service.jobqueue.discard(position, jobid)
    transaction.commit()
    yield world.says('check')
    world.says('check', '--repair')
    world.start()
    assert world.holds.wait(DEADLINE)


def delayed(world):
    yield world.show(world.add('hold', delay=3600))


def scheduled(world):
    jobid = world.service.addCronJob('hold', hour=(3,))
    transaction.commit()
    said = world.show(jobid)
    assert 'scheduledAt:' in said
    yield said


def start_later(world):
    jobid = world.add('hold', startLater=True)
    world.start()
    yield world.show(jobid)
    assert world.service.startJob(jobid)
    transaction.commit()
    assert world.holds.wait(DEADLINE)


def processing(world):
    jobid = world.add('hold')
    world.start()
    assert world.holds.wait(DEADLINE)
    yield world.show(jobid)
    yield A_CALL
    assert f'job {jobid} of hold' in world.says('workers')
    world.says('cancel', jobid)
    world.release.set()
    transaction.abort()
    assert world.service.getStatus(jobid) == 'cancelled'


def stuck(world):
    jobid = world.add('hold')
    world.start()
    assert world.holds.wait(DEADLINE)
    world.says('cancel', jobid)
    yield world.until(lambda: (said := world.says('workers')) and
                      'stuck' in said and said)


def killed(world):
    (world.place / 'kills.py').write_text(KILLS)
    world.task(len, 'kill')
    world.add('kill')
    assert world.worker('--tasks', 'kills').wait(DEADLINE) == -9
    world.worker('--tasks', 'kills')
    yield world.until(lambda: 'is gone' in world.logged() and world.logged())


def failed(world):
    @world.task
    def resize(input):
        raise TaskError('no picture')

    jobid = world.add('resize')
    world.start()
    world.ends(jobid)
    said = world.show(jobid)
    assert 'Traceback' in said
    yield said
    assert 'queued' in world.says('retry', jobid)


def over_limit(world):
    world.task(lambda input: pause.wait(0.2), 'slow', timeout=0.01)
    pause = threading.Event()
    jobid = world.add('slow')
    world.start()
    world.ends(jobid)
    yield world.show(jobid)


def conflicts(world):
    def conflict(input):
        raise ConflictError

    world.task(conflict)
    jobid = world.add('conflict')
    settings.CONFLICTS, before = 10, settings.CONFLICTS
    try:
        world.start()
        world.ends(jobid)
    finally:
        settings.CONFLICTS = before
    yield world.show(jobid)


def poison(world):
    (world.place / 'kills.py').write_text(KILLS)
    world.task(len, 'kill')
    jobid = world.add('kill')
    once = {'LOVELY_REMOTETASK_POISON': '1'}
    assert world.worker('--tasks', 'kills', **once).wait(DEADLINE) == -9
    world.worker('--tasks', 'kills', **once)
    world.ends(jobid)
    yield world.show(jobid)


def cancelled(world):
    jobid = world.add('hold')
    world.says('cancel', jobid)
    yield world.show(jobid)


def unknown(world):
    yield world.show(world.add('hold', jobClass=OldJob))


def in_use(world):
    path = world.place / 'alone.fs'
    database = ZODB.DB(str(path))
    world.worker(uri=f'file://{path}').wait(DEADLINE)
    database.close()
    yield world.logged()


def no_place(world):
    with pytest.raises(ConfigurationError) as refused:
        TaskService().startProcessing()
    yield str(refused.value)


#: One for each row, in the order of the page.  Each yields what is seen: of
#: several literals of a row, one after the other.
TRIED = [
    not_committed, no_task, key,
    schedule_paused, paused, queue_paused, queue_without_worker, barred,
    no_worker, no_code, missing_task,
    another_worker, rests, all_busy,
    nowhere,
    delayed, scheduled, start_later,
    processing, stuck, killed,
    failed, over_limit, conflicts, poison, cancelled, unknown,
    in_use, no_place]


@pytest.mark.parametrize(
    'literals, trouble', list(zip(ROWS, TRIED, strict=True)),
    ids=[trouble.__name__ for trouble in TRIED])
def test_row(world, literals, trouble):
    seen = list(trouble(world))
    for literal, text in zip(literals, seen, strict=True):
        # A call that the row names says nothing.
        if text is not A_CALL:
            assert literal in ' '.join(text.split())
    assert [text for text in seen if text is not A_CALL]
