"""Cleaning in small transactions, beside workers."""

import threading

import pytest
from transaction.interfaces import TransientError

from lovely.remotetask import bulk
from lovely.remotetask.edge import db as edge
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.store.log import entries_of
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


@pytest.fixture
def work(world, register):
    def work(service, jobid, input):
        world.effect(service, jobid)

    register(FunctionTask(work), 'work')


def clean(world, **options):
    return bulk.clean(world.db, world.path, PLAIN, **options)


def add(world, count, name='work', **options):
    return world.do(lambda service: service.addMany(
        name, range(count), **options))


def stats(world, *names):
    found = world.see(lambda service: service.stats())
    return tuple(found[name] for name in names)


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
        ids += add(world, 20)
    try:
        world.until(lambda service: not service.listJobs('queued')[0]
                    and not service.listJobs('processing')[0],
                    # 120 jobs, which is much for a machine with other work.
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
