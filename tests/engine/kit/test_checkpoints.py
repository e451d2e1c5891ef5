"""A checkpoint is one commit of effects and cursor, under the claim's guard.
"""

import threading

import pytest

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


def state(world, jobid):
    """What other processes see: effects, cursor, status."""
    def look(service):
        job = service.jobs[jobid]
        record = job.checkpoint
        return record and record.cursor(), job.status

    return (world.effects(), *world.see(look))


@pytest.fixture
def walk(world, register):
    """A task that has an effect for each item, and a checkpoint after it.

    Attributes: ``begun``, the items in the order of their begins; ``after``,
    item -> what is called once its checkpoint is committed; ``amid``, the same
    before that.
    """
    class Walk:
        def __init__(self):
            self.begun, self.after, self.amid = [], {}, {}

    walk = Walk()

    @register
    def walks(most):
        job = currentJob()
        for item in range(job.cursor or 0, most):
            walk.begun.append(item)
            world.effect(job.service, f'item {item}')
            walk.amid.pop(item, lambda: None)()
            job.checkpoint(item + 1)
            walk.after.pop(item, lambda: None)()
        return job.cursor

    return walk


def once(*items):
    return {f'item {item}': 1 for item in items}


def test_others_see_effects_and_cursor_at_once_and_the_end_drops_the_cursor(
        world, walk):
    seen = []
    jobid = world.add('walks', 3)
    walk.after = {item: lambda: seen.append(state(world, jobid))
                  for item in range(3)}
    assert world.drain() == 1
    assert seen == [
        (once(0), 1, 'processing'), (once(0, 1), 2, 'processing'),
        (once(0, 1, 2), 3, 'processing')]
    assert state(world, jobid) == (once(0, 1, 2), None, 'completed')
    assert world.see(lambda service: service.getResult(jobid)) == 3


def test_what_was_not_committed_is_gone_and_an_interrupted_job_goes_on(
        world, walk):
    """The worker was taken for dead amid an item; it can commit no more."""
    raised = []
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    jobid = world.add('walks', 4)

    def dies():
        world.dies(worker)
        raised.append(state(world, jobid))

    walk.amid[2] = dies
    worker.run(worker.claim())
    assert raised == [(once(0, 1), 2, 'queued')]
    assert state(world, jobid) == (once(0, 1), 2, 'queued')
    assert world.see(lambda service: service.jobs[jobid].interruptions) == 1
    assert world.drain() == 1
    assert walk.begun == [0, 1, 2, 2, 3]
    assert state(world, jobid) == (once(0, 1, 2, 3), None, 'completed')


@pytest.mark.parametrize('act', ['dies', 'cancelled'])
@pytest.mark.parametrize('first', [True, False])
def test_a_checkpoint_of_a_lost_job_raises_and_commits_nothing(
        world, register, act, first):
    """Also the first one, which writes the Job."""
    raised = []
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)

    @register
    def walks(input):
        job = currentJob()
        if not first:
            world.effect(job.service, 'before')
            job.checkpoint('before')
        world.effect(job.service, 'lost')
        if act == 'dies':
            world.dies(worker)
        else:
            world.do(lambda service: service.cancel(job.id))
        for _ in range(2):
            # A task that goes on, in spite of it, gets no further.
            with pytest.raises(LeaseLost) as info:
                job.checkpoint('lost')
            raised.append(info.value)

    jobid = world.add('walks')
    worker.run(worker.claim())
    assert len(raised) == 2
    effects, cursor, status = state(world, jobid)
    assert status == {'dies': 'queued', 'cancelled': 'cancelled'}[act]
    assert (effects, cursor) == (
        ({}, None) if first else ({'before': 1}, 'before'))


