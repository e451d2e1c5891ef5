"""A clock that is wrong for a while, and then right again."""

import calendar
import datetime

import pytest
import transaction
from zope.component import provideUtility

from lovely.remotetask import TaskService
from lovely.remotetask import settings
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.job import Failure
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run import monitor
from lovely.remotetask.run import sweep
from lovely.remotetask.store import check
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import FunctionTask

HOUR = 3600
YEAR = 365 * 86_400


class Clock:
    """The clock of services and of sweeps.

    Attributes: ``moment``, what it shows; ``wrong``, by how much that is
    wrong.
    """

    moment = float(calendar.timegm((2027, 5, 5, 10, 30, 0)))
    wrong = 0.0

    def now(self):
        return self.moment

    def monotonic(self):
        return self.moment - self.wrong

    def jump(self, seconds):
        self.moment += seconds
        self.wrong += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(TaskService, 'clock', clock)
    monkeypatch.setattr(sweep, 'SYSTEM_CLOCK', clock)
    return clock


@pytest.fixture
def outcomes():
    """What the runs of the task ``work`` raise, one after another."""
    outcomes = []

    def work(service, jobid, input):
        if outcomes and (error := outcomes.pop(0)) is not None:
            raise error

    class Second(RetryPolicy):
        def delay(self, failures, rng):
            return 1.0

    provideUtility(FunctionTask(work, retry=Second()), ITask, 'work')
    return outcomes


@pytest.fixture
def processor(application, service, clock):
    processor = SimpleProcessor(application.db, ['tasks'])
    processor.worker.enroll(LOOP, 1)
    transaction.begin()
    yield processor
    processor.worker.leave()
    processor._listener.close()


@pytest.fixture
def looks(processor):
    """A look of the worker, as its monitor makes one each second."""
    looks = sweep.Sweep(processor.worker)

    def look():
        transaction.commit()
        looks.go_on()
        transaction.begin()

    look()
    return look


def found(service, clock):
    steps, start, kinds = [], None, {}
    while True:
        steps, start = check.step(service.jobqueue, start, 100, clock.now())
        for one in steps:
            kinds.setdefault(one.kind, []).append(one.jobid)
        if start is None:
            return kinds


def waits(service, clock, jobid):
    return round(
        service.jobs[jobid].scheduledAt.timestamp() - clock.moment, 2)


# -- what waits for longer than it should -------------------------------------

@pytest.mark.parametrize('ahead', [HOUR, 30 * 86_400, 10 * YEAR])
def test_a_schedule_that_was_placed_by_a_clock_ahead(
        service, clock, looks, outcomes, log, ahead):
    """Its next run was in ten years."""
    clock.jump(ahead)
    looks()
    jobid = service.addCronJob('work', minute=(0,))
    clock.jump(-ahead)
    transaction.commit()
    assert found(service, clock) == {check.LATE: [jobid]}
    looks()
    assert waits(service, clock, jobid) == HOUR / 2
    assert found(service, clock) == {}
    assert log == [
        f'WARNING jobs were to wait for longer than their schedules or '
        f'delays say, as after a clock that was ahead; they are placed anew: '
        f'{jobid}']


def test_the_slow_look_of_an_idle_worker_finds_it_as_well(
        service, clock, processor, outcomes):
    """A worker that was not there when the clock was set right."""
    clock.jump(YEAR)
    jobid = service.addCronJob('work', minute=(0,))
    clock.jump(-YEAR)
    transaction.commit()
    looks = sweep.Sweep(processor.worker)
    looks.go_on()
    transaction.begin()
    assert waits(service, clock, jobid) > YEAR
    clock.moment += settings.CHECK_SECONDS + 1
    looks.go_on()
    transaction.begin()
    assert 0 < waits(service, clock, jobid) < HOUR / 2


