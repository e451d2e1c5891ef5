"""A schedule that is run now, and a job that starts now, run once.

Whatever happens at the same moment: another such call, or the time itself.
"""

import pytest
from ZODB.POSException import ConflictError

from lovely.remotetask.context import currentJob
from lovely.remotetask.store.workers import PROCESSOR


@pytest.fixture
def ticks(register):
    """The idempotency keys of the runs of the task ``tick``."""
    ticks = []

    @register
    def tick(input):
        ticks.append((currentJob().idempotencyKey, currentJob().attempt))

    return ticks


def cron(world, **options):
    return world.do(lambda service: service.addCronJob(
        'tick', minute=(0,), **options))


def test_a_run_now_is_one_more_run(world, ticks, clock):
    jobid = cron(world)
    due = world.see(lambda service: service.jobs[jobid].scheduledAt)
    clock.advance(60)
    assert world.do(lambda service: service.runCronJob(jobid)) is True
    assert world.drain() == 1
    assert world.see(lambda service: service.jobs[jobid].scheduledAt) == due
    assert world.do(lambda service: service.runCronJob(jobid)) is True
    assert world.drain() == 1
    clock.advance(3600)
    assert world.drain() == 1
    assert len(set(ticks)) == 3
    assert {attempt for _, attempt in ticks} == {1}
    assert world.see(lambda service: [
        run.outcome for run in service.jobs[jobid].runs]) == ['completed'] * 3


def test_two_at_once_begin_one_run(world, ticks, clock, meanwhile):
    jobid = cron(world)
    other = meanwhile()
    assert other.service.runCronJob(jobid) is True
    assert world.do(lambda service: service.runCronJob(jobid)) is True
    with pytest.raises(ConflictError):
        other.commit()
    assert world.do(lambda service: service.runCronJob(jobid)) is False
    assert world.drain() == 1
    assert len(ticks) == 1


@pytest.mark.parametrize('first', ['call', 'time'])
def test_a_call_at_its_time_begins_one_run(
        world, ticks, clock, meanwhile, first):
    jobid = cron(world)
    # Between the moment at which it is due and the claim that sees that.
    clock.advance(3600)
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    if first == 'call':
        assert world.do(lambda service: service.runCronJob(jobid)) is True
        worker.run(worker.claim())
    else:
        other = meanwhile()
        assert other.service.runCronJob(jobid) is True
        claim = worker.claim()
        with pytest.raises(ConflictError):
            other.commit()
        assert world.do(lambda service: service.runCronJob(jobid)) is False
        worker.run(claim)
    assert worker.claim() is None and world.drain() == 0
    assert len(ticks) == 1
    # The next one comes at its time.
    clock.advance(3600)
    assert world.drain() == 1
    assert len(set(ticks)) == 2


def test_a_pause_and_a_time_at_once(world, ticks, clock, meanwhile):
    jobid = cron(world)
    clock.advance(3600)
    other = meanwhile()
    other.service.pauseCronJob(jobid)
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    claim = worker.claim()
    with pytest.raises(ConflictError):
        other.commit()
    world.do(lambda service: service.pauseCronJob(jobid))
    worker.run(claim)
    clock.advance(3600)
    assert world.drain() == 0
    assert len(ticks) == 1
    assert world.status(jobid) == 'cronjob'


def test_a_pause_does_not_undo_a_run(world, ticks, clock, register):
    calls = []

    @register
    def slow(input):
        calls.append(input)
        if len(calls) == 1:
            world.do(lambda service: service.pauseCronJob(jobid))

    jobid = world.do(lambda service: service.addCronJob('slow', minute=(0,)))
    clock.advance(3600)
    assert world.drain() == 1
    assert len(calls) == 1
    assert world.see(lambda service: service.jobs[jobid].enabled) is False
    clock.advance(7200)
    assert world.drain() == 0


@pytest.mark.parametrize('how', [
    {'delay': 60}, {'startLater': True}], ids=str)
@pytest.mark.parametrize('against', ['call', 'time'])
def test_a_start_now_and_another_at_once(
        world, ticks, clock, meanwhile, how, against):
    if against == 'time' and 'startLater' in how:
        # Its time is startJob().
        against = 'startJob'
    jobid = world.add('tick', **how)
    clock.advance(60)
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    other = meanwhile()
    assert other.service.startNow(jobid) is True
    if against == 'time':
        claim = worker.claim()
    else:
        assert world.do(lambda service: getattr(service, (
            'startNow' if against == 'call' else against))(jobid)) is True
        claim = worker.claim()
    assert claim.jobid == jobid
    with pytest.raises(ConflictError):
        other.commit()
    assert world.do(lambda service: service.startNow(jobid)) is False
    worker.run(claim)
    assert world.drain() == 0
    assert len(ticks) == 1
    assert world.status(jobid) == 'completed'
