"""Each scheduled run of a cron job is a run of its own."""

import calendar

import pytest
import transaction
from zope.component import provideUtility

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask

HOUR = 3600


@pytest.fixture
def clock(clock):
    """It stands still at a half past ten."""
    clock.set(float(calendar.timegm((2027, 5, 5, 10, 30, 0))))
    return clock


@pytest.fixture
def drain(application, service):
    """Run what is due by a processor; how many runs that took."""
    def drain():
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        runs = 0
        while processor.processNext():
            runs += 1
        transaction.begin()
        return runs

    return drain


@pytest.fixture
def ticks(components):
    """What each run saw, (key, attempt), and a list of what it raises."""
    class Ticks:
        def __init__(self):
            self.seen, self.raises, self.during = [], [], []

        def run(self, service, jobid, input):
            job = currentJob()
            self.seen.append((job.idempotencyKey, job.attempt))
            for call in self.during:
                call()
            if self.raises and (error := self.raises.pop(0)) is not None:
                raise error

    ticks = Ticks()
    provideUtility(
        FunctionTask(ticks.run, retry=RetryPolicy(1, base=0)), ITask, 'tick')
    return ticks


# -- what a run is ------------------------------------------------------------

def test_each_scheduled_run_has_a_key_and_a_first_attempt_of_its_own(
        service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    for _ in range(3):
        clock.advance(HOUR)
        assert drain() == 1
    keys = [key for key, _ in ticks.seen]
    assert len(set(keys)) == 3
    assert [attempt for _, attempt in ticks.seen] == [1, 1, 1]
    assert service.jobs[jobid].attempts == 1


def test_the_retries_of_a_scheduled_run_have_its_key(
        service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    ticks.raises = [ValueError('first'), None, ValueError('second'),
                    RetryLater(0), ValueError('third')]
    clock.advance(HOUR)
    assert drain() == 2
    assert service.getError(jobid) == 'None'
    clock.advance(HOUR)
    assert drain() == 2
    clock.advance(2)
    assert drain() == 1
    first, second = ticks.seen[0][0], ticks.seen[2][0]
    assert first != second
    assert ticks.seen == [(first, 1), (first, 2),
                          (second, 1), (second, 2), (second, 3)]
    # The failures of the first run are not charged to the second.
    assert (service.getStatus(jobid), service.getError(jobid)) == (
        'cronjob', 'third')


def test_a_run_by_hand_is_a_run_of_its_own_too(service, clock, ticks):
    service.addCronJob('tick', minute=(0,))
    for _ in range(2):
        clock.advance(HOUR)
        ticks.raises = [ValueError('final')]
        service.process()
    assert len({key for key, _ in ticks.seen}) == 2
    assert [attempt for _, attempt in ticks.seen] == [1, 1]


def test_a_direct_run_whose_start_was_aborted_keeps_its_key(
        service, clock, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    transaction.commit()
    clock.advance(HOUR)
    ticks.during = [transaction.abort]
    service.process()
    clock.advance(HOUR)
    service.process()
    assert len({key for key, _ in ticks.seen}) == 2
    assert service.jobs[jobid].attempts == 1


def test_a_retry_by_hand_goes_on_with_the_run(service, clock, drain, ticks):
    """It was left in its back-off."""
    jobid = service.addCronJob('tick', minute=(0,))
    ticks.raises = [RetryLater(1000)]
    clock.advance(HOUR)
    assert drain() == 1
    service.retryJob(jobid)
    assert drain() == 1
    assert ticks.seen[0][0] == ticks.seen[1][0]
    assert service.getStatus(jobid) == 'cronjob'


def test_a_job_with_a_delay_has_the_key_of_its_add(
        service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    clock.advance(HOUR)
    assert drain() == 1
    service.jobs[jobid].update(delay=5)
    service.reschedule(jobid)
    clock.advance(5)
    assert drain() == 1
    assert service.getStatus(jobid) == 'completed'
    (scheduled, attempt), (once, again) = ticks.seen
    assert scheduled.startswith(f'{once}-') and attempt == again == 1


# -- CancelJob ----------------------------------------------------------------

def test_canceljob_ends_the_run_and_not_the_schedule(
        service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    ticks.raises = [CancelJob()]
    clock.advance(HOUR)
    assert drain() == 1
    assert service.getStatus(jobid) == 'cronjob'
    clock.advance(HOUR)
    assert drain() == 1
    assert len({key for key, _ in ticks.seen}) == 2
    service.cancel(jobid)
    clock.advance(HOUR)
    assert drain() == 0
    assert service.getStatus(jobid) == 'cancelled'


def test_canceljob_in_direct_processing_ends_the_run_alone(
        service, clock, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    ticks.raises = [CancelJob()]
    clock.advance(HOUR)
    service.process()
    assert service.getStatus(jobid) == 'cronjob'


# -- an edit ------------------------------------------------------------------

def edit(service, jobid, **fields):
    service.jobs[jobid].update(**fields)
    service.reschedule(jobid)


def test_an_edit_while_a_run_is_due_keeps_the_run(
        service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    clock.advance(HOUR)
    edit(service, jobid, minute=(45,))
    assert drain() == 1
    assert service.jobs[jobid].scheduledAt.timestamp() == (
        clock.now() + 15 * 60)
    assert drain() == 0
    clock.advance(15 * 60)
    assert drain() == 1
    assert [attempt for _, attempt in ticks.seen] == [1, 1]


@pytest.mark.parametrize('early', [0, 0.0005])
def test_an_edit_while_a_run_waits_starts_no_second_one(
        service, clock, drain, ticks, early):
    jobid = service.addCronJob('tick', minute=(0,))
    # A run counts as due up to a millisecond early.
    clock.advance(HOUR / 2 - early)
    assert service.claimNextJob() == jobid
    service.jobqueue.requeue(service.jobs[jobid])
    edit(service, jobid, minute=(0, 30))
    clock.advance(early)
    assert drain() == 1
    edit(service, jobid, minute=(0,))
    assert drain() == 0
    assert service.getStatus(jobid) == 'cronjob'


def test_an_edit_while_it_runs_keeps_the_run(
        application, service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    clock.advance(HOUR)

    def change():
        ticks.during.clear()
        other = application.db.open(transaction.TransactionManager())
        seen = other.get(oid)
        edit(seen, jobid, minute=(30,))
        other.transaction_manager.commit()
        other.close()

    transaction.commit()
    oid = service._p_oid
    ticks.during = [change]
    # The run meets the edit, is undone, and goes on with the same key.
    assert drain() == 1
    assert len(ticks.seen) == 2 and len(set(ticks.seen)) == 1
    assert service.jobs[jobid].scheduledAt.timestamp() == clock.now() + HOUR
    assert drain() == 0


def test_a_final_error_of_a_run_ends_no_schedule(
        service, clock, drain, ticks):
    jobid = service.addCronJob('tick', minute=(0,))
    for _ in range(3):
        ticks.raises = [TaskError('no')]
        clock.advance(HOUR)
        assert drain() == 1
        assert service.getStatus(jobid) == 'cronjob'
