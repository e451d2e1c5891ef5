"""Cleaning and cancelling in small transactions, beside workers."""

import itertools
import threading

import pytest
from transaction.interfaces import TransientError

from lovely.remotetask import bulk
from lovely.remotetask.edge import db as edge
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.store.log import entries_of
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import TaskError

DEADLINE = 30


@pytest.fixture
def small(monkeypatch):
    """Transactions of 7 jobs, so that few jobs make many."""
    monkeypatch.setattr('lovely.remotetask.settings.BULK_BATCH', 7)


@pytest.fixture
def work(world, register):
    def work(service, jobid, input):
        world.effect(service, jobid)

    register(FunctionTask(work), 'work')

    @register
    def other(input):
        pass


def clean(world, **options):
    return bulk.clean(world.db, world.path, PLAIN, **options)


def add(world, count, name='work', **options):
    return world.do(lambda service: service.addMany(
        name, range(count), **options))


def stats(world, *names):
    found = world.see(lambda service: service.stats())
    return tuple(found[name] for name in names)


def test_clean_removes_all_in_small_transactions(world, small, work):
    ids = add(world, 60)
    world.do(lambda service: service.cancelMany(ids[40:]))
    world.drain(100)
    waits = add(world, 1)
    steps = []
    assert clean(world, progress=steps.append) == {
        'cancelled': 20, 'error': 0, 'completed': 40}
    assert steps[-1] == 60
    # A bucket of a log is not divided: 16 jobs more at most.
    assert all(later - before <= 7 + 16
               for before, later in itertools.pairwise(steps))
    assert world.see(lambda service: list(service.jobs)) == waits
    assert stats(world, 'completed', 'cancelled', 'queued') == (0, 0, 1)
    # Nothing that was emptied is left to be loaded by whoever looks next.
    assert world.see(lambda service: [
        len(slot.completed.buckets) for slot in
        service.jobqueue.slots.values()]) in ([0, 1], [0, 1, 0])


def test_clean_of_one_status(world, small, work):
    ids = add(world, 20)
    world.do(lambda service: service.cancelMany(ids[:10]))
    world.drain()
    assert clean(world, status='cancelled') == {'cancelled': 10}
    assert stats(world, 'completed', 'cancelled') == (10, 0)
    assert clean(world, status=()) == {}


def test_what_is_interrupted_stays_done(world, small, work):
    add(world, 60)
    world.drain(100)

    class Enough(Exception):
        pass

    def interrupt(count):
        if count >= 20:
            raise Enough

    with pytest.raises(Enough):
        clean(world, progress=interrupt)
    left, = stats(world, 'completed')
    assert 60 - 20 - 7 - 16 <= left <= 40
    assert sum(clean(world).values()) == left
    assert stats(world, 'completed') == (0,)


def test_entries_of_deleted_jobs_go_too(world, small, work):
    ids = add(world, 30)
    world.do(lambda service: service.cancelMany(ids[:10]))
    world.drain(100)

    def delete(service):
        for jobid in ids[::2]:
            del service.jobs[jobid]

    world.do(delete)
    assert clean(world) == {'cancelled': 5, 'error': 0, 'completed': 10}
    assert stats(world, 'completed', 'cancelled') == (0, 0)


def test_cancel_by_status_and_task(world, small, work):
    ids = add(world, 30)
    others = add(world, 10, 'other')
    later = add(world, 10, delay=1000)
    steps = []
    assert bulk.cancel(world.db, world.path, PLAIN, 'queued', 'other',
                       steps.append) == 10
    assert {world.status(jobid) for jobid in others} == {'cancelled'}
    assert stats(world, 'queued', 'scheduled') == (30, 10)
    assert bulk.cancel(world.db, world.path, PLAIN, 'queued') == 30
    assert bulk.cancel(world.db, world.path, PLAIN, 'delayed') == 10
    assert {world.status(jobid) for jobid in ids + later} == {'cancelled'}
    assert stats(world, 'queued', 'scheduled', 'cancelled') == (0, 0, 50)
    assert world.drain() == 0


