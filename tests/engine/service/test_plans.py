"""Rules beside the fields: crontab strings, periods, moments, time zones."""

import sys
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import transaction

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import UsageError
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.schedule import crontab
from lovely.remotetask.schedule import zones
from lovely.remotetask.store import check

NOON = datetime(2027, 5, 5, 12, tzinfo=UTC)


@pytest.fixture
def clock(clock):
    clock.set(NOON.timestamp())
    return clock


@pytest.fixture
def ran(register, clock):
    """When the runs of the task were, in minutes after noon."""
    seen = []
    register(lambda input: seen.append(
        (clock.now() - NOON.timestamp()) / 60), 'work')
    return seen


def next_of(service, jobid):
    return service.jobs[jobid].scheduledAt


def test_periods_do_not_drift(service, clock, ran):
    service.addCronJob('work', every=90)
    for _ in range(8):
        clock.advance(67)
        service.process()
    # Each at the first look after a multiple of 90 seconds.
    assert ran == [67 * looks / 60 for looks in (2, 3, 5, 6, 7)]


def test_a_period_that_is_asked_for_again_goes_on(service, clock, ran):
    """At each start of an application, more often than it runs."""
    for _ in range(3):
        jobid = service.addCronJob('work', every=3600, key='hourly',
                                   onDuplicate='update')
        clock.advance(1500)
    assert next_of(service, jobid) == NOON + timedelta(hours=1)
    service.process()
    assert len(ran) == 1


def test_the_same_plan_writes_nothing(service, ran):
    plan = {'cron': '30 2 * * *', 'timezone': 'Europe/Vienna',
            'missed': 'all', 'atMost': 3, 'overlap': 'queue'}
    for given in (plan, {'every': 60, 'deadline': 5}):
        key = str(given)
        service.addCronJob('work', **given, key=key)
        transaction.commit()
        service.addCronJob('work', **given, key=key, onDuplicate='update')
        assert service._p_jar._registered_objects == []


@pytest.mark.parametrize('at, zone, expected', [
    (datetime(2027, 5, 6, 9), 'UTC', datetime(2027, 5, 6, 9, tzinfo=UTC)),
    (datetime(2027, 5, 6, 9), 'Europe/Vienna',
     datetime(2027, 5, 6, 7, tzinfo=UTC)),
    (datetime(2027, 5, 6, 9, tzinfo=timezone(timedelta(hours=-5))),
     'Europe/Vienna', datetime(2027, 5, 6, 14, tzinfo=UTC)),
    # Skipped, and repeated, in Vienna.
    (datetime(2028, 3, 26, 2, 30), 'Europe/Vienna',
     datetime(2028, 3, 26, 1, tzinfo=UTC)),
    (datetime(2027, 10, 31, 2, 30), 'Europe/Vienna',
     datetime(2027, 10, 31, 0, 30, tzinfo=UTC))])
def test_a_moment_runs_once(service, clock, ran, at, zone, expected):
    jobid = service.addCronJob('work', at=at, timezone=zone)
    assert next_of(service, jobid) == service.jobs[jobid].at == expected
    assert service.getStatus(jobid) == 'delayed'
    clock.set(expected.timestamp() + 7)
    service.process()
    assert service.getStatus(jobid) == 'completed' and len(ran) == 1


REFUSED = [
    ({}, 'no schedule'),
    ({'cron': '* * * * *', 'every': 60}, 'cron and every'),
    ({'cron': '* * * * *', 'minute': (5,)}, 'fields and cron'),
    ({'cron': '* * * * *', 'delay': 5}, 'delay and cron'),
    ({'at': NOON, 'every': 60}, 'every and at'),
    ({'cron': 5}, 'cron is 5'),
    ({'cron': ''}, '0 fields'),
    ({'cron': '* * * *'}, '4 fields'),
    ({'cron': '0 * * * * *'}, 'seconds are not supported'),
    ({'cron': '@reboot'}, 'unknown'),
    ({'cron': '*/0 * * * *'}, 'bad minute'),
    ({'cron': '5-1 * * * *'}, 'bad minute'),
    ({'cron': '* 24 * * *'}, 'bad hour'),
    ({'cron': '* * 0 * *'}, 'bad day-of-month'),
    ({'cron': '* * * 13 *'}, 'bad month'),
    ({'cron': '* * * * 8'}, 'bad day-of-week'),
    ({'cron': '0 0 31 2 *'}, 'bad day-of-month'),
    ({'cron': '0 0 */29 2 MON#5'}, 'never occurs'),
    ({'cron': ',' * 500}, 'bad minute|fields'),
    ({'cron': '*' * 501}, 'cron is'),
    ({'cron': 'L/2 * * * *'}, 'bad minute|no schedule'),
    ({'every': 0}, 'every is 0'), ({'every': 0.9}, 'at least 1'),
    ({'every': float('nan')}, 'every is nan'), ({'every': True}, 'True'),
    ({'every': 1e18}, 'every is'), ({'every': '60'}, "'60'"),
    ({'every': 60, 'timezone': 'Europe/Vienna'}, 'asks no clock'),
    ({'at': '2027-05-06'}, 'give a datetime'),
    ({'at': NOON}, 'has passed'),
    ({'at': datetime.max}, 'years 2 to 9998'),
    ({'cron': '@daily', 'timezone': 'Wien'}, "'Wien' is unknown"),
    ({'cron': '@daily', 'timezone': None}, 'timezone is None'),
    ({'cron': '@daily', 'timezone': '../../etc/passwd'}, 'unknown'),
    ({'cron': '@daily', 'timezone': 'IST'}, 'ambiguous'),
    ({'cron': '@daily', 'timezone': 'localtime'}, 'unknown'),
    ({'cron': '@daily', 'timezone': 'right/Europe/Vienna'}, 'unknown'),
    ({'cron': '@daily', 'timezone': 'EST5EDT'}, 'abbreviation'),
    ({'cron': '@daily', 'missed': 'never'}, "missed is 'never'"),
    ({'cron': '@daily', 'missed': ['all']}, 'missed is'),
    ({'cron': '@daily', 'overlap': None}, 'overlap is None'),
    ({'cron': '@daily', 'atMost': 3}, 'bounds'),
    ({'cron': '@daily', 'missed': 'all', 'atMost': 0}, 'atMost is 0'),
    ({'cron': '@daily', 'missed': 'all', 'atMost': True}, 'atMost is True'),
    ({'cron': '@daily', 'deadline': 0}, 'deadline is 0'),
    ({'cron': '@daily', 'deadline': -5}, 'deadline is -5'),
    ({'delay': 5, 'missed': 'all'}, 'runs once'),
    ({'at': NOON + timedelta(1), 'overlap': 'queue'}, 'runs once'),
]


