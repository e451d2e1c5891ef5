"""A full disk, and clocks that jump."""

import errno
import os
import sys
import threading
import time

import pytest
import transaction
import zope.component
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import RetryPolicy

DEADLINE = 30


class Full:
    """Makes the storage's file refuse, as a full disk does.

    Injected, because a size-limited file system needs rights to mount one:
    ENOSPC at write (in tpc_vote) or at fsync (in tpc_finish).
    """

    def __init__(self, storage, monkeypatch):
        self.refuse = None
        self.refused = 0
        file = storage._file
        full = self

        class File:
            def write(self, data):
                full.check('write')
                return file.write(data)

            def __getattr__(self, name):
                return getattr(file, name)

        monkeypatch.setattr(storage, '_file', File())
        original = os.fsync

        def fsync(number):
            full.check('fsync')
            return original(number)

        # The package hides its module behind the class of the same name.
        monkeypatch.setattr(
            sys.modules['ZODB.FileStorage.FileStorage'], 'fsync', fsync)

    def check(self, what):
        if self.refuse == what:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Transfer:
    """Moves 1 from one account to another, and says that it ran."""

    inputSchema = outputSchema = None
    retry = RetryPolicy(retries=5, base=0.01)

    def __init__(self):
        self.ran = threading.Semaphore(0)
        self.before_commit = lambda: None

    def __call__(self, service, jobid, input):
        root = service._p_jar.root()['Application']
        root.a, root.b = root.a - 1, root.b + 1
        self.before_commit()
        self.ran.release()


@pytest.fixture
def transfer(application, service):
    application.root.a, application.root.b = 100, 0
    task = Transfer()
    zope.component.provideUtility(task, ITask, 'transfer')
    transaction.commit()
    return task


def test_a_disk_that_is_full_for_a_while(
        application, service, transfer, wait_for, monkeypatch):
    full = Full(application.db.storage, monkeypatch)
    jobs = [service.add('transfer') for _ in range(3)]
    transaction.commit()

    def once():
        # The claim is stored; this run's own commit will not be.
        transfer.before_commit = lambda: None
        full.refuse = 'write'

    transfer.before_commit = once
    service.startProcessing()
    assert transfer.ran.acquire(timeout=DEADLINE)
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    # The finish, and storing that it failed, were refused.
    while full.refused < 3:
        assert time.monotonic() < deadline, full.refused
        pause.wait(0.01)
    full.refuse = None
    for jobid in jobs:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    transaction.begin()
    assert (application.root.a, application.root.b) == (97, 3)
    assert service.stats()['completed'] == 3


def test_a_disk_that_fails_when_it_is_too_late(
        application, service, transfer, tmp_path, monkeypatch):
    """FileStorage closes itself then; whoever opens it next goes on."""
    full = Full(application.db.storage, monkeypatch)
    jobs = [service.add('transfer') for _ in range(3)]
    transaction.commit()

    def once():
        transfer.before_commit = lambda: None
        full.refuse = 'fsync'

    transfer.before_commit = once
    service.startProcessing()
    assert transfer.ran.acquire(timeout=DEADLINE)
    service.stopProcessing(wait=DEADLINE)
    assert full.refused
    full.refuse = None
    application.connection.close()
    application.db = DB(FileStorage(str(tmp_path / 'Data.fs')))
    application.connection = application.db.open()
    application.root = application.connection.root()['Application']
    again = application.root['tasks']
    again.startProcessing()
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while again.stats()['completed'] < 3:
        assert time.monotonic() < deadline, again.stats()
        pause.wait(0.01)
        transaction.begin()
    again.stopProcessing(wait=None)
    transaction.begin()
    assert [again.getStatus(jobid) for jobid in jobs] == ['completed'] * 3
    assert (application.root.a, application.root.b) == (97, 3)


def test_an_add_on_a_full_disk_leaves_nothing(
        application, service, transfer, monkeypatch):
    full = Full(application.db.storage, monkeypatch)
    full.refuse = 'write'
    service.add('transfer')
    with pytest.raises(OSError, match='space'):
        transaction.commit()
    transaction.abort()
    full.refuse = None
    assert len(service.jobs) == 0
    jobid = service.add('transfer')
    transaction.commit()
    service.process()
    transaction.commit()
    assert service.getStatus(jobid) == 'completed'


@pytest.mark.parametrize('jump', [-86400.0, 86400.0])
def test_a_clock_that_jumps_while_jobs_run(
        application, service, transfer, wait_for, monkeypatch, jump):
    original = time.time
    offset = [0.0]
    monkeypatch.setattr(time, 'time', lambda: original() + offset[0])

    def once():
        transfer.before_commit = lambda: None
        offset[0] = jump

    transfer.before_commit = once
    jobs = [service.add('transfer') for _ in range(5)]
    transaction.commit()
    service.startProcessing()
    assert transfer.ran.acquire(timeout=DEADLINE)
    # Added in the new time, before or behind those of the old one.
    jobs += [service.add('transfer') for _ in range(5)]
    transaction.commit()
    for jobid in jobs:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    transaction.begin()
    assert (application.root.a, application.root.b) == (90, 10)
    # Beats and graces are measured by another clock.
    assert service.listWorkers() == []


def test_a_scheduled_job_runs_once_however_the_clock_jumps(
        service, register, monkeypatch):
    calls = []
    register(lambda input: calls.append(input), 'note')
    original = time.time
    offset = [0.0]
    monkeypatch.setattr(time, 'time', lambda: original() + offset[0])
    delayed = service.add('note', 'delayed', delay=3600)
    daily = service.addCronJob('note', 'daily', hour=(3,))
    transaction.commit()
    for offset[0] in (-7200.0, 0.0, 3 * 86400.0, 0.0, 86400.0):
        service.process()
        transaction.commit()
    assert calls.count('delayed') == 1
    # Three missed days are one run, and going back repeats none.
    assert calls.count('daily') == 1
    assert service.getStatus(delayed) == 'completed'
    assert service.getStatus(daily) == 'cronjob'
