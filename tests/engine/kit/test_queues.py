"""Queues inside a service: jobs apart from those of the others."""

import threading

import pytest

from lovely.remotetask.errors import UsageError
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor

DEADLINE = 30


def test_a_worker_runs_the_jobs_of_its_queues_alone(world, ran):
    world.start(queues=['slow'])
    default = world.add('note', 1)
    slow = world.add('note', 2, queue='slow')
    other = world.add('note', 3, queue='other')
    assert world.until_over(slow) == ['completed']
    assert ran == [2]
    assert [world.status(jobid) for jobid in (default, other)] == [
        'queued', 'queued']
    world.start(world.other(), notQueues=['slow'])
    late = world.add('note', 4, queue='slow')
    assert world.until_over(default, other, late) == ['completed'] * 3


def test_a_worker_of_all_queues_runs_those_that_come(world, ran):
    world.start(factory=MultiProcessor, maxThreads=2)
    jobs = [world.add('note', number, queue=queue)
            for number, queue in enumerate(
                ['a', None, 'b', 'default', 'a', 'c'])]
    assert world.until_over(*jobs) == ['completed'] * 6
    counts = world.see(lambda service: service.jobqueue.counts())
    assert counts['ready'] == 0
    assert world.see(lambda service: list(service.jobqueue.named)) == [
        'a', 'b', 'c']
    assert world.see(lambda service: service.jobs[jobs[3]].queue) is None


def test_a_new_queue_wakes_an_idle_worker(world, ran, monkeypatch):
    monkeypatch.setattr('lovely.remotetask.settings.SAFETY_SECONDS', DEADLINE)
    world.start()
    world.until_over(world.add('note', 1))
    for number in range(3):
        jobid = world.add('note', number, queue='new')
        assert world.until_over(jobid) == ['completed']


def test_the_first_job_of_a_queue_may_come_later(world, ran):
    """There is no such queue until then, and its only worker looks at it."""
    world.start(queues=['slow'])
    world.until(lambda service: service.stats()['workers'] == 1)
    jobs = [world.add('note', 1, queue='slow', delay=0.1)]
    assert world.until_over(*jobs) == ['completed']
    world.do(lambda service: service.pause(queue='default'))
    world.start(world.other())
    jobs = [world.add('note', 2, queue='other', delay=0.1),
            world.do(lambda service: service.add(
                'note', 3, queue='third', delay=0.2))]
    assert world.until_over(*jobs) == ['completed'] * 2
    assert ran == [1, 2, 3]


def test_priorities_hold_between_queues(world, ran):
    jobs = [world.add('note', 1, queue='a'),
            world.add('note', 2, queue='b', priority=3),
            world.add('note', 3, priority=1),
            world.add('note', 4, queue='a', priority=2)]
    world.drain()
    assert world.until_over(*jobs) == ['completed'] * 4
    assert ran == [2, 4, 3, 1]


def test_a_backlog_of_one_queue_holds_up_no_other(world, held, ran):
    """Although the thread has more jobs of its own queue on its page."""
    world.do(lambda service: service.addMany(
        'note', range(200), queue='a'))
    jobid = world.add('note', 'first', queue='b', priority=1)
    thread = world.start()
    assert world.until_over(jobid) == ['completed']
    assert ran.index('first') < 100
    world.until(lambda service: service.stats()['completed'] == 201)
    assert thread.is_alive()
    assert world.see(lambda service: service.jobqueue.counts()['ready']) == 0


def test_a_thread_that_turns_to_another_queue_leaves_nothing(world, register):
    """Its page, and what it has left in the lanes, is of one queue alone."""
    ran = []
    turn = threading.Event()

    def note(input):
        ran.append(input)
        if input == 'last':
            turn.set()

    register(note)
    for number in range(40):
        queue = 'ab'[number // 10 % 2]
        world.add('note', number, queue=queue)
    world.add('note', 'last', priority=-1)
    world.start()
    assert turn.wait(DEADLINE)
    world.until(lambda service: service.stats()['completed'] == 41)
    world.stop()
    assert sorted(ran[:-1]) == list(range(40))

    def entries(service):
        return [list(ready.entries_up())
                for ready in service.jobqueue.all_ready()]

    assert world.see(entries) == [[], [], []]
    assert world.see(lambda service: [
        ready.count() for ready in service.jobqueue.all_ready()]) == [0, 0, 0]


def test_a_dead_worker_gives_back_to_each_queue(world, ran):
    jobs = [world.add('note', 1, queue='a'), world.add('note', 2, queue='b')]
    dead = world.processor().worker
    claims = [dead.claim(), dead.claim()]
    assert [claim.jobid for claim in claims] == jobs
    world.dies(dead)
    other = world.processor(queues=['b'])
    assert other.processNext() and not other.processNext()
    assert ran == [2]
    assert world.drain() == 1 and ran == [2, 1]


def test_jobs_wait_and_are_listed_in_each_queue(world, ran):
    jobs = [world.add('note', 1, queue='a'), world.add('note', 2),
            world.add('note', 3, queue='a', delay=1000)]

    def pages(service):
        found, cursor = service.listJobs(limit=1)
        ids = [job.id for job in found]
        while cursor is not None:
            found, cursor = service.listJobs(start=cursor, limit=1)
            ids += [job.id for job in found]
        return ids

    assert sorted(world.see(pages)) == sorted(jobs)
    assert world.see(lambda service: service.stats()['queued']) == 2
    world.do(lambda service: service.cancel(jobs[0]))
    assert world.see(lambda service: service.stats()['queued']) == 1
    world.do(lambda service: service.startNow(jobs[2]))
    assert world.processor(queues=['a']).processNext()
    assert ran == [3]


@pytest.mark.parametrize('options, named', [
    ({'queues': ['a.b']}, "queue is 'a.b'"),
    ({'queues': 'a'}, "'a' are no queues"),
    ({'queues': []}, 'serves no queue'),
    ({'queues': ['a'], 'notQueues': ['a']}, 'serves no queue'),
    ({'notQueues': [1]}, 'queue is 1'),
])
def test_queues_that_no_worker_can_have(world, options, named):
    with pytest.raises(UsageError, match=named):
        world.processor(factory=SimpleProcessor, **options)
