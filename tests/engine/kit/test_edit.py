"""A cron job that is edited: amid a run, at its time, and by two at once."""

import pytest
from ZODB.POSException import ConflictError

from lovely.remotetask.store.workers import PROCESSOR

HOUR = 3600


def cron(world, task='note', **options):
    return world.do(lambda service: service.addCronJob(
        task, 'first', minute=(0,), **options))


@pytest.mark.parametrize('size', [10, 10_000])
def test_an_edit_does_not_undo_a_run(world, clock, register, size):
    calls = []

    @register
    def slow(input):
        calls.append(input)
        if len(calls) == 1:
            world.do(lambda service: service.editCronJob(
                jobid, input='x' * size, minute=(30,)))
        else:
            assert len(input) == size

    jobid = cron(world, 'slow')
    clock.advance(HOUR)
    assert world.drain() == 1
    assert calls == ['first']
    clock.advance(HOUR / 2)
    assert world.drain() == 1
    assert calls[1:] == ['x' * size]
    assert world.see(lambda service: service.jobs[jobid].runs[0].outcome) == (
        'completed')


def test_a_run_that_ends_meanwhile_conflicts_with_no_edit(
        world, ran, clock, meanwhile):
    jobid = cron(world)
    clock.advance(HOUR)
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    claim = worker.claim()
    other = meanwhile()
    other.service.editCronJob(jobid, input='second')
    worker.run(claim)
    other.commit()
    clock.advance(HOUR)
    assert world.drain() == 1
    assert ran == ['first', 'second']


def test_two_edits_at_once_conflict(world, ran, clock, meanwhile):
    jobid = cron(world)
    for running in (False, True):
        if running:
            clock.advance(HOUR)
            worker = world.processor().worker
            worker.enroll(PROCESSOR, 1)
            claim = worker.claim()
        other = meanwhile()
        other.service.editCronJob(jobid, input='theirs')
        world.do(lambda service: service.editCronJob(jobid, minute=(10,)))
        with pytest.raises(ConflictError):
            other.commit()
        if running:
            worker.run(claim)
        world.do(lambda service: service.editCronJob(jobid, minute=(0,)))


def test_an_edit_and_its_time_at_once(world, ran, clock, meanwhile):
    jobid = cron(world)
    clock.advance(HOUR)
    other = meanwhile()
    other.service.editCronJob(jobid, input='second')
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    claim = worker.claim()
    with pytest.raises(ConflictError):
        other.commit()
    world.do(lambda service: service.editCronJob(jobid, input='second'))
    worker.run(claim)
    clock.advance(HOUR)
    assert world.drain() == 1
    assert ran == ['first', 'second']


def test_a_run_whose_worker_dies_goes_on_as_it_began(world, ran, clock):
    jobid = cron(world)
    clock.advance(HOUR)
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    worker.claim()
    world.do(lambda service: service.editCronJob(jobid, input='second'))
    assert world.dies(worker) == [jobid]
    assert world.drain() == 1
    clock.advance(HOUR)
    assert world.drain() == 1
    assert ran == ['first', 'second']
