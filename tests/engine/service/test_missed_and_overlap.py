"""What becomes of times that were missed, and of those amid a run."""

import calendar
import threading
from datetime import UTC
from datetime import datetime

import pytest
import transaction

from lovely.remotetask.context import currentJob
from lovely.remotetask.processor import SimpleProcessor

MINUTE, HOUR = 60, 3600
DEADLINE = 20


def at(hour, minute=0, second=0):
    return float(calendar.timegm((2027, 5, 5, hour, minute, second)))


@pytest.fixture
def clock(clock):
    """It stands still at a half past ten."""
    clock.set(at(10, 30))
    return clock


@pytest.fixture
def runs(register):
    """For what time each run was, as '11:00'; and what is called amid it."""
    class Runs(list):
        during = ()

        def times(self):
            found, self[:] = list(self), []
            return found

    runs = Runs()

    def work(input):
        job = currentJob()
        runs.append(f'{job.dueAt:%H:%M}' if job.dueAt else 'beside')
        calls, runs.during = runs.during, ()
        for call in calls:
            call()

    register(work, 'work')
    return runs


@pytest.fixture
def drain(application, service, clock):
    """Run what is due; the clock goes on by a second where times are owed."""
    def drain(most=200):
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        for _ in range(most):
            if not processor.processNext():
                transaction.begin()
                if not any(job.of_next('owed', None)
                           for job in service.jobs.values()):
                    return
                clock.advance(1)
        raise AssertionError(f'more than {most} runs')

    return drain


@pytest.fixture
def elsewhere(application):
    """Do what another worker would: look once, in a thread of its own."""
    def look():
        failures = []

        def work():
            try:
                SimpleProcessor(application.db, ['tasks']).processNext()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(DEADLINE)
        assert not thread.is_alive() and not failures, failures

    return look


# -- missed -------------------------------------------------------------------

# An hourly schedule; no worker is there from 10:30 to 13:45.
OUTAGE = [
    ({}, ['13:00']),
    ({'missed': 'once'}, ['13:00']),
    ({'missed': 'skip'}, []),
    ({'missed': 'all'}, ['11:00', '12:00', '13:00']),
    ({'missed': 'all', 'atMost': 1}, ['13:00']),
    ({'missed': 'all', 'atMost': 2}, ['12:00', '13:00']),
    ({'missed': 'all', 'atMost': 3}, ['11:00', '12:00', '13:00']),
    ({'missed': 'all', 'atMost': 9}, ['11:00', '12:00', '13:00']),
    ({'missed': 'all', 'deadline': 2 * HOUR}, ['12:00', '13:00']),
    ({'missed': 'all', 'deadline': 45 * MINUTE}, ['13:00']),
    ({'missed': 'all', 'deadline': 44 * MINUTE}, []),
    ({'missed': 'once', 'deadline': 2 * HOUR}, ['13:00']),
    ({'missed': 'once', 'deadline': 44 * MINUTE}, []),
    ({'missed': 'skip', 'deadline': 2 * HOUR}, ['13:00']),
    ({'missed': 'skip', 'deadline': 44 * MINUTE}, []),
]
HOURLY = [{'minute': (0,)}, {'cron': '0 * * * *'},
          {'cron': '0 * * * *', 'timezone': 'Europe/Vienna'},
          {'cron': '@hourly', 'timezone': 'America/New_York'}]


@pytest.mark.parametrize('rule', [
    *HOURLY, *({'cron': '0 * * * *', 'overlap': overlap}
               for overlap in ('allow', 'queue', 'cancel'))], ids=str)
@pytest.mark.parametrize('policy, expected', OUTAGE, ids=str)
def test_an_outage(service, clock, drain, runs, policy, expected, rule):
    jobid = service.addCronJob('work', **rule, **policy)
    clock.set(at(13, 45))
    drain()
    assert runs.times() == expected
    # It goes on with its next time.
    assert service.jobs[jobid].scheduledAt == datetime(
        2027, 5, 5, 14, tzinfo=UTC)
    for hour in (14, 15):
        clock.set(at(hour))
        drain()
    assert runs.times() == ['14:00', '15:00']
    assert service.getStatus(jobid) == 'cronjob'


@pytest.mark.parametrize('policy, expected', OUTAGE, ids=str)
def test_a_period_that_was_missed(service, clock, drain, runs, policy,
                                  expected):
    clock.set(at(10))
    service.addCronJob('work', every=HOUR, **policy)
    clock.set(at(13, 45))
    drain()
    assert runs.times() == expected
    clock.set(at(14))
    drain()
    assert runs.times() == ['14:00']


def test_what_was_skipped_is_told(service, clock, drain, runs):
    jobid = service.addCronJob('work', cron='0 * * * *', missed='skip')
    clock.set(at(13, 45))
    drain()
    (run,) = service.jobs[jobid].runs
    assert (run.outcome, run.seconds) == ('skipped', 0.0)
    assert run.error == 'it was due at 2027-05-05 11:00 UTC'
    assert run.endedAt == datetime(2027, 5, 5, 13, 45, tzinfo=UTC)


@pytest.mark.parametrize('late, expected', [(0, 1), (60, 1), (61, 0)])
def test_a_worker_that_looks_a_minute_later_has_missed_nothing(
        service, clock, drain, runs, late, expected):
    service.addCronJob('work', cron='0 * * * *', missed='skip')
    clock.set(at(11) + late)
    drain()
    assert len(runs) == expected


