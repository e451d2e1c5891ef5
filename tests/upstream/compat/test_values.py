"""Values: fields validate, ids are drawn, times are what they were."""

import random
from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import transaction
from zope.schema.interfaces import ValidationError

from lovely.remotetask import TaskService
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


# --- assignment --------------------------------------------------------------

@pytest.mark.parametrize('name, wrong', [
    ('id', 'one'), ('id', None), ('id', 1.5), ('task', 1), ('task', None),
    ('task', 'two\nlines'), ('status', 'nonsense'), ('status', None),
    ('status', 1), ('created', 'yesterday'), ('created', None),
    ('started', 5), ('completed', 'never'), ('attempts', 'many'),
    ('priority', 4), ('priority', -5),
    ('createdAt', datetime(2026, 1, 1)), ('startedAt', 'now')])
def test_assignment_is_validated(name, wrong):
    job = Job(1, 'echo', {})
    before = getattr(job, name)
    with pytest.raises(ValidationError):
        setattr(job, name, wrong)
    assert getattr(job, name) == before


@pytest.mark.parametrize('name, wrong', [
    ('minute', 5), ('minute', (60,)), ('hour', [1]), ('hour', ('1',)),
    ('dayOfMonth', (0,)), ('month', (13,)), ('dayOfWeek', (7,)),
    ('delay', -1), ('delay', '5')])
def test_assignment_of_a_schedule_is_validated(name, wrong):
    job = CronJob(1, 'echo', {}, minute=(1,))
    before = getattr(job, name)
    with pytest.raises(ValidationError):
        setattr(job, name, wrong)
    assert getattr(job, name) == before


def test_right_values_are_stored(application, service):
    jobid = service.add('echo', startLater=True)
    job = service.jobs[jobid]
    moment = datetime(2026, 1, 2, 3, 4, 5)
    job.task, job.input, job.output = 'other', [1], {'a': 2}
    job.created = job.started = job.completed = moment
    transaction.commit()
    again, close = application.fresh(service)
    stored = again.jobs[jobid]
    assert (stored.task, stored.input, stored.output) == (
        'other', [1], {'a': 2})
    assert stored.created == stored.started == stored.completed == moment
    assert stored.createdAt == moment.astimezone(UTC)
    close()


# --- datetimes ---------------------------------------------------------------

def test_datetimes_are_naive_local_and_aware_utc(service):
    jobid = service.add('echo')
    service.process()
    job = service.jobs[jobid]
    for name in ('created', 'started', 'completed'):
        local, aware = getattr(job, name), getattr(job, f'{name}At')
        assert local.tzinfo is None and aware.tzinfo is UTC
        assert local.astimezone(UTC) == aware
        # As applications have it.
        assert timedelta(0) <= datetime.now() - local < timedelta(minutes=1)
    assert job.created <= job.started <= job.completed
    cron = service.jobs[service.addCronJob('echo', delay=60)]
    assert cron.scheduledFor.tzinfo is None
    assert cron.scheduledFor.astimezone(UTC) == cron.scheduledAt
    assert cron.started is cron.completed is cron.startedAt is None


def test_only_one_of_them_is_stored(application, service):
    jobid = service.add('echo')
    service.process()
    transaction.commit()
    state = service.jobs[jobid].__getstate__()
    assert not [v for v in state.values() if isinstance(v, datetime)]


# --- ids ---------------------------------------------------------------------

@pytest.fixture
def seeded():
    random.seed(27)
    yield TaskService()
    random.seed()


def test_sequence(seeded):
    """0.5.2's test of this name, with the values of Python 3."""
    assert [seeded._generateId() for _ in range(4)] == [
        1392637168, 1392637169, 1392637170, 1392637171]


def test_in_use_randomises(seeded):
    assert seeded._generateId() == 1392637168
    seeded.jobs[1392637169] = object()
    assert seeded._generateId() == 1030538552
    assert seeded._generateId() == 1030538553
    seeded.jobs[1030538554] = object()
    assert seeded._generateId() == 1506179629


def test_ids_of_a_connection_are_its_own(application, service):
    again, close = application.fresh(service)
    ours = [service._generateId() for _ in range(3)]
    theirs = [again._generateId() for _ in range(3)]
    assert ours == list(range(ours[0], ours[0] + 3))
    assert theirs == list(range(theirs[0], theirs[0] + 3))
    assert abs(ours[0] - theirs[0]) > 16
    close()


# --- delays ------------------------------------------------------------------

def test_delay_wins_over_all_fields(service):
    jobid = service.addCronJob('echo', minute=(0,), delay=10)
    assert service.getStatus(jobid) == 'delayed'
    assert service.jobs[jobid].timeOfNextCall(100) == 110
    service.process(0)
    service.process(10)
    assert service.getStatus(jobid) == 'completed'


def test_delay_0(service):
    beside = service.addCronJob('echo', minute=(0,), delay=0)
    assert service.getStatus(beside) == 'cronjob'
    assert service.jobs[beside].delay is None
    alone = service.addCronJob('echo', delay=0)
    assert service.getStatus(alone) == 'delayed'
    service.process()
    assert service.getStatus(alone) == 'completed'
    assert service.getStatus(beside) == 'cronjob'


def test_delay_with_start_later_is_refused(service):
    with pytest.raises(UsageError, match='startLater and delay'):
        service.add('echo', startLater=True, delay=5)
    assert len(service.jobs) == 0


def test_update_and_reschedule(service):
    jobid = service.addCronJob('echo', minute=(0,))
    job = service.jobs[jobid]
    job.update(delay=10)
    service.reschedule(jobid)
    assert service.getStatus(jobid) == 'delayed'
    job.update(hour=(2,))
    service.reschedule(jobid)
    assert service.getStatus(jobid) == 'cronjob'
    assert job.scheduledAt.hour == 2 and job.minute == ()


@pytest.mark.parametrize('fields, now, expected', [
    ({'minute': (0, 10)}, 0, 600), ({'minute': (0, 10)}, 600, 3600),
    ({'hour': (2, 13)}, 0, 7200),
    ({'month': (1, 5, 12)}, 0, 120 * 86400),
    ({'minute': (10,), 'hour': (4,), 'dayOfMonth': (1, 12, 21, 30)}, 0,
     4 * 3600 + 600),
    ({'dayOfWeek': (0,)}, 0, 4 * 86400)])
def test_worked_examples(fields, now, expected):
    assert CronJob(1, 'echo', None, **fields).timeOfNextCall(now) == expected


# --- errors ------------------------------------------------------------------

@pytest.mark.parametrize('method', [
    'getStatus', 'getResult', 'getError', 'startJob', 'reschedule'])
def test_an_unknown_id_is_a_keyerror(service, method):
    with pytest.raises(KeyError) as caught:
        getattr(service, method)(5)
    assert type(caught.value) is JobNotFound


@pytest.mark.parametrize('jobid', [5, -1, None, 'x', '5', 1.5, 2**70, ()])
def test_cancel_of_an_unknown_id_does_nothing(service, jobid):
    known = service.add('echo')
    assert service.cancel(jobid) is None
    assert service.getStatus(known) == 'queued'


def test_geterror_is_a_str(service):
    jobid = service.add('echo')
    assert service.getError(jobid) == 'None'
    service.process()
    assert service.getError(jobid) == 'None'


def test_startjob(service):
    jobid = service.add('echo', startLater=True)
    assert service.getStatus(jobid) == 'start later'
    assert service.hasJobsWaiting() is False
    assert service.startJob(jobid) is True
    assert service.startJob(jobid) is False
    service.process()
    assert service.getStatus(jobid) == 'completed'
