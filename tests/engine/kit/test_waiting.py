"""waitFor: until a job is over, wherever it runs."""

import pickle
import threading
import time

import pytest
import transaction
from zope.component import provideUtility

from lovely.remotetask.errors import WaitTimeout
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.service import waiting
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


@pytest.fixture
def task(world):
    def task(function, **options):
        provideUtility(FunctionTask(function, **options), ITask, 'task')

    return task


@pytest.fixture(params=[False, True], ids=['implicit', 'explicit'])
def mine(request, world):
    """The service as its caller has it, in a transaction that is open.

    As scripts have them, and as pyramid_tm has them.
    """
    manager = transaction.TransactionManager(explicit=request.param)
    manager.begin()
    connection = world.db.open(manager)
    yield world.service(connection)
    manager.abort()
    connection.close()


@pytest.fixture
def held(world, task):
    """``held(database)`` starts a thread, whose jobs end once ``set()``."""
    release = threading.Event()

    def work(service, jobid, input):
        assert release.wait(DEADLINE)
        world.effect(service, 'seen')
        if input == 'fail':
            raise ValueError('it failed')
        return [input]

    task(work, retry=NO_RETRY)
    yield release
    release.set()


def release_while_waiting(release, monkeypatch):
    """Let the jobs end once the caller has looked, and found them not over.
    """
    look = waiting._look

    def then_release(*arguments):
        found = look(*arguments)
        release.set()
        return found

    monkeypatch.setattr(waiting, '_look', then_release)


@pytest.mark.parametrize('input, status', [
    ('x', 'completed'), ('fail', 'error')])
def test_the_end_in_another_process_is_seen(
        world, mine, held, monkeypatch, input, status):
    jobid = world.add('task', input)
    mine._p_jar.transaction_manager.abort()
    mine._p_jar.transaction_manager.begin()
    assert mine.getStatus(jobid) == 'queued'
    world.start(world.other())
    release_while_waiting(held, monkeypatch)
    job = mine.waitFor(jobid, DEADLINE)
    assert (job.id, job.status) == (jobid, status)
    assert job is mine.jobs[jobid]
    # What the task wrote is seen as well.
    folder = mine.__parent__
    assert dict(folder['effects']) == (
        {'seen': 1} if status == 'completed' else {})
    if status == 'completed':
        assert job.output == ['x']
    else:
        assert 'it failed' in str(job.error)


def test_a_commit_of_another_process_wakes_it(
        zeo, mine, held, monkeypatch):
    monkeypatch.setattr(waiting, '_PAUSE_FIRST', 3600.0)
    monkeypatch.setattr(waiting, '_PAUSE_LAST', 3600.0)
    jobid = zeo.add('task', 'x')
    zeo.start(zeo.other())
    release_while_waiting(held, monkeypatch)
    began = time.monotonic()
    assert mine.waitFor(jobid, DEADLINE).status == 'completed'
    # At the deadline it looks once more, without having been woken.
    assert time.monotonic() - began < DEADLINE / 2


def test_the_time_is_up(world, mine, held, monkeypatch):
    jobid = world.add('task', 'x')
    looks = []
    look = waiting._look

    def counted(*arguments):
        looks.append(arguments)
        return look(*arguments)

    monkeypatch.setattr(waiting, '_look', counted)
    with pytest.raises(WaitTimeout) as caught:
        mine.waitFor(jobid, 0.3)
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value).startswith(
        f"job {jobid} is still 'queued' after 0.3 seconds, and goes on")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    # At 0, 0.05, 0.15 and 0.3 s.
    assert 2 <= len(looks) <= 5
    assert world.status(jobid) == 'queued'