def test_many_missed_times_are_no_more_work_than_those_that_run(
        service, clock, drain, runs):
    """A quarter of a year, each minute: 130,000 times."""
    jobid = service.addCronJob(
        'work', cron='* * * * *', missed='all', atMost=3)
    clock.advance(90 * 24 * HOUR)
    drain()
    assert runs.times() == ['10:28', '10:29', '10:30']
    assert service.jobs[jobid].scheduledAt.minute == 31


def test_times_that_are_owed_go_on_after_failures(
        service, clock, drain, runs):
    service.addCronJob('work', cron='0 * * * *', missed='all')
    clock.set(at(13, 45))

    def fail():
        raise ValueError('this time it fails')

    runs.during = (fail,)
    drain()
    assert runs.times() == ['11:00'] * 2 + ['12:00', '13:00']


def test_a_paused_schedule_owes_nothing(service, clock, drain, runs):
    jobid = service.addCronJob('work', cron='0 * * * *', missed='all')
    clock.set(at(13, 45))
    runs.during = (lambda: currentJob().service.pauseCronJob(jobid),)
    with pytest.raises(AssertionError, match='more than'):
        drain(5)
    assert runs.times() == ['11:00']
    clock.set(at(15, 30))
    service.resumeCronJob(jobid)
    drain()
    assert runs.times() == []
    clock.set(at(16))
    drain()
    assert runs.times() == ['16:00']


# -- overlap ------------------------------------------------------------------

# Each minute; the run for 10:31 takes until 10:33:30, and another worker looks
# at 10:32 and 10:33.
@pytest.mark.parametrize('missed', ['once', 'skip', 'all'])
@pytest.mark.parametrize('overlap, amid, behind', [
    ('skip', [], []),
    ('allow', ['10:32', '10:33'], []),
    ('queue', [], ['10:32', '10:33']),
    ('cancel', ['10:32', '10:33'], []),
])
def test_a_run_longer_than_its_period(
        service, clock, drain, runs, elsewhere, overlap, amid, behind,
        missed):
    jobid = service.addCronJob('work', cron='* * * * *', overlap=overlap,
                               missed=missed)
    clock.set(at(10, 31))

    def long_run():
        for minute in (32, 33):
            clock.set(at(10, minute))
            elsewhere()
        clock.advance(30)

    runs.during = (long_run,)
    drain()
    assert runs.times() == ['10:31', *amid, *behind]
    assert service.jobs[jobid].scheduledAt == datetime(
        2027, 5, 5, 10, 34, tzinfo=UTC)
    clock.set(at(10, 34))
    drain()
    assert runs.times() == ['10:34']
    ends = [run.outcome for run in reversed(service.jobs[jobid].runs)]
    assert ends == {
        'skip': ['completed'] * 2, 'queue': ['completed'] * 4,
        'allow': ['completed'] * 2,
        'cancel': ['cancelled'] + ['completed'] * 3}[overlap]


def test_what_a_cancelled_run_did_is_undone(
        application, service, clock, drain, runs, elsewhere):
    service.addCronJob('work', cron='* * * * *', overlap='cancel')
    clock.set(at(10, 31))
    seen = []

    def long_run():
        job = currentJob()
        job.service.__parent__.trace = '10:31'
        clock.set(at(10, 32))
        elsewhere()
        clock.advance(2)
        seen.append(job.cancelled)

    runs.during = (long_run,)
    drain()
    assert runs.times() == ['10:31', '10:32']
    assert not hasattr(application.root, 'trace')


def test_a_job_beside_knows_its_schedule(
        service, clock, drain, runs, elsewhere):
    jobid = service.addCronJob('work', 'x' * 5000, cron='* * * * *',
                               overlap='allow', priority=2)
    clock.set(at(10, 31))

    def long_run():
        clock.set(at(10, 32))
        elsewhere()

    runs.during = (long_run,)
    drain()
    (beside,) = (job for job in service.jobs.values() if job.id != jobid)
    assert (beside.schedule, beside.task, beside.status, beside.priority) == (
        jobid, 'work', 'completed', 2)
    assert beside.input == service.jobs[jobid].input == 'x' * 5000
    service.clean()
    transaction.commit()
    assert list(service.jobs) == [jobid]
    assert service.jobs[jobid].input == 'x' * 5000


def test_one_that_waits_for_a_thread_gets_none_beside_it(
        service, clock, runs, drain):
    """It would wait, too; and of ten thousand, each one."""
    service.addCronJob('work', cron='* * * * *', overlap='allow')
    for minute in (31, 32, 33):
        clock.set(at(10, minute))
        # Makes ready what is due, and claims nothing.
        service.jobqueue._make_due_ready(clock.now())
    assert len(service.jobs) == 1
    drain()
    assert runs.times() == ['10:31']


def test_one_that_waits_for_a_thread_keeps_its_place(
        service, clock, drain, runs):
    """Sent back to the end at each time, it might never run."""
    jobid = service.addCronJob('work', cron='* * * * *', overlap='cancel')
    clock.set(at(10, 31))
    service.jobqueue._make_due_ready(clock.now())
    place = service.jobs[jobid].position
    clock.set(at(10, 32))
    service.jobqueue._make_due_ready(clock.now())
    assert service.jobs[jobid].position == place
    drain()
    assert runs.times() == ['10:32']