@pytest.mark.parametrize('error', [ValueError('no'), RetryLater(1)])
def test_a_back_off_is_no_longer_than_its_policy_says(
        service, clock, processor, looks, outcomes, error):
    jobid = service.add('work')
    outcomes[:] = [error]
    transaction.commit()
    assert processor.processNext()
    clock.jump(-HOUR)
    clock.moment += 0.25
    looks()
    until = service.jobs[jobid].position[1]
    assert not service.hasJobsWaiting() and until
    clock.moment += 1
    assert processor.processNext()
    transaction.begin()
    assert service.getStatus(jobid) == 'completed'


def test_a_delay_is_no_longer_than_was_asked_for(
        service, clock, looks, outcomes):
    jobid = service.add('work', delay=60)
    clock.jump(-HOUR)
    looks()
    assert waits(service, clock, jobid) == 60
    clock.moment += 59
    clock.jump(-HOUR)
    # The minute begins anew: how much of it is over is not known any more.
    looks()
    assert waits(service, clock, jobid) == 60


def test_a_moment_that_was_asked_for_stays(
        service, clock, processor, looks, outcomes):
    when = datetime.datetime.fromtimestamp(clock.moment + 60, datetime.UTC)
    jobid = service.add('work', runAt=when)
    resting = service.add('work', priority=1)
    outcomes[:] = [RetryLater(when=when)]
    transaction.commit()
    assert processor.processNext()
    clock.jump(-HOUR)
    looks()
    assert waits(service, clock, jobid) == HOUR + 60
    assert found(service, clock) == {}
    clock.moment += HOUR + 59
    assert not service.hasJobsWaiting()
    assert service.getStatus(resting) == 'queued'


def test_clocks_that_differ_a_little_move_nothing_and_repeat_no_run(
        service, clock, processor, looks, outcomes):
    """One worker's clock is four minutes before another's."""
    jobid = service.addCronJob('work', minute=(0,))
    service.add('work', delay=3)
    clock.moment += HOUR / 2
    transaction.commit()
    while processor.processNext():
        pass
    transaction.begin()
    following = service.jobs[jobid].scheduledAt
    clock.jump(-239)
    looks()
    assert service.jobs[jobid].scheduledAt == following
    service.jobs[jobid].update(minute=(0, 0))
    service.reschedule(jobid)
    moved = service.jobs[jobid].scheduledAt - following
    assert abs(moved.total_seconds()) < 1


def test_a_schedule_that_ran_by_a_clock_ahead_goes_on_by_the_right_one(
        service, clock, processor, looks, outcomes):
    jobid = service.addCronJob('work', minute=(0,))
    clock.jump(YEAR)
    looks()
    assert processor.processNext()
    transaction.begin()
    clock.jump(-YEAR)
    looks()
    assert waits(service, clock, jobid) == HOUR / 2


# -- other moments that are compared with the clock ---------------------------

def test_the_figures_are_of_the_last_minute(
        service, clock, processor, looks, outcomes):
    """All that ended after such a jump counted as of this minute."""
    def run(count):
        for _ in range(count):
            service.add('work')
        transaction.commit()
        while processor.processNext():
            pass
        transaction.begin()

    clock.jump(YEAR)
    run(3)
    clock.jump(-YEAR)
    run(40)
    assert service.stats()['completed'] == 43
    assert service.stats()['completedPerMinute'] > 0
    clock.moment += 120
    assert service.stats()['completedPerMinute'] == 0
    run(2)
    assert service.stats()['completedPerMinute'] == 2


def test_a_task_is_missing_since_no_later_than_now(service, clock, outcomes):
    job = service.jobs[service.add('work')]
    failure = Failure('', 'no', '', 0, clock.moment)
    job.put(missing_since=clock.moment + YEAR)
    service.jobqueue.miss(job, failure, clock.now())
    assert job.missing_since == clock.moment


def test_a_job_claimed_by_hand_is_given_back_after_a_jump(
        application, service, clock, processor, outcomes):
    jobid = service.add('work')
    clock.jump(YEAR)
    assert service.claimNextJob() == jobid
    clock.jump(-YEAR)
    transaction.commit()
    watching = monitor.Monitor(application.db)
    watching.add(processor.worker)
    watching.look(processor.worker)
    transaction.begin()
    assert service.getStatus(jobid) == 'queued'