def test_a_job_that_was_cancelled_goes_on_once_it_is_retried(world, walk):
    jobid = world.add('walks', 3)
    walk.after[1] = lambda: world.do(lambda service: service.cancel(jobid))
    world.drain()
    assert state(world, jobid) == (once(0, 1), 2, 'cancelled')
    world.do(lambda service: service.retryJob(jobid))
    world.drain()
    assert state(world, jobid) == (once(0, 1, 2), None, 'completed')
    assert walk.begun == [0, 1, 2, 2]


def test_a_conflict_runs_the_job_again_from_the_latest_checkpoint(
        world, walk):
    def interfere():
        world.do(lambda service: world.effect(service, 'item 2'))

    jobid = world.add('walks', 4)
    walk.amid[2] = interfere
    assert world.drain() == 1
    # The other transaction's, and ours upon it.
    assert state(world, jobid) == (
        {**once(0, 1, 3), 'item 2': 2}, None, 'completed')
    assert walk.begun == [0, 1, 2, 2, 3]
    assert world.see(lambda service: service.jobs[jobid].attempts) == 1


def test_more_conflicts_than_a_job_may_have_with_checkpoints_between(
        world, walk):
    """In a row are those between which nothing was committed."""
    def interfere(item):
        return lambda: world.do(
            lambda service: world.effect(service, f'item {item}'))

    most = 25
    walk.amid = {item: interfere(item) for item in range(most)}
    jobid = world.add('walks', most)
    # No round of ten conflicts: the job never waits.
    assert world.drain() == 1
    assert world.status(jobid) == 'completed'
    assert walk.begun == sorted([*range(most), *range(most)])


def test_jobs_that_a_task_adds_are_there_with_its_checkpoint(world, register):
    ran = []

    @register
    def follows(input):
        ran.append(input)

    def adds(service, jobid, input):
        job = currentJob()
        for item in range(job.cursor or 0, 3):
            service.add('follows', item)
            job.checkpoint(item + 1)
        if job.attempt == 1:
            service.add('follows', 'lost')
            raise ValueError('the first attempt')

    register(FunctionTask(adds, retry=RetryPolicy(1, base=0)), 'adds')
    jobid = world.add('adds')
    assert world.drain() == 2 + 3
    assert world.status(jobid) == 'completed'
    assert sorted(ran) == [0, 1, 2]


def test_a_step_is_called_once_however_its_job_is_interrupted(
        world, register):
    calls, results = [], []
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)

    def load(name, size=1):
        calls.append(name)
        world.effect(currentJob().service, name)
        return {'rows': [name] * size}

    @register
    def works(input):
        job = currentJob()
        results.append(job.step('first', load, 'first', size=2))
        if worker.active:
            world.effect(job.service, 'lost')
            world.dies(worker)
        results.append(job.step('second', load, 'second'))
        return len(results)

    jobid = world.add('works')
    worker.run(worker.claim())
    assert state(world, jobid)[0] == {'first': 1}
    assert world.drain() == 1
    first, second = {'rows': ['first'] * 2}, {'rows': ['second']}
    assert results == [first, first, second]
    assert calls == ['first', 'second', 'second']
    assert state(world, jobid) == (
        {'first': 1, 'second': 1}, None, 'completed')


def test_two_long_jobs_do_not_disturb_each_other_nor_those_that_add(
        world, register):
    """No other transaction writes what a checkpoint writes."""
    met, begun = threading.Barrier(2), []

    @register
    def walks(name):
        job = currentJob()
        begun.append(name)
        if begun.count(name) == 1:
            met.wait(DEADLINE)
        for item in range(job.cursor or 0, 20):
            job.step(f'{item}', str, item)
            job.checkpoint(item + 1)
        return job.cursor

    register(lambda input: None, 'other')
    jobs = [world.add('walks', name) for name in 'ab']
    world.start()
    world.start(world.other())
    for _ in range(20):
        world.add('other')
    assert world.until_over(*jobs) == ['completed'] * 2
    assert sorted(begun) == ['a', 'b'], 'a conflict has run them again'
