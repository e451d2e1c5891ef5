"""Jobs that ran when their worker died: charged fairly, and run alone."""

import threading

import pytest
from zope.component import provideUtility

from lovely.remotetask import settings
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run import monitor
from lovely.remotetask.run import suspects
from lovely.remotetask.store.queue import JobQueue
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


@pytest.fixture(autouse=True)
def numbers(monkeypatch):
    """Not the default, so that code which keeps to that fails."""
    monkeypatch.setattr(settings, 'SUSPECT_SECONDS', 20.0)


@pytest.fixture
def monotonic(monkeypatch):
    """The clock by which suspects wait, which stands still."""
    class Clock:
        moment = 100.0

        def monotonic(self):
            return self.moment

    monkeypatch.setattr(suspects, 'SYSTEM_CLOCK', clock := Clock())
    return clock


def enrolled(world, threads=1):
    """A worker that takes jobs of all lanes."""
    worker = world.processor().worker
    worker.enroll(PROCESSOR, threads)
    return worker


def interruptions(world, *jobs):
    return world.see(lambda service: [
        service.jobs[jobid].interruptions for jobid in jobs])


# -- what a death is charged to -----------------------------------------------

def test_a_job_that_ran_in_eight_threads_is_charged_once(world, ran):
    def fails(service, jobid, input):
        raise ValueError

    provideUtility(FunctionTask(fails, retry=RetryPolicy(20, base=0)), ITask,
                   'fails')
    jobid = world.add('fails')
    worker = enrolled(world, threads=8)
    slots = set()
    for _ in range(8):
        claim = worker.claim()
        slots.add(claim.slot)
        worker.run(claim)
    assert len(slots) == 8
    claim = worker.claim()
    beside = world.add('note', 1)
    assert worker.claim().jobid == beside
    running = world.see(lambda service: (
        service.stats()['processing'],
        [job.id for job in service.listJobs('processing')[0]]))
    assert running == (2, sorted([jobid, beside], reverse=True))
    other = enrolled(world)
    third = world.add('note', 2)
    assert other.claim().jobid == third

    assert sorted(world.dies(worker)) == sorted([jobid, beside])
    assert interruptions(world, jobid, beside) == [0.5, 0.5]
    assert world.dies(other) == [third]
    assert world.see(lambda service: service.stats()['queued']) == 3
    assert world.drain(3) == 3
    assert sorted(ran) == [1, 2]


def test_of_several_none_is_charged_in_full(world, ran):
    jobs = [world.add('note', number) for number in range(3)]
    worker = enrolled(world, threads=3)
    for _ in jobs:
        worker.claim()
    world.dies(worker)
    assert interruptions(world, *jobs) == [pytest.approx(1 / 3)] * 3
    seen = world.see(lambda service: (
        service.stats()['queued'], service.hasJobsWaiting(),
        len(service._queue), [job.id for job in service._queue],
        sorted(job.id for job in service.listJobs('queued')[0])))
    assert seen == (3, True, 3, jobs, sorted(jobs))
    assert world.see(lambda service: service.stats()['oldest']) >= 0
    # They keep their places, before a job that was added later.
    jobs.append(world.add('note', 3))
    assert world.drain() == 4 and ran == [0, 1, 2, 3]


def test_thirds_of_deaths_add_up_to_poison(world, ran, monotonic):
    jobs = [world.add('note', number) for number in range(3)]
    for _ in range(3 * settings.POISON):
        assert world.see(lambda service: service.stats()['error']) == 0
        worker = enrolled(world, threads=3)
        # Beside each other, as when no process gets empty.
        claims = []
        while len(claims) < 3:
            claim = worker.claim()
            if claim is None:
                monotonic.moment += settings.SUSPECT_SECONDS + 1
            else:
                claims.append(claim.jobid)
        assert sorted(claims) == sorted(jobs)
        world.dies(worker)
    assert world.see(lambda service: service.stats()['error']) == 3
    message = world.see(lambda service: service.getError(jobs[0]))
    assert 'its worker died 5 times' in message


def test_each_night_of_a_cron_job_is_counted_anew(world, ran, clock):
    jobid = world.do(lambda service: service.addCronJob(
        'note', 'night', minute=(0,), hour=(3,)))
    for night in range(1, 8):
        clock.advance(86_400)
        for deaths in range(1, settings.POISON):
            worker = enrolled(world)
            assert worker.claim().jobid == jobid
            world.dies(worker)
            assert interruptions(world, jobid) == [deaths]
        assert world.drain() == 1
        assert len(ran) == night
        assert world.status(jobid) == 'cronjob'
        assert interruptions(world, jobid) == [0]


def test_an_attempt_that_ends_by_itself_takes_the_suspicion_away(
        world, register):
    def fails(service, jobid, input):
        raise ValueError

    provideUtility(FunctionTask(fails, retry=RetryPolicy(1, base=0)), ITask,
                   'fails')
    jobid = world.add('fails')
    worker = enrolled(world)
    worker.claim()
    world.dies(worker)
    assert interruptions(world, jobid) == [1]
    assert world.drain(1) == 1
    assert interruptions(world, jobid) == [0]
    assert world.drain(1) == 1
    assert world.status(jobid) == 'error'


