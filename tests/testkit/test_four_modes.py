"""One suite of an application, which passes however its jobs are run.

It is written as users write theirs: with the fixtures of our pytest plugin,
and against the interface of the service.
"""

from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import zope.event
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask import events
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import UsageError
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.testing import FrozenClock
from lovely.remotetask.testing import assert_added
from lovely.remotetask.testing import refute_added

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)         # a Monday


class Unstorable:
    """Like an open file, or a socket."""

    def __reduce__(self):
        raise TypeError('it is open')


@pytest.fixture(autouse=True)
def tasks(remotetask_register):
    """The tasks of the shop."""
    def mail(to):
        return f'sent to {to}'

    def refuse(input):
        raise TaskError(f'{input} is sold out')

    def order(service, jobid, input):
        return [service.add('mail', to) for to in input]

    def about(input):
        job = currentJob()
        return job.id, job.task, job.attempt

    def key(input):
        return currentJob().idempotencyKey

    def stop(input):
        raise CancelJob

    def unstorable(input):
        return Unstorable()

    def later(input):
        if currentJob().attempt == 1:
            raise RetryLater(60, reason='the warehouse is closed')
        return 'packed'

    for task in (mail, refuse, order, about, key, stop, unstorable, later):
        remotetask_register(task)
    remotetask_register(FunctionTask(
        lambda count: str(count), inputSchema=Int(min=1),
        outputSchema=TextLine(max_length=2)), 'count')


# --- what a job leaves -------------------------------------------------------

def test_a_result(shop, settle):
    jobid = shop.add('mail', 'mia')
    assert shop.getStatus(jobid) == 'queued'
    assert shop.getResult(jobid) is None
    settle()
    assert shop.getStatus(jobid) == 'completed'
    assert shop.getResult(jobid) == 'sent to mia'
    assert shop.getError(jobid) == 'None'


def test_several_jobs(shop, settle):
    ids = [shop.add('mail', name) for name in ('mia', 'tom', 'eva')]
    settle()
    assert [shop.getResult(one) for one in ids] == [
        'sent to mia', 'sent to tom', 'sent to eva']


def test_no_input(shop, settle):
    jobid = shop.add('mail')
    settle()
    assert shop.getResult(jobid) == 'sent to None'


def test_the_input_is_as_at_the_commit(shop, settle):
    given = ['mia']
    jobid = shop.add('mail', given)
    given.append('tom')
    settle()
    assert shop.getResult(jobid) == "sent to ['mia', 'tom']"


def test_a_failure(shop, settle):
    jobid = shop.add('refuse', 'bread')
    settle()
    assert shop.getStatus(jobid) == 'error'
    assert shop.getError(jobid) == 'bread is sold out'
    assert shop.getResult(jobid) is None


def test_a_failure_stops_no_other_job(shop, settle):
    ids = [shop.add('refuse', 'bread'), shop.add('mail', 'mia')]
    settle()
    assert [shop.getStatus(one) for one in ids] == ['error', 'completed']


def test_a_job_adds_others(shop, settle):
    jobid = shop.add('order', ['mia', 'tom'])
    settle()
    assert [shop.getResult(one) for one in shop.getResult(jobid)] == [
        'sent to mia', 'sent to tom']


def test_a_task_asks_for_its_job(shop, settle):
    jobid = shop.add('about')
    settle()
    assert shop.getResult(jobid) == (jobid, 'about', 1)


def test_each_job_has_a_key_of_its_own(shop, settle):
    ids = [shop.add('key'), shop.add('key')]
    settle()
    first, second = map(shop.getResult, ids)
    assert first and first != second


def test_a_task_cancels_its_job(shop, settle):
    jobid = shop.add('stop')
    settle()
    assert shop.getStatus(jobid) == 'cancelled'


def test_a_result_that_cannot_be_stored(shop, settle):
    jobid = shop.add('unstorable')
    settle()
    assert shop.getStatus(jobid) == 'error'
    assert shop.getError(jobid) == (
        'the result cannot be stored: cannot be pickled: Unstorable: it is '
        'open; pass plain data, module-level classes or persistent objects')


def test_a_result_that_does_not_fit(shop, settle):
    jobid = shop.add('count', 100)
    settle()
    assert shop.getStatus(jobid) == 'error'
    assert shop.getError(jobid) == (
        "the result does not fit the task's outputSchema: the value is "
        "'100': Value is too long")


