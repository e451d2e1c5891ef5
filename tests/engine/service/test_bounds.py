"""Numbers and moments that come in: refused before the first write.

A caller may catch the error, and commit: what was written until then stays.
"""

from datetime import UTC
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import transaction
from zope.interface import Invalid

from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import LAST_MOMENT
from lovely.remotetask.errors.bounds import LONGEST
from lovely.remotetask.job import Job
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor

EAST = timezone(timedelta(hours=14))
WEST = timezone(timedelta(hours=-12))
NAN, INFINITE = float('nan'), float('inf')

# No number of seconds that can be waited for.
NO_SECONDS = [
    -1, -0.5, 1e13, 3e11, LONGEST + 1, 10**400, -10**400, 10**5000, NAN,
    INFINITE, -INFINITE, True, '5', b'5', [5], 5j, timedelta(5)]

# No moment that each time zone can show.
NO_MOMENTS = [
    datetime.max, datetime.min, datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=WEST),
    datetime.min.replace(tzinfo=EAST), 2e9, '2030',
    datetime(2030, 1, 1).date(), NAN, True]


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


@pytest.fixture(params=['add', 'addMany', 'addCronJob'])
def add(request, service):
    """``add(**options)`` by each of the verbs that add."""
    def add(**options):
        if request.param == 'addMany':
            return service.addMany('echo', [1, 2], **options)
        if request.param == 'addCronJob':
            return service.addCronJob('echo', **{'hour': (3,)} | options)
        return service.add('echo', 1, key='k', **options)

    return add


def refuses(service, call, value, error=UsageError):
    """The call raises an error for people, and nothing has been written."""
    with pytest.raises(error) as caught:
        call(value)
    # zope.schema's own error has no message.
    assert error is Invalid or len(str(caught.value)) < 400
    assert not service._p_jar._registered_objects


def test_a_delay_that_cannot_be(service, add):
    for delay in NO_SECONDS:
        refuses(service, lambda delay: add(delay=delay), delay)
    transaction.commit()
    assert not service.jobs
    assert service.getStatus(service.add('echo', key='k')) == 'queued'


@pytest.mark.parametrize('verb', ['add', 'addMany'])
def test_a_moment_that_cannot_be(service, verb):
    for moment in [*NO_MOMENTS, datetime(2030, 1, 1)]:
        refuses(service, lambda moment: getattr(service, verb)(
            'echo', [1], runAt=moment), moment)
    transaction.commit()
    assert not service.jobs


def test_a_priority_that_cannot_be(service, add):
    for priority in (-5, 4, 10**400, 10**5000, True, 1.0, NAN, '1', None):
        refuses(service, lambda value: add(priority=value), priority)
    transaction.commit()
    assert not service.jobs


@pytest.mark.parametrize('field', ['minute', 'hour', 'dayOfMonth', 'month',
                                   'dayOfWeek'])
def test_a_schedule_that_cannot_be(service, field):
    for value in (-1, 60, 10**400, 10**5000, NAN, INFINITE, True, '1', None):
        refuses(service, lambda value: service.addCronJob(
            'echo', **{field: (value,)}), value)
    transaction.commit()
    assert not service.jobs


def test_the_longest_delay_and_the_last_moments_are_listed(service):
    last = datetime.fromtimestamp(LAST_MOMENT, UTC)
    ids = [service.add('echo', delay=LONGEST),
           service.add('echo', runAt=last.astimezone(WEST)),
           service.add('echo', runAt=datetime(2, 1, 2, tzinfo=UTC)),
           service.addCronJob('echo', delay=LONGEST),
           *service.addMany('echo', [1, 2], runAt=last)]
    transaction.commit()
    found, _ = service.listJobs()
    assert {job.id for job in found} == set(ids)
    assert all(job.scheduledAt and job.scheduledFor for job in found)
    # The one in the past has run, the others have not.
    service.process()
    assert service.stats()['completed'] == 1


def test_a_changed_schedule_that_cannot_be(service):
    job = service.jobs[service.addCronJob('echo', hour=(3,))]
    transaction.commit()
    for delay in NO_SECONDS:
        refuses(service, lambda delay: job.update(delay=delay), delay)
        refuses(service, lambda delay: setattr(job, 'delay', delay), delay,
                Invalid)


