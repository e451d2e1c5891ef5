"""Schedules of 0.5.2: they drifted, poisoned, and were not checked."""

import calendar
import datetime
import time

import pytest
import transaction

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.task import TaskError

YEAR = 365.25 * 86400


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


def at(*date):
    return calendar.timegm((*date, 0, 0, 0, 0, 0)[:6])


def next_call(now, **fields):
    return time.gmtime(
        CronJob(1, 'echo', None, **fields).timeOfNextCall(now))[:6]


# --- the search --------------------------------------------------------------

def test_impossible_dates_were_searched_minute_by_minute():
    for fields in ({'dayOfMonth': (30, 31), 'month': (2,)},
                   {'dayOfMonth': (31,), 'month': (4, 6, 9, 11)},
                   {'minute': (5,), 'dayOfMonth': (30,), 'month': (2,)}):
        began = time.perf_counter()
        with pytest.raises(InvalidSchedule, match='dayOfMonth'):
            CronJob(1, 'echo', None, **fields)
        assert time.perf_counter() - began < 0.1


def test_a_rare_date_was_searched_minute_by_minute():
    job = CronJob(1, 'echo', None, minute=(30,), dayOfMonth=(29,),
                  month=(2,), dayOfWeek=(0,))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        found = job.timeOfNextCall(at(2024, 3, 1))
        times.append(time.perf_counter() - began)
    assert time.gmtime(found)[:5] == (2044, 2, 29, 0, 30)
    assert min(times) < 0.1


def test_the_remainder_of_now_was_kept():
    now = at(2026, 5, 5, 10, 7, 23)
    assert next_call(now, minute=(0,)) == (2026, 5, 5, 11, 0, 0)
    assert next_call(now, hour=(12,)) == (2026, 5, 5, 12, 0, 0)
    assert next_call(now, dayOfMonth=(6,)) == (2026, 5, 6, 0, 0, 0)
    assert next_call(now, month=(7,)) == (2026, 7, 1, 0, 0, 0)
    assert next_call(now + 0.75, minute=(8,)) == (2026, 5, 5, 10, 8, 0)


def test_times_drifted_with_every_run(clock, service, drain):
    clock.set(at(2026, 5, 5, 10, 7, 23))
    cron = service.addCronJob('echo', minute=(0,))
    transaction.commit()
    for hour in (11, 12, 13):
        # Each look comes late.
        clock.set(at(2026, 5, 5, hour, 0, 17) + hour)
        assert drain() == 1
        assert service.jobs[cron].scheduledAt == datetime.datetime(
            2026, 5, 5, hour + 1, tzinfo=datetime.UTC)


def test_february_from_31_january():
    assert next_call(at(2026, 1, 31, 12), month=(2,)) == (
        2026, 2, 1, 0, 0, 0)
    assert next_call(at(2026, 1, 31, 12), month=(3,)) == (
        2026, 3, 1, 0, 0, 0)


# --- two clocks --------------------------------------------------------------

@pytest.fixture
def tokyo(monkeypatch):
    monkeypatch.setenv('TZ', 'UTC-9')
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_scheduledfor_is_local_while_fields_match_utc(tokyo, clock, service):
    clock.set(at(2026, 5, 5, 10))
    job = service.jobs[service.addCronJob('echo', hour=(13,))]
    assert job.scheduledFor == datetime.datetime(2026, 5, 5, 22)
    assert job.scheduledAt == datetime.datetime(
        2026, 5, 5, 13, tzinfo=datetime.UTC)
    assert job.scheduledFor.astimezone() == job.scheduledAt
    # Only one of them is stored: another time zone reads another hour.
    transaction.commit()
    stored = vars(job)
    assert not [v for v in stored.values()
                if isinstance(v, datetime.datetime)]


def test_delay_counted_from_the_first_look(clock, service, drain):
    began = clock.now()
    jobid = service.addCronJob('echo', 'x', delay=10)
    assert service.getStatus(jobid) == 'delayed'
    transaction.commit()
    clock.set(began + 9)
    assert drain() == 0
    clock.set(began + 10)
    # The first look was a second ago, the add ten.
    assert drain() == 1
    assert service.getResult(jobid) == 'x'


def test_delay_with_the_made_up_clock_of_doctests(service):
    jobid = service.addCronJob('echo', 'x', delay=10)
    service.process(0)
    assert service.getStatus(jobid) == 'delayed'
    service.process(9)
    assert service.getStatus(jobid) == 'delayed'
    service.process(10)
    assert service.getResult(jobid) == 'x'


# --- values ------------------------------------------------------------------

WRONG = [
    ('minute', 60), ('minute', -1), ('hour', 24), ('dayOfMonth', 0),
    ('dayOfMonth', 32), ('month', 0), ('month', 13), ('dayOfWeek', 7),
    ('minute', '0'), ('hour', 1.5), ('minute', None), ('minute', True)]


@pytest.mark.parametrize('field, value', WRONG)
def test_impossible_values_were_accepted(service, field, value):
    with pytest.raises(ValueError) as caught:
        service.addCronJob('echo', **{field: (value,)})
    assert field in str(caught.value) and repr(value) in str(caught.value)
    assert len(service.jobs) == 0
    with pytest.raises(ValueError):
        CronJob(1, 'echo', None, **{field: (value,)})
    job = CronJob(1, 'echo', None, hour=(3,), minute=(2,))
    with pytest.raises(ValueError):
        job.update(**{field: (value,)})
    assert (job.minute, job.hour) == ((2,), (3,)), 'it changed by half'