# --- what is refused, by all with the same words -----------------------------

def refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == text


def test_an_input_that_cannot_be_stored(shop, settle):
    for add in (lambda: shop.add('mail', {'to': [Unstorable()]}),
                lambda: shop.addCronJob(
                    'mail', {'to': [Unstorable()]}, delay=1)):
        refused(add, InputRejected, (
            "the input for task 'mail' cannot be pickled: dict: it is open; "
            "pass plain data, module-level classes or persistent objects"))
    settle()
    refute_added(shop, 'mail')


def test_inputs_that_cannot_be_stored(shop, settle):
    with pytest.raises(InputRejected) as caught:
        shop.addMany('mail', ['mia', Unstorable()])
    assert caught.value.indexes == [1]
    settle()
    refute_added(shop, 'mail')


def test_an_input_that_does_not_fit(shop, settle):
    refused(lambda: shop.add('count', 0), InputRejected, (
        "the input does not fit the inputSchema of task 'count': the value "
        "is 0: Value is too small"))
    refute_added(shop, 'count')


def test_a_task_that_is_missing(shop, settle):
    for add in (lambda: shop.add('male', 'mia'),
                lambda: shop.addMany('male', ['mia']),
                lambda: shop.addCronJob('male', minute=(0,))):
        refused(add, ValueError, 'Task does not exist')
    settle()
    assert len(shop.jobs) == 0


@pytest.mark.parametrize('fields, text', [
    ({'dayOfMonth': (30,), 'month': (2,)},
     'dayOfMonth 30 never occurs in month 2'),
    ({'minute': (60,)}, 'minute contains 60; give whole numbers from 0 to 59'),
    ({}, 'no schedule: give at least one of minute, hour, dayOfMonth, month, '
         'dayOfWeek, or one of cron, every, at, delay')],
    ids=['february', 'minute', 'nothing'])
def test_a_schedule_that_cannot_be(shop, settle, fields, text):
    refused(lambda: shop.addCronJob('mail', 'mia', **fields),
            InvalidSchedule, text)
    settle()
    assert len(shop.jobs) == 0


def test_options_that_exclude_each_other(shop):
    refused(lambda: shop.add('mail', startLater=True, delay=1), UsageError,
            'startLater and delay exclude each other: give one of them')


def test_a_job_that_is_unknown(shop):
    for call in (shop.getStatus, shop.getResult, shop.getError):
        with pytest.raises(JobNotFound):
            call(12345)


# --- when it runs ------------------------------------------------------------

def test_started_later(shop, settle):
    jobid = shop.add('mail', 'mia', startLater=True)
    settle()
    assert shop.getStatus(jobid) == 'start later'
    assert shop.startJob(jobid) is True
    settle()
    assert shop.getStatus(jobid) == 'completed'


def test_cancelled_before_it_runs(shop, settle):
    jobid = shop.add('mail', 'mia')
    shop.cancel(jobid)
    settle()
    assert shop.getStatus(jobid) == 'cancelled'


def test_priorities(shop, settle):
    told = []
    forget = on_events(told)
    try:
        ids = [shop.add('mail', 'x', priority=one) for one in (0, 3, 1)]
        settle()
    finally:
        forget()
    assert [jobid for name, jobid in told if name == 'JobFinished'] == [
        ids[1], ids[2], ids[0]]


def test_in_an_hour(shop, settle):
    with FrozenClock(NOON) as clock:
        jobid = shop.add('mail', 'mia', delay=3600)
        settle()
        assert shop.getStatus(jobid) == 'delayed'
        clock.advance(timedelta(hours=1))
        shop.add('mail', 'tom')
        settle()
        assert shop.getStatus(jobid) == 'completed'
        assert shop.jobs[jobid].completedAt == NOON + timedelta(hours=1)


def test_at_a_moment(shop, settle):
    with FrozenClock(NOON) as clock:
        jobid = shop.add('mail', 'mia', runAt=NOON + timedelta(days=1))
        settle()
        assert shop.getStatus(jobid) == 'delayed'
        clock.set(NOON + timedelta(days=1))
        shop.add('mail', 'tom')
        settle()
        assert shop.getStatus(jobid) == 'completed'


