"""Several workers of one service, dead ones, and orderly ends.

tests/engine/kit has those that meet in commits.
"""

import threading
import time

import pytest

from lovely.remotetask import settings
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.run import threads
from lovely.remotetask.store.workers import LOOP

DEADLINE = 30


def test_a_thread_leaves_the_slots_of_a_new_id_alone(
        world, register, patient):
    """Its worker was taken for dead, lived, and goes on under a new id.

    The slot of the same number is another thread's then.  The first thread
    closed that thread's page: what it completed meanwhile was noted nowhere,
    and what it ran was in no claim.
    """
    worker = world.processor().worker
    worker.enroll(LOOP, 1)
    begun = []

    def page(service):
        # A copy: the serial of the record tells whether it was written.
        claims = service.jobqueue.slots[begun[0].slot].claims
        return claims.page(), claims._p_serial

    @register
    def quick(input):
        pass

    @register
    def reborn(input):
        world.dies(worker)
        worker.enroll()
        begun.extend(worker.claim_some())
        seen.append(world.see(page))

    seen = []
    # The first is claimed by itself, the second in the commit that ends the
    # first: the thread leaves its entry in the lane.
    for name in ('quick', 'reborn', 'quick', 'quick'):
        world.add(name)
    claims = worker.claim_some()
    worker.work(claims, lambda: True)
    assert begun[0].slot == claims[0].slot
    assert begun[0].token[0] == worker.identity.id != claims[0].token[0]
    assert seen == [world.see(page)]


def test_five_deaths_are_poison(world, ran):
    jobid = world.add('note', 1)
    for number in range(5):
        assert world.see(lambda service: (
            service.getStatus(jobid), service.jobs[jobid].interruptions)
            ) == ('queued', number)
        worker = world.processor().worker
        assert worker.claim().jobid == jobid
        world.dies(worker)
    assert world.see(lambda service: (
        service.getStatus(jobid), service.jobs[jobid].interruptions)
        ) == ('error', 5)
    assert 'poison' in world.see(lambda service: service.getError(jobid))
    assert world.drain() == 0 and ran == []
    # Its cause may have been found.
    world.do(lambda service: service.retryJob(jobid))
    assert world.drain() == 1 and len(ran) == 1
    assert world.status(jobid) == 'completed'


def test_a_pause_lets_nothing_start_and_what_runs_end(world, held, ran):
    running = world.add('hold')
    world.start(factory=MultiProcessor, maxThreads=2)
    held.wait()
    world.do(lambda service: service.pause())
    assert world.see(lambda service: service.stats()['paused']) is True
    waits = world.add('note', 1)
    held.go.set()
    assert world.until_over(running) == ['completed']
    assert world.processor().processNext() is False
    assert world.status(waits) == 'queued' and ran == []
    world.do(lambda service: service.resume())
    assert world.until_over(waits) == ['completed']
    assert world.see(lambda service: service.stats()['paused']) is False


def test_stats_tell_where_the_jobs_are(world, held, ran):
    held.go.clear()
    world.add('hold')
    world.start()
    held.wait()
    begun = time.time()
    world.add('note', 1)
    world.add('note', 2)
    world.add('note', 3, startLater=True)
    world.add('note', 4, delay=3600)
    world.do(lambda service: service.addCronJob('note', minute=(1,)))
    world.do(lambda service: service.cancel(service.add('note', 5)))
    stats = world.until(lambda service: service.stats())
    oldest = stats.pop('oldest')
    assert (stats.pop('completedPerMinute'), stats.pop('errorPerMinute')) == (
        0, 0)
    assert 0 <= oldest <= time.time() - begun + 1
    assert stats == {
        'queued': 2, 'processing': 1, 'scheduled': 2, 'start later': 1,
        'completed': 0, 'error': 0, 'cancelled': 1, 'workers': 1,
        'completedTotal': 0, 'errorTotal': 0, 'paused': False,
        'pausedBy': None, 'pausedAt': None, 'pauseReason': None,
        'resumeAt': None,
        'reruns': {}}
    listed = world.see(lambda service: [
        (job.status, job.input) for job in service.listJobs()[0]])
    # What runs or waits first, what is over last, each job once.
    assert listed == [
        ('processing', None), ('queued', 2), ('queued', 1),
        *sorted([('delayed', 4), ('cronjob', None)],
                key=lambda row: listed.index(row)),
        ('start later', 3), ('cancelled', 5)]
    held.go.set()
    world.until(lambda service: service.stats()['completed'] == 3)
    assert world.see(lambda service: service.stats()['oldest']) is None


