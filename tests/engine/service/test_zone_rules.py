"""The rules of a time zone change while a schedule waits for its next run."""

import zoneinfo
from datetime import UTC
from datetime import datetime

import pytest
import transaction

from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.schedule import zones
from lovely.remotetask.store import check
from lovely.remotetask.store import mending

NAME = 'Europe/Vienna'


def moment(day, hour, minute=0):
    return datetime(2027, 5, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.fixture
def rules(monkeypatch):
    """``rules(name)``: from now on the zone has the rules of another one."""
    def use(name):
        found = zoneinfo.ZoneInfo(name)
        monkeypatch.setattr(zones, 'zone', lambda asked: found)

    return use


@pytest.fixture
def runs(application, service, clock, register):
    """``runs(day, hour)``: when the runs up to then were, by a worker that
    looks each half hour."""
    seen = []
    register(lambda input: seen.append(
        datetime.fromtimestamp(clock.now(), UTC).strftime('%d %H:%M')),
        'work')

    def until(day, hour):
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        while clock.now() < moment(day, hour):
            clock.advance(1800)
            while processor.processNext():
                pass
        transaction.begin()
        found, seen[:] = list(seen), []
        return found

    clock.set(moment(4, 12))
    return until


# Vienna has 2:30 at 0:30 UTC in May.
@pytest.mark.parametrize('rule', [
    {'cron': '30 2 * * *'}, {'hour': (2,), 'minute': (30,)}], ids=str)
def test_its_moment_comes_later(service, runs, rules, rule):
    jobid = service.addCronJob('work', timezone=NAME, **rule)
    assert runs(5, 12) == ['05 00:30']
    # Summer time is gone: 2:30 is at 1:30 UTC now.
    rules('Africa/Lagos')
    assert runs(6, 12) == ['06 01:30']
    assert runs(7, 12) == ['07 01:30']
    assert len(service.jobs[jobid].runs) == 3


@pytest.mark.parametrize('ran', [False, True])
def test_its_moment_comes_earlier(service, clock, runs, rules, ran):
    jobid = service.addCronJob('work', timezone=NAME, cron='30 2 * * *')
    if ran:
        assert runs(5, 12) == ['05 00:30']
    transaction.commit()
    day = 6 if ran else 5
    # Two hours east: 2:30 is at 22:30 UTC of the day before.
    rules('Asia/Dubai')
    # A look over all jobs, as an idle worker makes, finds it.
    transaction.begin()
    queue = service.jobqueue
    found = check.late(queue, clock.now())
    assert [one.jobid for one in found] == [jobid]
    mending.mend(queue, found, clock.now())
    assert runs(day, 12) == [f'0{day - 1} 22:30']
    assert runs(day + 1, 12) == [f'0{day} 22:30']


def test_no_look_found_it_in_time(service, runs, rules):
    """It runs late, and once."""
    service.addCronJob('work', timezone=NAME, cron='30 2 * * *')
    assert runs(5, 12) == ['05 00:30']
    rules('Asia/Dubai')
    assert runs(6, 12) == ['06 00:30']
    assert runs(7, 12) == ['06 22:30']


def test_a_rule_of_each_hour_is_as_it_was(service, runs, rules):
    service.addCronJob('work', timezone=NAME, cron='0 */6 * * *')
    assert runs(5, 11) == ['04 16:00', '04 22:00', '05 04:00', '05 10:00']
    rules('Africa/Lagos')
    # 12, 18, 0 and 6 o'clock by the new clock.
    assert runs(6, 11) == ['05 17:00', '05 23:00', '06 05:00', '06 11:00']