# -- alone --------------------------------------------------------------------

def test_suspects_run_first_and_each_alone(world, register):
    running, most, order = set(), {}, []
    lock = threading.Lock()

    @register
    def work(input):
        with lock:
            running.add(input)
            order.append(input)
        threading.Event().wait(0.01)
        with lock:
            for one in running:
                most[one] = max(most.get(one, 0), len(running))
            running.discard(input)

    for number in range(3):
        world.add('work', f'suspect {number}')
    worker = enrolled(world, threads=3)
    for _ in range(3):
        worker.claim()
    world.dies(worker)
    jobs = [world.add('work', number) for number in range(12)]
    world.start(factory=MultiProcessor, maxThreads=5)
    assert world.until_over(*jobs) == ['completed'] * 12
    assert order[:3] == ['suspect 0', 'suspect 1', 'suspect 2']
    assert [most[f'suspect {number}'] for number in range(3)] == [1, 1, 1]
    assert world.see(lambda service: service.stats()['completed']) == 15


def test_while_a_suspect_runs_no_worker_of_the_process_claims(
        world, ran, monotonic):
    suspect, other = world.add('note', 'suspect'), world.add('note', 'other')
    dead = enrolled(world)
    assert dead.claim().jobid == suspect
    world.dies(dead)
    first, second = enrolled(world), enrolled(world)
    claim = second.claim()
    assert claim.jobid == suspect and claim.suspect
    assert first.claim() is None and first.waits_for == suspects.PAUSE
    second.run(claim)
    assert first.claim().jobid == other


def test_one_that_takes_long_has_others_beside_it(world, ran, monotonic):
    suspect, other = world.add('note', 'suspect'), world.add('note', 'other')
    dead = enrolled(world)
    dead.claim()
    world.dies(dead)
    worker = enrolled(world, threads=2)
    assert worker.claim().jobid == suspect
    monotonic.moment += settings.SUSPECT_SECONDS - 1
    assert worker.claim() is None
    monotonic.moment += 1
    assert worker.claim().jobid == other
    # Both ran when the process dies: neither is charged in full.
    world.dies(worker)
    assert interruptions(world, suspect, other) == [1.5, 0.5]


def test_a_busy_process_makes_room_for_a_while(world, ran, monotonic):
    suspect = world.add('note', 'suspect')
    dead = enrolled(world)
    dead.claim()
    busy = world.add('note', 'busy')
    worker = enrolled(world, threads=9)
    assert worker.claim().jobid == busy
    world.dies(dead)
    ordinary = [world.add('note', number) for number in range(4)]
    assert worker.claim().jobid == ordinary[0]
    monotonic.moment += 4.9
    assert worker.claim().jobid == ordinary[1]
    monotonic.moment += 0.1
    assert worker.claim() is None and worker.waits_for == suspects.PAUSE
    monotonic.moment += 5
    assert worker.claim().jobid == ordinary[2]
    monotonic.moment += settings.SUSPECT_SECONDS - 10
    assert worker.claim().jobid == ordinary[3]
    # No process has become empty: it runs beside the others.
    monotonic.moment += 0.1
    assert worker.claim().jobid == suspect


def test_a_suspect_runs_once_a_process_has_made_room(world, ran, monotonic):
    suspect = world.add('note', 'suspect')
    dead = enrolled(world)
    dead.claim()
    busy = world.add('note', 'busy')
    worker = enrolled(world, threads=2)
    claim = worker.claim()
    assert claim.jobid == busy
    world.dies(dead)
    world.add('note', 'ordinary')
    world.see(lambda service: worker.makes_room(service))
    monotonic.moment += 5
    assert worker.claim() is None
    worker.run(claim)
    assert worker.claim().jobid == suspect


def test_the_workers_of_other_services_make_room_too(world, ran, monotonic):
    """One process may run the jobs of several services."""
    worker, other = enrolled(world), enrolled(world)
    jobid = world.add('note', 1)
    with suspects.Turn(worker) as turn:
        turn.keep_room()
    assert other.claim() is None
    # It would not wait any longer for a worker that asks no more.
    monotonic.moment += 1
    assert other.claim().jobid == jobid


def test_a_suspect_that_is_deleted_or_cancelled_holds_up_nothing(world, ran):
    jobs = [world.add('note', number) for number in range(4)]
    dead = enrolled(world, threads=3)
    for _ in range(3):
        dead.claim()
    world.dies(dead)

    def change(service):
        del service.jobs[jobs[0]]
        service.cancel(jobs[1])

    world.do(change)
    assert world.see(lambda service: service.stats()['cancelled']) == 1
    assert world.drain() == 2 and ran == [2, 3]
    assert world.see(lambda service: service.stats()['queued']) == 0


def test_a_suspect_that_is_given_back_stays_one(world, ran):
    jobid = world.add('note')
    dead = enrolled(world)
    dead.claim()
    world.dies(dead)
    worker = enrolled(world)
    worker.claim()
    assert worker.leave() == 1
    worker.active.clear()
    assert interruptions(world, jobid) == [1]
    assert world.see(lambda service: service.jobs[jobid].position[0]) == (
        'suspects')
    assert world.drain() == 1