@pytest.mark.parametrize('value', [0, 7, '0', '12'])
def test_a_field_that_is_no_tuple(service, value):
    with pytest.raises(ValueError, match='minute'):
        service.addCronJob('echo', minute=value)


@pytest.mark.parametrize('delay', [-1, '10', float('nan'), float('inf')])
def test_impossible_delays_were_accepted(service, delay):
    with pytest.raises(ValueError, match='delay'):
        service.addCronJob('echo', delay=delay)
    assert len(service.jobs) == 0


@pytest.mark.parametrize('field, value', [
    pair for pair in WRONG if pair[1] is not True])
def test_impossible_values_are_refused_by_assignment(field, value):
    job = CronJob(1, 'echo', None)
    with pytest.raises(Exception) as caught:
        setattr(job, field, (value,))
    assert field in repr(caught.value) or 'Wrong' in repr(caught.value)
    assert getattr(job, field) == ()


def test_no_fields_meant_every_minute_for_ever(service):
    with pytest.raises(InvalidSchedule, match='minute.*delay'):
        service.addCronJob('echo')
    assert len(service.jobs) == 0
    assert CronJob(1, 'echo', {}).timeOfNextCall(0) is None


def test_delay_0_meant_every_minute_for_ever(clock, service, drain):
    jobid = service.addCronJob('echo', 'x', delay=0)
    assert service.getStatus(jobid) == 'delayed'
    transaction.commit()
    assert drain() == 1
    assert service.getStatus(jobid) == 'completed'
    clock.advance(3600)
    assert drain() == 0


def test_delay_0_beside_fields_means_no_delay(clock, service, drain):
    jobid = service.addCronJob('echo', minute=(0,), delay=0)
    assert service.getStatus(jobid) == 'cronjob'
    transaction.commit()
    for _ in range(2):
        clock.advance(3600)
        assert drain() == 1
        assert service.getStatus(jobid) == 'cronjob'


# --- errors, ranges, names ---------------------------------------------------

def test_an_error_was_never_cleared_by_a_later_success(
        clock, service, register, drain):
    outcome = [TaskError('first'), 'second', TaskError('third')]

    @register
    def sometimes(input):
        result = outcome[0]
        if isinstance(result, TaskError):
            raise result
        return result

    cron = service.addCronJob('sometimes', minute=(0,))
    transaction.commit()
    seen = []
    while outcome:
        clock.advance(3600)
        assert drain() == 1
        seen.append((service.getStatus(cron), service.getError(cron)))
        outcome.pop(0)
    assert seen == [('cronjob', 'first'), ('cronjob', 'None'),
                    ('cronjob', 'third')]


def test_a_cron_job_runs_again_after_an_error(clock, service, register,
                                              drain):
    """An ERROR status hid it from hasJobsWaiting and from the queue."""
    calls = []

    @register
    def fails(input):
        calls.append(input)
        raise TaskError('no')

    service.addCronJob('fails', minute=(0,))
    transaction.commit()
    for hour in (1, 2, 3):
        clock.advance(3600)
        assert service.hasJobsWaiting() is True
        assert drain() == 1 and len(calls) == hour


@pytest.mark.parametrize('years', [20, 100])
def test_due_times_were_32_bit(years, clock, service, drain, log):
    began = clock.now()
    far = service.addCronJob('echo', 'far', delay=years * YEAR)
    near = service.add('echo', 'near')
    transaction.commit()
    assert drain() == 1
    assert service.getStatus(near) == 'completed'
    assert service.getStatus(far) == 'delayed'
    job = service.jobs[far]
    assert job.scheduledAt.timestamp() == pytest.approx(
        began + years * YEAR)
    clock.set(began + years * YEAR + 1)
    assert drain() == 1
    assert service.getResult(far) == 'far' and log == []


def test_missed_runs_collapse_into_one(clock, service, drain):
    """That much was right; saying so is part of a later ``missed=``."""
    clock.set(at(2026, 5, 5, 10, 30))
    cron = service.addCronJob('echo', 'x', minute=(0,))
    transaction.commit()
    clock.set(at(2026, 5, 5, 15, 30))
    assert drain() == 1
    assert service.jobs[cron].scheduledAt.timestamp() == at(
        2026, 5, 5, 16)


def test_addcronjob_did_not_check_that_the_task_exists(service):
    with pytest.raises(ValueError) as caught:
        service.addCronJob('missing', hour=(3,))
    assert type(caught.value) is ValueError
    assert str(caught.value) == 'Task does not exist'
    assert len(service.jobs) == 0


def test_a_delayed_job_could_not_be_cancelled_until_a_look(
        clock, service, drain):
    ids = [service.addCronJob('echo', delay=5),
           service.add('echo', delay=5),
           service.addCronJob('echo', minute=(0,))]
    for jobid in ids:
        service.cancel(jobid)
    transaction.commit()
    clock.advance(4000)
    assert service.hasJobsWaiting() is False and drain() == 0
    assert {service.getStatus(i) for i in ids} == {'cancelled'}
    assert type(service.jobs[ids[1]]) is Job
