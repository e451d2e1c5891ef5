"""Unique keys: of those who add at the same time, one wins."""

import threading

import pytest
import transaction
from transaction.interfaces import TransientError

from lovely.remotetask.edge import db as edge
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import TaskError

DEADLINE = 30


@pytest.fixture
def two(world, ran):
    """Two connections in transactions of their own, begun now."""
    managers = [transaction.TransactionManager(explicit=True)
                for _ in range(2)]
    connections = []
    for manager in managers:
        manager.begin()
        connections.append(world.db.open(manager))
    yield [(world.service(connection), manager)
           for connection, manager in zip(
               connections, managers, strict=True)]
    for manager, connection in zip(managers, connections, strict=True):
        if manager._txn is not None:
            manager.abort()
        connection.close()


def waiting(world):
    return world.see(lambda service: [
        job.id for job in service.listJobs('queued')[0]])


@pytest.mark.parametrize('held_before', [False, True])
def test_of_two_that_add_at_once_one_conflicts(world, two, held_before):
    (one, first), (other, second) = two
    if held_before:     # by a job that is over
        over = world.add('note', key='a')
        world.drain()
        for manager in (first, second):
            manager.abort()
            manager.begin()
    winner = one.add('note', key='a')
    assert other.add('note', key='a') != winner
    first.commit()
    with pytest.raises(TransientError):
        second.commit()
    # Its retry finds the winner.
    second.abort()
    second.begin()
    assert other.add('note', key='a') == winner
    second.commit()
    assert waiting(world) == [winner]
    if held_before:
        assert over != winner


def test_many_threads_that_add_one_key_leave_one_job(world, ran):
    start = threading.Barrier(8)
    found, errors = [], []

    def add():
        try:
            start.wait(DEADLINE)
            found.append(edge.write(
                world.db, lambda connection: world.service(
                    connection).add('note', key='only'), tries=1000))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not errors
    assert len(found) == 8 and len(set(found)) == 1
    assert waiting(world) == [found[0]]


def test_a_kept_job_that_starts_meanwhile_makes_a_conflict(world, two):
    """Whatever was written with the add is seen by a job that runs later."""
    service, manager = two[0]
    before = world.add('note', key='a')
    manager.abort()
    manager.begin()
    assert service.add('note', key='a') == before
    world.effect(service, 'written')
    world.drain()
    with pytest.raises(TransientError):
        manager.commit()
    manager.abort()
    manager.begin()
    after = service.add('note', key='a')
    assert after != before
    manager.commit()
    assert waiting(world) == [after]


def test_a_kept_job_costs_a_reader_nothing(world, two):
    service, manager = two[0]
    before = world.add('note', key='a')
    manager.abort()
    manager.begin()
    assert service.add('note', key='a') == before
    world.drain()
    manager.commit()        # it wrote nothing, so it has nothing to lose


def test_a_replaced_job_that_starts_meanwhile_makes_a_conflict(world, two):
    service, manager = two[0]
    before = world.add('note', 1, key='a')
    manager.abort()
    manager.begin()
    service.add('note', 2, key='a', onDuplicate='replace')
    world.drain()
    with pytest.raises(TransientError):
        manager.commit()
    assert world.status(before) == 'completed'


def test_a_running_job_is_not_replaced_but_loses_its_key(
        world, held):
    jobid = world.add('hold', key='a')
    world.start()
    held.wait()
    after = world.add('hold', key='a', onDuplicate='replace')
    assert (world.status(jobid), world.status(after)) == (
        'processing', 'queued')
    assert world.add('hold', key='a') == after
    held.go.set()
    assert world.until_over(jobid, after) == ['completed', 'completed']


def test_a_retry_meets_an_add_of_its_key(world, two, register):
    def fail(input):
        raise TaskError

    register(fail)
    (one, first), (other, second) = two
    failed = world.add('fail', key='a')
    world.drain()
    for manager in (first, second):
        manager.abort()
        manager.begin()
    added = one.add('note', key='a')
    other.retryJob(failed)
    first.commit()
    with pytest.raises(TransientError):
        second.commit()
    # Tried again, it sees that another job has its key now.
    second.abort()
    second.begin()
    with pytest.raises(DuplicateJob):
        other.retryJob(failed)
    second.commit()
    assert waiting(world) == [added]


def test_a_job_that_lost_its_key_while_it_ran_waits_for_it(
        world, held, ran):
    jobid = world.add('hold', key='a')
    world.start()
    held.wait()
    after = world.add('note', key='a', onDuplicate='replace', delay=1000)
    world.do(lambda service: service.cancel(jobid))
    with pytest.raises(DuplicateJob) as caught:
        world.do(lambda service: service.retryJob(jobid))
    assert (caught.value.key, caught.value.jobid) == ('a', after)
    world.do(lambda service: service.cancel(after))
    world.do(lambda service: service.retryJob(jobid))
    assert world.add('note', key='a') == jobid
    held.go.set()


def test_clean_forgets_the_keys_of_what_it_removes(world, ran):
    first = world.add('note', key='a')
    world.drain()
    second = world.add('note', key='a')
    world.do(lambda service: service.clean())
    # The key is the second one's by now.
    assert world.add('note', key='a') == second != first
    world.drain()
    world.do(lambda service: service.clean())
    entries = world.see(lambda service: [
        list(tree) for tree in service.jobqueue.uniques._trees])
    assert not any(entries)


def test_any_conflicts_with_a_retry_of_what_it_kept(world, two):
    over = world.add('note', key='a', onDuplicate='any')
    world.drain()
    (one, first), (other, second) = two
    for manager in (first, second):
        manager.abort()
        manager.begin()
    assert one.add('note', key='a', onDuplicate='any') == over
    assert other.add('note', key='a') != over
    # Something that one stores because the job was there, and over.
    one._p_jar.root()[world.path[0]]['effects']['seen'] = over
    second.commit()
    with pytest.raises(TransientError):
        first.commit()