def test_a_clean_beside_a_worker_spoils_nothing(world, work):
    """Every job has its effect once, and the counts are right."""
    counted, errors, over = [], [], threading.Event()

    def cleaner():
        try:
            # With a breath: without one it would keep the interpreter from
            # the worker, which is in the same process only here.
            while not over.wait(0.01):
                counted.append(sum(clean(world).values()))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=cleaner)
    thread.start()
    world.start()
    ids = []
    for _ in range(6):
        ids += add(world, 50)
    try:
        world.until(lambda service: not service.listJobs('queued')[0]
                    and not service.listJobs('processing')[0],
                    # 300 jobs, which is much for a machine with other work.
                    seconds=3 * DEADLINE)
    finally:
        over.set()
        thread.join(DEADLINE)
    assert not errors
    assert world.effects() == dict.fromkeys(ids, 1)
    counted.append(sum(clean(world).values()))
    assert sum(counted) == len(ids)
    assert stats(world, 'completed', 'queued') == (0, 0)
    assert not world.see(lambda service: len(service.jobs))


def test_a_clean_leaves_what_a_thread_writes_next(world, work):
    """To take it away would undo the next finish, and do so at each step."""
    ids = add(world, 2)
    worker = world.processor().worker
    worker.enroll(LOOP, 1)
    worker.work(worker.claim_some()[:1], lambda: False)
    assert stats(world, 'completed', 'processing', 'queued') == (1, 0, 1)
    assert sum(clean(world).values()) == 0
    world.do(lambda service: service.cancel(ids[1]))
    assert clean(world) == {'cancelled': 1, 'error': 0, 'completed': 1}


def test_holes_that_open_while_a_bucket_is_left_are_counted(world, work):
    """A retry takes from a full bucket; a finish opens the next one."""
    add(world, 16)
    world.drain()

    def drop_one_meanwhile(connection):
        queue = world.service(connection).jobqueue
        slot = next(number for number, slot in queue.slots.items()
                    if len(slot.completed))
        log = queue.slots[slot].completed
        moment, jobid = entries_of(log.buckets.values()[0])[0]
        if not meanwhile:
            meanwhile.append(slot)

            def finish(service):
                service.jobqueue.slots[slot].completed.extend([(2**60, 4711)])

            world.do(finish)
        assert log.discard(moment, jobid)

    meanwhile = []
    try:
        edge.write(world.db, drop_one_meanwhile, tries=2)
    except TransientError:
        pytest.fail('the second try has seen the new bucket')
    log = world.see(lambda service: (
        len(service.jobqueue.slots[meanwhile[0]].completed),
        sum(1 for _ in service.jobqueue.slots[
            meanwhile[0]].completed.down())))
    assert log == (16, 16)


def test_retry_all_in_small_transactions(world, small, work, register):
    @register
    def broken(input):
        raise TaskError('no')

    ids = add(world, 30, 'broken')
    world.drain(100)
    others = add(world, 10)
    world.do(lambda service: service.cancelMany(others))
    steps = []
    assert bulk.retry(world.db, world.path, PLAIN, task='work') == 0
    assert bulk.retry(world.db, world.path, PLAIN,
                      progress=steps.append) == 30
    assert len(steps) >= 5 and steps[-1] == 30
    assert stats(world, 'queued', 'error', 'cancelled') == (30, 0, 10)
    assert bulk.retry(world.db, world.path, PLAIN, 'cancelled') == 10
    world.do(lambda service: service.cancelMany([*ids, *others]))
    assert stats(world, 'queued', 'cancelled') == (0, 40)


def test_clean_keeps_the_newest(world, small, work):
    ids = add(world, 60)
    world.drain(100)
    ended = world.see(lambda service: [
        job.id for job in service.listJobs('completed', limit=100)[0]])
    assert sorted(ended) == sorted(ids)
    assert clean(world, keep=100)['completed'] == 0
    assert clean(world, keep=25)['completed'] == 35
    assert world.see(lambda service: [
        job.id for job in service.listJobs('completed', limit=100)[0]
        ]) == ended[:25]
    moment = world.see(lambda service: service.jobs[
        ended[10]].completedAt.timestamp())
    clean(world, before=moment, keep=1)
    left = world.see(lambda service: [
        job.id for job in service.listJobs('completed', limit=100)[0]])
    # Several may have ended in one microsecond, and to that one completedAt is
    # rounded.
    assert left == ended[:len(left)] and 10 <= len(left) < 25