@pytest.mark.parametrize('given, told', REFUSED, ids=str)
def test_what_is_refused_stores_nothing(service, ran, given, told):
    nightly = service.addCronJob('work', cron='@daily')
    transaction.commit()
    before = dict(service.jobs[nightly].__dict__)
    with pytest.raises(InvalidSchedule, match=told):
        service.addCronJob('work', **given)
    if given:
        with pytest.raises((InvalidSchedule, UsageError)):
            service.editCronJob(nightly, **given)
    assert service._p_jar._registered_objects == []
    assert list(service.jobs) == [nightly]
    assert service.jobs[nightly].__dict__ == before


def test_one_rule_takes_the_place_of_the_other(service, ran):
    jobid = service.addCronJob('work', cron='30 2 * * *',
                               timezone='Europe/Vienna', missed='skip')
    job = service.jobs[jobid]
    service.editCronJob(jobid, cron='0 3 * * *')
    assert (job.cron, job.timezone, job.missed) == (
        '0 3 * * *', 'Europe/Vienna', 'skip')
    service.editCronJob(jobid, every=600)
    assert (job.cron, job.every, job.timezone, job.missed) == (
        None, 600, 'UTC', 'skip')
    assert next_of(service, jobid) == NOON + timedelta(seconds=600)
    service.editCronJob(jobid, hour=(14,), timezone='Europe/Vienna')
    assert (job.every, job.hour, job.minute) == (None, (14,), ())
    assert next_of(service, jobid) == NOON + timedelta(days=1)
    service.editCronJob(jobid, minute=(5,))
    assert (job.hour, job.minute) == ((14,), (5,))
    service.editCronJob(jobid, at=datetime(2027, 5, 7, 9))
    assert (job.hour, job.minute, job.missed) == ((), (), 'once')
    assert service.getStatus(jobid) == 'delayed'
    assert next_of(service, jobid) == datetime(2027, 5, 7, 7, tzinfo=UTC)
    service.editCronJob(jobid, cron='@hourly')
    assert service.getStatus(jobid) == 'cronjob'
    assert next_of(service, jobid) == NOON + timedelta(hours=1)


def test_0_5_2s_update_takes_the_plan_away(service, ran):
    jobid = service.addCronJob('work', cron='30 2 * * *', overlap='queue')
    job = service.jobs[jobid]
    job.update(hour=(14,))
    service.reschedule(jobid)
    assert job.plan is None and job.cron is None and job.overlap == 'skip'
    assert next_of(service, jobid) == NOON + timedelta(hours=2)


def test_without_cronsim(service, ran, monkeypatch):
    import sys

    from lovely.remotetask.errors import ConfigurationError
    from lovely.remotetask.schedule import crontab

    monkeypatch.setitem(sys.modules, 'cronsim', None)
    crontab._read.cache_clear()
    with pytest.raises(ConfigurationError, match=r'remotetask\[cron\]'):
        service.addCronJob('work', cron='1 2 3 4 5')
    assert service.addCronJob('work', every=5)


@pytest.mark.parametrize('unknown', ['zone', 'cronsim'])
def test_a_schedule_that_one_worker_cannot_tell_keeps_no_job_from_it(
        application, service, clock, ran, log, monkeypatch, unknown):
    """Another machine has checked it, which has more installed."""
    nightly = service.addCronJob('work', cron='0 * * * *',
                                 timezone='Europe/Vienna')
    other = service.add('work')
    transaction.commit()
    clock.advance(7200)
    with monkeypatch.context() as patch:
        if unknown == 'zone':
            def unknown_zone(name):
                raise KeyError(name)

            patch.setattr(zones, 'zone', unknown_zone)
        else:
            crontab._read.cache_clear()
            patch.setitem(sys.modules, 'cronsim', None)
        processor = SimpleProcessor(application.db, ['tasks'])
        assert [processor.processNext() for _ in range(2)] == [True, False]
        transaction.begin()
        assert not service.jobqueue.has_due(clock.now())
        assert all(when > clock.now()
                   for when in service.jobqueue.comes(clock.now()))
        assert check.late(service.jobqueue, 0.0) == []
    assert service.getStatus(other) == 'completed'
    (told,) = (line for line in log if 'left to other workers' in line)
    assert str(nightly) in told
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    assert len(ran) == 2