# -- what ends its worker in order --------------------------------------------

def stopped(world, expected):
    """A worker is stopped in order while it runs what it claims first."""
    worker = enrolled(world)
    assert worker.claim().jobid == expected
    assert worker.leave() == 1
    worker.active.clear()


@pytest.mark.parametrize('died', [False, True], ids=['ordinary', 'suspect'])
def test_what_is_given_back_each_time_lets_others_run(
        world, ran, clock, died):
    """Its task may be what stops its workers."""
    jobid, other = world.add('note', 'stops'), world.add('note', 'other')
    if died:
        dead = enrolled(world)
        dead.claim()
        world.dies(dead)
    for _ in range(3):
        stopped(world, jobid)
    assert world.drain() == 1 and ran == ['other']
    assert world.see(lambda service: (
        service.getStatus(jobid), service.jobs[jobid].rests)) == (
        'queued', 'its worker was stopped 3 times in a row while it ran; it '
        'waits for 10 s, so that others run before it')
    clock.advance(10)
    stopped(world, jobid)
    clock.advance(9)
    assert world.drain() == 0
    # However often: it is no death.
    for _ in range(20):
        clock.advance(300)
        stopped(world, jobid)
    assert interruptions(world, jobid) == [int(died)]
    clock.advance(300)
    assert world.drain() == 1 and ran == ['other', 'stops']
    assert world.see(lambda service: (
        service.getStatus(jobid), service.jobs[jobid].rests,
        service.jobs[jobid].stops)) == ('completed', None, 0)
    assert world.status(other) == 'completed'


def test_what_stops_of_itself_as_its_worker_stops_is_counted_too(
        world, register, clock):
    @register
    def stops(input):
        worker.stopping.set()
        currentJob().check()

    jobid = world.add('stops')
    for _ in range(3):
        assert world.see(lambda service: (
            service.jobs[jobid].position[0])) == 'ready'
        worker = enrolled(world)
        worker.run(worker.claim())
    assert world.see(lambda service: (
        service.jobs[jobid].position[0], service.jobs[jobid].stops)) == (
        'waiting', 3)


def test_a_run_that_ends_of_itself_begins_the_count_anew(
        world, register, clock):
    def rests(service, jobid, input):
        raise RetryLater(60)

    provideUtility(FunctionTask(rests), ITask, 'rests')
    jobid = world.add('rests')
    for _ in range(5):
        for _ in range(2):
            stopped(world, jobid)
        assert world.drain() == 1
        assert world.see(lambda service: service.jobs[jobid].stops) == 0
        clock.advance(60)


# -- one rescue beside the others ---------------------------------------------

def test_a_rescue_that_fails_holds_up_no_other(
        world, ran, log, monkeypatch):
    """Even when it fails at each look; it is logged once for each cause."""
    broken, sound = world.add('note', 1), world.add('note', 2)
    workers = [enrolled(world), enrolled(world)]
    assert [worker.claim().jobid for worker in workers] == [broken, sound]
    # Monitors look at them in this order.
    workers.sort(key=lambda worker: worker.identity.id)
    reason, retire = ['broken'], JobQueue.retire

    def fails(queue, worker, now, charged, **options):
        if worker == workers[0].identity.id:
            raise KeyError(reason[0])
        return retire(queue, worker, now, charged, **options)

    monkeypatch.setattr(JobQueue, 'retire', fails)
    watching = monitor.Monitor(world.db)
    monkeypatch.setattr(watching._life, 'alive', lambda *evidence: False)
    watcher = enrolled(world)
    watching.add(watcher)
    for worker in workers:
        worker.active.clear()
    for _ in range(3):
        watching.look(watcher)
    assert [record for record in log if record.startswith('ERROR')] == [
        f'ERROR the jobs of worker {workers[0].identity.id}, which is gone '
        f'cannot be queued again; the next look tries it once more']
    left = world.see(lambda service: [
        worker['id'] for worker in service.listWorkers()])
    assert set(left) == {workers[0].identity.id, watcher.identity.id}
    reason[0] = 'broken otherwise'
    watching.look(watcher)
    assert sum(record.startswith('ERROR') for record in log) == 2
    monkeypatch.setattr(JobQueue, 'retire', retire)
    watching.look(watcher)
    assert world.drain() == 2


def test_others_do_not_pass_a_gate_before_a_suspect_for_ever(world, ran,
                                                             monotonic):
    """The gate is shut most of the time, and the process is never empty."""
    dead, busy, worker = (enrolled(world) for _ in range(3))
    world.add('note')
    assert busy.claim() is not None
    suspect, *jobs = (world.add('note', concurrencyKey='k') for _ in range(4))
    assert dead.claim().jobid == suspect
    assert world.dies(dead) == [suspect]
    for jobid in jobs[:2]:
        claim = worker.claim()
        assert claim.jobid == jobid
        monotonic.moment += 15.0
        # It looks while the gate is shut.
        assert worker.claim() is None
        worker.run(claim)
    assert worker.claim().jobid == suspect
