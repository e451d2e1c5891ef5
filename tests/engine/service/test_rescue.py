"""What becomes of jobs whose worker is gone, and of workers that are not."""

import subprocess
import sys
import threading

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import monitor

DEADLINE = 20

# A process that claims jobs, and is killed without a word.
CLAIMS = '''
import os, signal, sys
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import provideUtility
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import EchoTask
provideUtility(EchoTask(), ITask, 'echo')
processor = SimpleProcessor(DB(FileStorage(sys.argv[1])), ['tasks'])
assert processor.claimNextJob() is not None
os.kill(os.getpid(), signal.SIGKILL)
'''


# A process whose workers have left databases, which it has closed.  Python
# 3.11 itself keeps one of them.
LEAVES = '''
import gc, threading, weakref
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component import provideUtility
from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import monitor
from lovely.remotetask.task import EchoTask

def use():
    database = DB(MappingStorage())
    with database.transaction() as connection:
        service = connection.root()['tasks'] = TaskService()
        service.add('echo')
    processor = SimpleProcessor(database, ['tasks'])
    monitor.watch(processor.worker)
    assert processor.processNext() is True
    monitor.unwatch(processor.worker)
    database.close()
    return weakref.ref(database)

provideUtility(EchoTask(), ITask, 'echo')
gone = [use() for _ in range(4)]
for thread in threading.enumerate():
    if thread.name == 'remotetask-monitor':
        thread.join(10)
gc.collect()
print(sum(database() is not None for database in gone) <= 1)
'''


@pytest.fixture
def killed(application, tmp_path):
    """Claims a job in a process that is killed; opens the database anew."""
    def killed():
        transaction.abort()
        application.connection.close()
        application.db.close()
        path = str(tmp_path / 'Data.fs')
        done = subprocess.run([sys.executable, '-c', CLAIMS, path],
                              capture_output=True, text=True)
        assert done.returncode == -9, done.stderr
        application.db = DB(FileStorage(path))
        application.connection = application.db.open()
        application.root = application.connection.root()['Application']
        return application.root['tasks']

    return killed


def test_the_next_opener_runs_what_a_killed_process_had_claimed(
        application, service, register, killed, wait_for, log):
    register(lambda input: input, 'echo')
    jobid = service.add('echo', 'x')
    transaction.commit()
    service = killed()
    assert service.getStatus(jobid) == 'processing'
    service.startProcessing()
    wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    transaction.begin()
    assert service.jobs[jobid].interruptions == 1
    assert service.jobs[jobid].attempts == 2
    assert len(log) == 1 and 'is gone; its jobs run again' in log[0]
    assert service.listWorkers() == []


def test_a_job_that_kills_its_worker_ends_as_poison(
        application, service, register, killed, wait_for, log):
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    transaction.commit()
    for number in range(1, 6):
        service = killed()
        worker = SimpleProcessor(application.db, ['tasks']).worker
        monitor.watch(worker)
        monitor.unwatch(worker)
        transaction.begin()
        assert service.jobs[jobid].interruptions == number
    assert service.getStatus(jobid) == 'error'
    # Not to the log of the worker: it had no time to write any.
    assert service.getError(jobid) == (
        'poison: its worker died 5 times while the job ran; find out what '
        'ends the process (memory, a C library, os._exit), then retry the '
        'job')
    # The log tells those that run again from the one that does not.
    assert ['its jobs run again' in line for line in log] == [True] * 4 + [
        False]
    assert log[4].startswith(
        f"ERROR Job {jobid} (task 'echo', attempt 5, worker ")
    assert 'died 5 times' in log[4] and log[4].endswith('; this is final')
    # Its cause may have been found.
    service.retryJob(jobid)
    service.process()
    assert service.getStatus(jobid) == 'completed'


def test_what_was_claimed_by_hand_comes_back(
        application, service, register, log):
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    assert service.claimNextJob() == jobid
    transaction.commit()

    class Later:
        def now(self):
            return service.jobs[jobid].startedAt.timestamp() + 601

    worker = SimpleProcessor(application.db, ['tasks']).worker
    monitor.watch(worker)
    monitor.unwatch(worker)
    transaction.begin()
    assert service.getStatus(jobid) == 'processing'
    type(service).clock, before = Later(), type(service).clock
    try:
        monitor.watch(worker)
        monitor.unwatch(worker)
    finally:
        type(service).clock = before
    transaction.begin()
    assert service.getStatus(jobid) == 'queued'
    assert service.jobs[jobid].interruptions == 0


def test_a_claim_without_a_thread_is_found(
        application, service, register, log):
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    transaction.commit()
    worker = SimpleProcessor(application.db, ['tasks']).worker
    claim = worker.claim()
    assert claim.jobid == jobid
    worker.active.clear()               # as if its thread had vanished
    monitor.watch(worker)
    watching = monitor._monitors[application.db]
    watching.look(worker)
    monitor.unwatch(worker)
    transaction.begin()
    assert service.getStatus(jobid) == 'queued'
    assert service.jobs[jobid].interruptions == 1


def test_an_application_may_close_its_database_then(
        application, service, monkeypatch):
    """What a monitor has begun, it ends before its worker has left."""
    transaction.commit()
    worker = SimpleProcessor(application.db, ['tasks']).worker
    begun, go, happened = threading.Event(), threading.Event(), []
    monitor.watch(worker)

    def look(worker):
        begun.set()
        assert go.wait(DEADLINE)
        happened.append('looked')

    watching = monitor._monitors[application.db]
    monkeypatch.setattr(watching, 'look', look)
    watching._changed.set()
    assert begun.wait(DEADLINE)

    def leave():
        monitor.unwatch(worker)
        happened.append('left')

    thread = threading.Thread(target=leave)
    thread.start()
    go.set()
    thread.join(DEADLINE)
    assert happened == ['looked', 'left']


def test_nothing_keeps_a_database_whose_workers_have_left():
    """Nor its threads and sessions: an application may open many.

    In a process of its own: here, parts of other tests keep some for a while.
    """
    result = subprocess.run([sys.executable, '-c', LEAVES],
                            capture_output=True, text=True, timeout=DEADLINE)
    assert (result.stdout, result.stderr) == ('True\n', '')