@pytest.mark.parametrize('setting', [False, True])
def test_at_the_end_of_the_process_jobs_are_given_back(
        world, held, setting, monkeypatch):
    jobid = world.add('hold')
    world.start()
    held.wait()
    # What it is for: the process is about to end, and the job is not.
    if setting:
        monkeypatch.setattr(settings, 'END_GRACE', 0.05)
        assert threads.end_all() == 1
    else:
        assert threads.end_all(grace=0.05) == 1
    assert world.status(jobid) == 'queued'
    job = world.see(lambda service: (
        service.jobs[jobid].interruptions, service.jobs[jobid].failures))
    assert job == (0, 0)
    assert world.see(lambda service: service.listWorkers()) == []
    held.go.set()
    world.stop()
    # Its run ended after that, and could not commit.
    assert world.status(jobid) == 'queued' and held.attempts == [1]
    assert world.drain() == 1
    assert world.status(jobid) == 'completed' and held.attempts == [1, 2]


def test_within_the_grace_jobs_come_to_their_end(world, held):
    jobid = world.add('hold')
    world.start(factory=MultiProcessor, maxThreads=2)
    held.wait()
    threading.Timer(0.05, held.go.set).start()
    assert threads.end_all(grace=DEADLINE) == 0
    assert world.status(jobid) == 'completed'
    assert world.see(lambda service: service.listWorkers()) == []


def test_what_a_stopped_processor_leaves_another_runs(world, held, ran):
    jobs = [world.add('hold'), world.add('note', 1)]
    world.start()
    held.wait()
    stopped = threading.Event()

    def stop():
        world.stop()
        stopped.set()

    thread = threading.Thread(target=stop)
    thread.start()
    assert not stopped.wait(0.1)    # it waits for the job that runs
    held.go.set()
    thread.join(DEADLINE)
    assert [world.status(jobid) for jobid in jobs] == ['completed', 'queued']
    world.start()
    assert world.until_over(*jobs) == ['completed'] * 2


def test_a_job_that_is_claimed_again_is_counted_once(world, ran):
    jobid = world.add('note', 1)
    worker = world.processor().worker
    worker.enroll(LOOP, 1)
    for _ in range(3):
        claim = worker.claim()
        assert claim.jobid == jobid
        assert world.see(lambda service: (
            service.stats()['processing'],
            [job.id for job in service.listJobs()[0]],
            service.listWorkers()[0]['claims'])) == (1, [jobid], [jobid])
        assert worker.give_back(claim) is True
        # It had not begun.
        assert world.see(lambda service: [
            job.attempts for job in service.jobs.values()]) == [0]
        # Its thread is free again.
        worker._idle.append(claim.slot)


@pytest.mark.parametrize('step', [0, -1], ids=['stands', 'goes backwards'])
def test_pages_hold_each_job_once_where_the_clock(world, ran, step):
    """Many jobs may end at one moment, by a made-up clock or a set one."""
    jobs = {world.add('note', number) for number in range(50)}
    for number in range(50):
        world.do(lambda service, number=number: service.processNext(
            1_600_000_000 + step * number))

    def listed(service):
        found, cursor = service.listJobs('completed', limit=7)
        while cursor is not None:
            more, cursor = service.listJobs(
                'completed', start=cursor, limit=7)
            found += more
        return [job.id for job in found]

    found = world.see(listed)
    assert len(found) == 50 and set(found) == jobs
