"""Jobs that were kept for long enough are removed beside busy workers."""

import threading

import pytest
from ZODB.POSException import ConflictError

from lovely.remotetask.run.pruner import Pruner
from lovely.remotetask.store import cleaning
from lovely.remotetask.store import pruning
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import TaskError


@pytest.fixture
def work(world, register):
    def work(service, jobid, input):
        world.effect(service, jobid)

    register(FunctionTask(work), 'work')


def test_a_busy_service_does_not_grow(world, register, monkeypatch):
    """Each job runs once: no removal undoes a run."""
    monkeypatch.setattr(pruning, '_OPEN_SECONDS', 0.0)
    calls = []
    register(FunctionTask(lambda service, jobid, input: calls.append(jobid)),
             'work')
    world.do(lambda service: service.setRetention('completed', count=10))
    workers = [world.start().processor.worker for _ in range(2)]
    world.until(lambda service: len(service.listWorkers()) == 2)
    over, pruners = threading.Event(), [Pruner(one) for one in workers]

    def prune():
        # With a breath, as the thread that does it takes one.
        while not over.wait(0.01):
            for one in pruners:
                one.step()

    thread = threading.Thread(target=prune)
    thread.start()
    ids = []
    try:
        for _ in range(10):
            ids += world.do(lambda service: service.addMany(
                'work', range(20)))
        world.until(lambda service: service.jobqueue.stats(
            service.clock.now())['queued'] == 0 and len(service.jobs) <= 10,
            seconds=90)
    finally:
        over.set()
        thread.join(30)
    # But for a claim in the commit of a run: see guarantees.rst.
    assert set(calls) == set(ids)
    assert len(calls) - len(ids) <= sum(
        one.sharedConflicts for one in workers)
    # Exactly the newest are left, and all are counted.
    assert world.see(lambda service: sum(
        service.jobqueue.total(number, 'completed')
        for number in service.jobqueue.slots)) == 200
    assert sorted(one.removed for one in pruners) == [0, 190]
    assert sum(one.conflicts for one in pruners) <= 2


@pytest.fixture
def pruner(world, monkeypatch):
    # What has just ended is not left to a thread.
    monkeypatch.setattr(cleaning, '_BUSY_SECONDS', 0.0)
    worker = world.processor().worker
    worker.enroll(LOOP, 1)
    return Pruner(worker)


@pytest.mark.usefixtures('work')
def test_a_look_that_finds_nothing_commits_nothing(world, pruner):
    world.do(lambda service: service.addMany('work', range(20)))
    world.drain()
    before = world.see(lambda service: service._p_jar.db().lastTransaction())
    assert pruner.step() is False
    assert before == world.see(
        lambda service: service._p_jar.db().lastTransaction())


@pytest.mark.usefixtures('work')
def test_a_retry_at_the_same_moment_is_not_lost(world, pruner, meanwhile,
                                                register, monkeypatch):
    """Either the job is there and waits, or the retry has conflicted."""
    monkeypatch.setattr(pruning, '_OPEN_SECONDS', 0.0)
    @register
    def fails(input):
        raise TaskError('no')

    jobid = world.add('fails')
    world.drain()
    world.do(lambda service: service.setRetention('error', count=1))
    world.add('fails')
    world.drain()
    other = meanwhile()
    other.service.retryJob(jobid)
    while pruner.step():
        pass
    assert pruner.removed == 1
    with pytest.raises((ConflictError, KeyError)):
        other.commit()


@pytest.mark.usefixtures('work')
def test_an_add_at_the_same_moment_is_not_undone(world, pruner, meanwhile):
    """The request of a user adds a job beside those that are removed."""
    world.do(lambda service: service.setRetention('completed', count=1))
    other = meanwhile()
    other.service.addMany('work', range(6))
    other.commit()
    # It was another process that has added them.
    world.until(lambda service: len(service.jobs) == 6)
    assert world.drain() == 6
    other.service.stats()
    more = other.service.add('work')
    while pruner.step():
        pass
    # The first one of a block stays for a while; there may be two.
    assert pruner.removed >= 3
    other.commit()
    world.until(lambda service: more in service.jobs)
    world.drain()
    assert world.until_over(more) == ['completed']


@pytest.mark.usefixtures('work')
def test_a_run_that_ends_at_the_same_moment_is_not_undone(world, pruner):
    """The thread of the slot ends a job between snapshot and commit."""
    world.do(lambda service: service.setRetention('completed', count=1))
    world.do(lambda service: service.addMany('work', range(40)))
    processor = world.processor()
    while processor.processNext():
        pass
    jobid = world.add('work')
    claim = processor.worker.claim()
    step, met = pruning.step, []

    def slow(*arguments, **options):
        done = step(*arguments, **options)
        if not met:
            met.append(1)
            thread = threading.Thread(
                target=processor.worker.run, args=(claim,))
            thread.start()
            thread.join(30)
        return done

    pruning.step = slow
    try:
        while pruner.step():
            pass
    finally:
        pruning.step = step
    assert met and world.status(jobid) == 'completed'
    assert world.effects()[jobid] == 1
    assert not processor.worker.executor.run_times.reruns
