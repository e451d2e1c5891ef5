"""Several workers of one service, dead ones, and orderly ends."""

import os
import socket
import threading
from datetime import UTC
from datetime import datetime

import pytest
from zope.component import provideUtility

from lovely.remotetask import settings
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
def test_two_processors_run_each_job_once(world, factory):
    def work(service, jobid, input):
        world.effect(service, jobid)

    provideUtility(FunctionTask(work), ITask, 'work')
    jobs = []
    for _ in range(5):
        jobs += world.do(lambda service: [
            service.add('work') for _ in range(10)])
    world.start(factory=factory)
    world.start(world.other(), factory=factory)
    jobs += [world.add('work') for _ in range(10)]
    world.until(lambda service: service.stats()['completed'] == 60)
    world.stop()
    assert world.effects() == dict.fromkeys(jobs, 1)
    stats = world.see(lambda service: service.stats())
    assert (stats['queued'], stats['processing'], stats['error']) == (0, 0, 0)
    # Both went in an orderly way.
    assert stats['workers'] == 0


def test_five_threads_of_one_processor_run_at_once(world, register):
    together = threading.Barrier(5)

    @register
    def meet(input):
        together.wait(DEADLINE)

    jobs = [world.add('meet') for _ in range(5)]
    world.start(factory=MultiProcessor, maxThreads=5)
    assert world.until_over(*jobs) == ['completed'] * 5


def test_the_jobs_of_a_dead_worker_run_again(world, ran):
    first, second = world.add('note', 1), world.add('note', 2)
    dead = world.processor().worker
    dead.enroll(LOOP, 1)
    claim = dead.claim()
    assert claim.jobid == first and world.status(first) == 'processing'
    (worker,) = world.see(lambda service: service.listWorkers())
    assert worker['claims'] == [first] and len(worker['slots']) == 1

    assert world.dies(dead) == [first]
    assert world.see(lambda service: service.listWorkers()) == []
    # It keeps its place, before the second.
    assert world.drain() == 2
    assert ran == [1, 2]
    assert world.see(lambda service: service.jobs[first].interruptions) == 1
    # It was not dead: what it had claimed is not its any more.
    dead.run(claim)
    assert ran == [1, 2]
    third = world.add('note', 3)
    assert dead.claim().jobid == third
    assert world.status(second) == 'completed'


def test_a_false_takeover_costs_work_but_doubles_nothing(world, held):
    jobid = world.add('hold')
    world.start()
    held.wait()
    (worker,) = world.see(lambda service: service.listWorkers())
    assert worker['claims'] == [jobid]
    world.do(lambda service: service.jobqueue.retire(
        worker['id'], service.clock.now(), charged=True))
    held.go.set()
    assert world.until_over(jobid) == ['completed']
    assert held.attempts == [1, 2]


class Elsewhere(PlainHost):
    """A host of another release of the application: it has no ``work``."""

    def task(self, service, interface, name):
        return None if name == 'work' else super().task(
            service, interface, name)


class LackingProcessor(MultiProcessor):
    host = Elsewhere()


def test_beside_a_capable_worker_nothing_is_lost_in_time(world, clock, log):
    """Two processors with threads, one of which lacks the task."""
    runs = []

    def work(service, jobid, input):
        runs.append(jobid)

    provideUtility(FunctionTask(work), ITask, 'work')
    world.start(factory=LackingProcessor, maxThreads=3)
    world.start(world.other(), factory=MultiProcessor, maxThreads=3)
    jobs = [world.add('work', number) for number in range(60)]
    assert world.until_over(*jobs) == ['completed'] * 60
    assert len(log) <= 1
    assert world.see(lambda service: max(
        service.jobs[jobid].attempts for jobid in jobs)) == 1


def test_a_row_tells_what_each_thread_runs(world, held, clock):
    jobs = [world.add('hold') for _ in range(2)]
    world.start(factory=MultiProcessor, maxThreads=3)
    (row,) = world.until(lambda service: [
        row for row in service.listWorkers() if len(row['jobs']) == 2])
    assert (row['role'], row['host'], row['pid'], row['threads']) == (
        'loop', socket.gethostname(), os.getpid(), 3)
    assert sorted(job['id'] for job in row['jobs']) == sorted(jobs)
    slots = [job['slot'] for job in row['jobs']]
    assert len(set(slots)) == 2 and set(slots) <= set(row['slots'])
    for job in row['jobs']:
        assert (job['task'], job['attempt']) == ('hold', 1)
        assert job['since'] == '2027-01-15T08:00:00+00:00'
    held.go.set()
    world.until_over(*jobs)


def test_a_row_tells_the_last_sign_of_life(shared, monkeypatch):
    monkeypatch.setattr(settings, 'BEAT_SECONDS', 0.05)
    monkeypatch.setattr(settings, 'LOOK_SECONDS', 0.05)
    shared.start()
    (row,) = shared.until(lambda service: [
        row for row in service.listWorkers() if row['lastSign']])
    first = datetime.fromisoformat(row['lastSign'])
    assert abs((datetime.now(UTC) - first).total_seconds()) < DEADLINE
    shared.until(lambda service: datetime.fromisoformat(
        service.listWorkers()[0]['lastSign']) > first)


def test_a_row_of_an_earlier_release(shared):
    worker = shared.processor().worker
    worker.enroll(LOOP, 1)

    def age(service):
        record = service.jobqueue.workers[worker.identity.id]
        record.beat.__dict__.pop('at', None)
        service.jobqueue.workers['somebody'] = record

    shared.do(age)
    rows = {row['id']: row for row in shared.see(
        lambda service: service.listWorkers())}
    assert rows[worker.identity.id]['lastSign'] is None
    assert (rows['somebody']['host'], rows['somebody']['pid']) == ('', None)