def test_a_schedule_that_an_earlier_release_took(service):
    job = service.jobs[service.addCronJob('echo', hour=(3,))]
    before = job.next.key
    for delay in (1e13, 3e11, NAN, INFINITE):
        job.put(delay=delay)
        transaction.commit()
        refuses(service, service.reschedule, job.id)
        assert (job.status, job.next.key) == ('cronjob', before)
        assert service.listJobs()[0] == [job]


@pytest.mark.parametrize('verb', ['process', 'processNext', 'hasJobsWaiting',
                                  'claimNextJob'])
def test_a_made_up_now_that_cannot_be(service, verb):
    jobid = service.add('echo', delay=5)
    transaction.commit()
    for now in (10**400, -10**400, 10**5000, 1e300, 1e13, -1e13, NAN,
                INFINITE, '5', True, datetime.now(UTC)):
        refuses(service, getattr(service, verb), now)
    assert service.getStatus(jobid) == 'delayed'


def test_a_wait_that_no_thread_can_keep(application, service):
    for seconds in (1e10, NAN, INFINITE, -1, '1', True):
        refuses(service, lambda wait: service.stopProcessing(wait), seconds)
        refuses(service, lambda wait: SimpleProcessor(
            application.db, ['tasks'], wait), seconds)
    for threads in (0, -1, 1.0, True, '5', None):
        refuses(service, lambda count: MultiProcessor(
            application.db, ['tasks'], maxThreads=count), threads)


def test_a_limit_that_cannot_be(service):
    for limit in (0, 1001, -1, 10**400, 10**5000, 2.5, NAN, '5', None, True):
        refuses(service, lambda limit: service.listJobs(limit=limit), limit,
                ValueError)


def test_an_id_that_no_job_has(service):
    for jobid in (-1, 2**31, 2**63, 10**400, 10**5000, NAN, INFINITE, '1',
                  None):
        for verb in (service.getStatus, service.getResult, service.getError,
                     service.startJob, service.reschedule, service.retryJob):
            refuses(service, verb, jobid, KeyError)
        assert service.cancel(jobid) is None
        assert service.processNext(jobid=jobid) is False


def test_a_moment_that_no_job_can_be_given(service):
    job = service.jobs[service.add('echo')]
    before = job.createdAt
    for moment in NO_MOMENTS:
        for name in ('createdAt', 'created'):
            with pytest.raises(Invalid):
                setattr(job, name, moment)
    assert job.createdAt == before


@pytest.mark.parametrize('seconds', [3e11, 1e14, -1e14, NAN, INFINITE,
                                     10**400], ids='{!s:.5}'.format)
def test_a_moment_that_is_stored_already_and_cannot_be_shown(
        service, seconds):
    """An earlier release took a delay of 3e11."""
    jobid = service.add('echo', delay=5)
    job = service.jobs[jobid]
    job.put(createdAt=seconds, startedAt=seconds, completedAt=seconds)
    if seconds == 3e11:
        service.jobqueue.put_in(job, 'due', int(seconds * 1_000_000) << 4)
    transaction.commit()
    assert service.listJobs()[0] == [job]
    for name in ('createdAt', 'created', 'startedAt', 'completedAt'):
        assert getattr(job, name) is None
    if seconds == 3e11:
        assert job.scheduledAt is None and job.scheduledFor is None
    service.cancel(jobid)
    service.clean()
    assert not service.jobs


class Odd(Job):
    """A class of jobs whose factory fails at a chosen place."""

    def __init__(self, jobid, task, input):
        super().__init__(jobid, task, input)
        if input == 'fail':
            raise ArithmeticError
        if input == 'over':
            self.put(status='completed')


@pytest.mark.parametrize('input', ['fail', 'over'])
def test_a_job_class_that_fails_leaves_nothing_and_cancels_nothing(
        service, input):
    holder = service.add('echo', key='k')
    transaction.commit()
    with pytest.raises((ArithmeticError, UsageError)):
        service.add('echo', input, jobClass=Odd, key='k',
                    onDuplicate='replace')
    transaction.commit()
    assert list(service.jobs) == [holder]
    assert service.getStatus(holder) == 'queued'
    assert service.add('echo', key='k') == holder