def test_a_schedule(shop, settle):
    with FrozenClock(NOON) as clock:
        jobid = shop.addCronJob('mail', 'mia', minute=(30,))
        settle()
        job = shop.jobs[jobid]
        assert shop.getStatus(jobid) == 'cronjob'
        assert job.scheduledAt == NOON + timedelta(minutes=30)
        clock.advance(30 * 60)
        shop.add('mail', 'tom')
        settle()
        assert job.output == 'sent to mia'
        assert shop.getStatus(jobid) == 'cronjob'
        assert job.scheduledAt == NOON + timedelta(minutes=90)
        assert len(job.runs) == 1


def test_a_task_asks_for_more_time(shop, settle):
    with FrozenClock(NOON) as clock:
        jobid = shop.add('later')
        settle()
        job = shop.jobs[jobid]
        assert job.rests == 'the warehouse is closed'
        assert job.scheduledAt == NOON + timedelta(minutes=1)
        clock.advance(60)
        shop.add('mail', 'tom')
        settle()
        assert shop.getResult(jobid) == 'packed'


# --- once --------------------------------------------------------------------

def test_the_same_job_is_added_once(shop, settle):
    first = shop.add('mail', 'mia', key='mia')
    assert shop.add('mail', 'mia', key='mia') == first
    assert_added(shop, 'mail', count=1)
    settle()
    again = shop.add('mail', 'mia', key='mia')
    assert again != first
    settle()
    assert shop.getStatus(again) == 'completed'


def test_a_second_one_is_an_error(shop):
    jobid = shop.add('mail', 'mia', key='mia')
    refused(lambda: shop.add('mail', 'mia', key='mia', onDuplicate='error'),
            DuplicateJob, str(DuplicateJob('mia', jobid)))


def test_a_second_one_replaces_the_first(shop, settle):
    first = shop.add('mail', 'mia', key='mia')
    second = shop.add('mail', 'tom', key='mia', onDuplicate='replace')
    settle()
    assert [shop.getStatus(one) for one in (first, second)] == [
        'cancelled', 'completed']


# --- many, again, and gone ---------------------------------------------------

def test_many_at_once(shop, settle):
    ids = shop.addMany('mail', ['mia', 'tom'])
    settle()
    assert [shop.getResult(one) for one in ids] == [
        'sent to mia', 'sent to tom']


def test_once_more(shop, settle):
    jobid = shop.add('refuse', 'bread')
    settle()
    shop.retryJob(jobid)
    assert shop.getStatus(jobid) == 'queued'
    settle()
    assert shop.getStatus(jobid) == 'error'
    assert shop.jobs[jobid].attempts == 2


def test_what_has_ended_well_does_not_run_again(shop, settle):
    jobid = shop.add('mail', 'mia')
    settle()
    with pytest.raises(InvalidTransition, match="is 'completed'"):
        shop.retryJob(jobid)


def test_clean(shop, settle):
    jobid = shop.add('mail', 'mia')
    settle()
    shop.clean(['completed'])
    with pytest.raises(JobNotFound):
        shop.getStatus(jobid)
    refute_added(shop, 'mail')


def test_figures(shop, settle):
    shop.add('mail', 'mia')
    shop.add('refuse', 'bread')
    shop.add('mail', 'tom', startLater=True)
    settle()
    stats = shop.stats()
    assert {name: stats[name] for name in (
        'completed', 'error', 'start later', 'queued')} == {
            'completed': 1, 'error': 1, 'start later': 1, 'queued': 0}


# --- what the tested code has done -------------------------------------------

def test_which_jobs_there_are(shop, settle):
    jobid = shop.add('mail', 'mia')
    shop.add('mail', 'tom')
    job, = assert_added(shop, 'mail', input='mia', count=1)
    assert job.id == jobid
    refute_added(shop, 'order')
    settle()
    assert [job.input for job in assert_added(shop, 'mail', count=2)] == [
        'mia', 'tom']


def test_events(shop, settle):
    told = []
    forget = on_events(told)
    try:
        done, failed = shop.add('mail', 'mia'), shop.add('refuse', 'bread')
        settle()
    finally:
        forget()
    assert [name for name, jobid in told if jobid == done] == [
        'JobAdded', 'JobStarted', 'JobFinished']
    assert [name for name, jobid in told if jobid == failed] == [
        'JobAdded', 'JobStarted', 'JobFailed']


def on_events(told):
    """Notes the events of jobs; returns what ends that."""
    def note(event):
        if isinstance(event, events.JobEvent):
            told.append((type(event).__name__, event.job.id))

    zope.event.subscribers.append(note)
    return lambda: zope.event.subscribers.remove(note)
