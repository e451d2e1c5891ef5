"""What becomes of times at which no worker was there."""

import calendar
from datetime import UTC
from datetime import datetime

import pytest
import transaction

from lovely.remotetask.context import currentJob
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store import check
from lovely.remotetask.store import mending

MINUTE, HOUR = 60, 3600


def at(hour, minute=0, second=0):
    return float(calendar.timegm((2027, 5, 5, hour, minute, second)))


@pytest.fixture
def clock(clock):
    """It stands still at a half past ten."""
    clock.set(at(10, 30))
    return clock


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
    drain()
    assert runs.times() == ['11:00']
    clock.set(at(15, 30))
    service.resumeCronJob(jobid)
    drain()
    assert runs.times() == []
    clock.set(at(16))
    drain()
    assert runs.times() == ['16:00']


def test_a_direct_run_that_fails_is_that_of_its_time(
        service, clock, runs):
    """Its look at what is due is undone with it, and done again."""
    service.addCronJob('work', cron='0 * * * *', missed='all')
    transaction.commit()
    clock.set(at(13, 45))

    def fail():
        raise ValueError('this time it fails')

    runs.during = (fail,)
    for _ in range(9):
        service.process()
        transaction.commit()
        clock.advance(1)
    assert runs.times() == ['11:00', '12:00', '13:00']


@pytest.mark.parametrize('missed, expected', [
    ('all', ['11:00', '12:00', '13:00']), ('once', ['13:00'])])
def test_a_run_by_hand_is_the_one_that_is_due(
        service, clock, drain, runs, missed, expected):
    jobid = service.addCronJob('work', cron='0 * * * *', missed=missed)
    clock.set(at(13, 45))
    assert service.runCronJob(jobid)
    drain()
    assert runs.times() == expected
    assert service.jobs[jobid].scheduledAt.hour == 14


def test_a_run_by_hand_is_the_next_one_that_is_owed(
        application, service, clock, drain, runs):
    jobid = service.addCronJob('work', cron='0 * * * *', missed='all')
    transaction.commit()
    clock.set(at(13, 45))
    SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    assert service.runCronJob(jobid)
    drain()
    assert runs.times() == ['11:00', '12:00', '13:00']


def test_an_edit_amid_a_run_ends_what_was_owed(service, clock, drain, runs):
    """By the new rule it would be each minute of those hours."""
    jobid = service.addCronJob('work', cron='0 * * * *', missed='all')
    clock.set(at(13, 45))
    runs.during = (lambda: currentJob().service.editCronJob(
        jobid, cron='* * * * *'),)
    drain()
    assert runs.times() == ['11:00']
    assert service.jobs[jobid].scheduledAt.minute == 46


def test_a_deadline_counts_when_the_run_begins(
        service, clock, drain, runs):
    """The first of those that were missed takes three hours."""
    jobid = service.addCronJob('work', cron='0 * * * *', missed='all',
                               deadline=2 * HOUR)
    clock.set(at(13, 45))
    runs.during = (lambda: clock.set(at(16, 45)),)
    drain()
    assert runs.times() == ['12:00']
    skipped, _ = service.jobs[jobid].runs
    assert (skipped.outcome, skipped.error) == (
        'skipped', 'it was due at 2027-05-05 13:00 UTC')


def test_what_is_owed_by_a_clock_ahead(
        application, service, clock, drain, runs):
    """The next look would come as late as the clock was ahead."""
    jobid = service.addCronJob('work', cron='0 * * * *', missed='all')
    transaction.commit()
    clock.advance(30 * 24 * HOUR)
    SimpleProcessor(application.db, ['tasks']).processNext()
    clock.set(at(13, 45))
    transaction.begin()
    queue = service.jobqueue
    (finding,) = check.late(queue, clock.now())
    assert finding.jobid == jobid
    assert mending.mend(queue, [finding], clock.now()) == [finding]
    drain()
    assert runs.times() == ['11:00', '12:00', '13:00']
    assert service.jobs[jobid].scheduledAt.hour == 14


def test_a_repair_keeps_what_is_owed(
        application, service, clock, drain, runs):
    jobid = service.addCronJob('work', cron='0 * * * *', missed='all')
    transaction.commit()
    clock.set(at(13, 45))
    SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    queue = service.jobqueue
    queue.due.discard(service.jobs[jobid].next_key(), jobid)
    findings = [check.Finding(check.ADRIFT, jobid)]
    assert mending.mend(queue, findings, clock.now()) == findings
    drain()
    assert runs.times() == ['11:00', '12:00', '13:00']


@pytest.mark.parametrize('policy, expected', [
    ({'missed': 'skip'}, []), ({'deadline': 600}, []), ({}, ['11:00']),
    ({'deadline': 4 * HOUR}, ['11:00'])], ids=str)
def test_a_deploy_that_changes_a_schedule_makes_up_no_more_than_it_says(
        service, clock, drain, runs, policy, expected):
    """No worker was there, and the application starts before the first."""
    for minute in ('0', '30'):
        jobid = service.addCronJob(
            'work', cron=f'{minute} * * * *', **policy, key='hourly',
            onDuplicate='update')
        transaction.commit()
        clock.set(at(13, 45))
    drain()
    assert runs.times() == expected
    assert service.jobs[jobid].scheduledAt == datetime(
        2027, 5, 5, 14, 30, tzinfo=UTC)
