"""Jobs that poisoned a service of 0.5.2: it did nothing else any more.

Then it used all of one processor and wrote 1,000 to 3,500 pairs of errors a
second.  Each test puts an innocent job behind the poison.
"""

import calendar
import datetime
import threading

import pytest
import transaction

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.run import threads
from lovely.remotetask.task import TaskError

DEADLINE = 20


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


def seconds(*date):
    return calendar.timegm((*date, 0, 0, 0, 0, 0, 0)[:9])


# --- impossible dates --------------------------------------------------------

def test_a_cron_job_with_an_impossible_date_is_refused(service, drain):
    with pytest.raises(ValueError, match='dayOfMonth 30.*month 2'):
        service.addCronJob('echo', dayOfMonth=(30,), month=(2,))
    assert len(service.jobs) == 0
    jobid = service.add('echo', 'innocent')
    transaction.commit()
    assert drain() == 1
    assert service.getStatus(jobid) == 'completed'


def test_a_cron_job_made_impossible_later_harms_nobody(
        clock, service, drain, log):
    cron = service.addCronJob('echo', dayOfMonth=(28,), month=(2,))
    job = service.jobs[cron]
    with pytest.raises(InvalidSchedule):
        job.update(dayOfMonth=(30,), month=(2,))
    assert job.dayOfMonth == (28,)
    # Attribute by attribute nobody looks at the whole.
    job.dayOfMonth = (30,)
    with pytest.raises(InvalidSchedule):
        service.reschedule(cron)
    jobid = service.add('echo', 'innocent')
    transaction.commit()
    clock.set(seconds(datetime.date.today().year + 2, 3, 1))
    assert drain() <= 2
    assert service.getStatus(jobid) == 'completed'
    assert service.getStatus(cron) == 'error'
    assert 'schedule' in service.getError(cron)
    # It did not vanish: whoever looks for failures finds it.
    assert [job.id for job in service.listJobs('error')[0]] == [cron]
    assert len(log) <= 1


def test_29_february_at_its_own_run(clock, service, drain, log):
    clock.set(seconds(2028, 2, 1))
    cron = service.addCronJob('echo', 'leap', dayOfMonth=(29,), month=(2,))
    jobid = service.add('echo', 'innocent')
    transaction.commit()
    assert drain() == 1
    clock.set(seconds(2028, 2, 29))
    assert drain() == 1
    assert service.getResult(cron) == 'leap'
    assert service.getStatus(cron) == 'cronjob'
    assert service.jobs[cron].timeOfNextCall(clock.now()) == seconds(
        2032, 2, 29)
    assert service.jobs[cron].scheduledAt.date().isoformat() == '2032-02-29'
    assert service.getStatus(jobid) == 'completed' and log == []


def test_29_february_directly_with_a_made_up_clock(service):
    now = seconds(2028, 2, 1)
    cron = service.addCronJob('echo', 'leap', dayOfMonth=(29,), month=(2,))
    service.process(now)
    service.process(seconds(2028, 2, 29))
    assert service.getResult(cron) == 'leap'


# --- reschedule() of a plain job ---------------------------------------------

def test_reschedule_of_a_plain_job(service, drain, log):
    jobid = service.add('echo', 'plain')
    with pytest.raises(InvalidSchedule, match='schedule'):
        service.reschedule(jobid)
    with pytest.raises(JobNotFound):
        service.reschedule(jobid + 1)
    transaction.commit()
    assert service.getStatus(jobid) == 'queued'
    assert drain() == 1
    assert service.getStatus(jobid) == 'completed' and log == []


# --- what cannot be pickled --------------------------------------------------

class Unpicklable(Exception):
    """Refers to a lock, as exceptions of client libraries do."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def test_an_unpicklable_result(service, register, drain, log):
    register(lambda input: threading.Lock(), 'lock')
    jobid, innocent = service.add('lock'), service.add('echo')
    transaction.commit()
    assert drain() == 2
    assert service.getStatus(jobid) == 'error'
    assert 'cannot be pickled' in service.getError(jobid)
    assert service.getResult(jobid) is None
    assert service.getStatus(innocent) == 'completed'
    assert len(log) <= 1


def test_an_unpicklable_result_directly(application, service, register):
    register(lambda input: [threading.Lock()], 'lock')
    jobid = service.add('lock')
    service.process()
    transaction.commit()
    assert 'cannot be pickled' in service.getError(jobid)


@pytest.mark.parametrize('kind', [ValueError, TaskError])
def test_an_unpicklable_exception(kind, service, register, drain, log):
    class Local(kind):
        """Pickle cannot import it either."""

        def __init__(self):
            super().__init__('no')
            self.lock = threading.Lock()

    def fails(input):
        raise Local

    register(fails).retry = NO_RETRY
    jobid, innocent = service.add('fails'), service.add('echo')
    transaction.commit()
    assert drain() == 2
    assert service.getStatus(jobid) == 'error'
    assert service.getError(jobid) == 'no'
    assert service.getStatus(innocent) == 'completed'
    assert len(log) <= 1


def test_unpicklable_exception_directly_and_committed(service, register):
    @register
    def fails(input):
        raise Unpicklable('lock')

    jobid = service.add('fails')
    service.process()
    transaction.commit()
    assert service.getError(jobid) == 'lock'


def test_a_task_that_stores_what_cannot_be_pickled(
        application, service, whole, drain, log):
    """The commit fails then, and not the task."""
    def stores(service, jobid, input):
        service._p_jar.root()['lock'] = threading.Lock()

    whole(stores).retry = NO_RETRY
    jobid, innocent = service.add('stores'), service.add('echo')
    transaction.commit()
    assert drain() == 2
    assert service.getStatus(jobid) == 'error'
    assert 'pickle' in service.getError(jobid)
    assert service.getStatus(innocent) == 'completed'
    assert len(log) == 1
    assert 'lock' not in application.connection.root()


# --- the service removed or renamed under its thread -------------------------

@pytest.mark.parametrize('fate', ['removed', 'renamed'])
def test_the_service_removed_or_renamed_under_its_thread(
        fate, application, service, wait_for, thread_of, log):
    jobid = service.add('echo')
    transaction.commit()
    service.startProcessing()
    wait_for(service, jobid, 'completed')
    thread = thread_of()
    # The commit may wake it, and it may have ended by then.
    wake_event = threads.loops[thread].wake_event
    del application.root['tasks']
    if fate == 'renamed':
        application.root['other'] = service
    transaction.commit()
    wake_event.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert len(log) == 1 and log[0].startswith('ERROR ')
    assert 'tasks' in log[0]
    if fate == 'renamed':
        jobid = service.add('echo', 'again')
        transaction.commit()
        service.startProcessing()
        wait_for(service, jobid, 'completed')
        service.stopProcessing(wait=None)


# --- a due cron task that aborts its transaction -----------------------------

def test_a_due_cron_task_that_aborts_its_transaction(
        clock, service, register, drain, log):
    calls = []

    @register
    def aborts(input):
        calls.append(input)
        transaction.abort()

    clock.advance(-(clock.now() % 3600))
    cron = service.addCronJob('aborts', minute=(0,))
    innocent = service.add('echo')
    transaction.commit()
    assert drain() == 1
    for hour in (1, 2):
        clock.advance(3600)
        assert drain() == 1
        assert len(calls) == hour
        assert service.getStatus(cron) == 'cronjob'
        assert service.jobs[cron].scheduledAt.timestamp() == (
            clock.now() + 3600)
    assert service.getStatus(innocent) == 'completed' and log == []


def test_a_due_cron_task_that_aborts_directly(service, register):
    calls = []

    @register
    def aborts(input):
        calls.append(input)
        transaction.abort()

    cron = service.addCronJob('aborts', minute=(0,))
    transaction.commit()
    now = service.jobs[cron].timeOfNextCall()
    service.process(now)
    assert len(calls) == 1 and service.getStatus(cron) == 'cronjob'
    service.process(now + 3600)
    assert len(calls) == 2


# --- and what holds for all of them ------------------------------------------

def test_a_poisoned_thread_still_runs_other_jobs(
        service, register, wait_for, log):
    """In the real thread: everything that ever went wrong, at once."""
    register(lambda input: threading.Lock(), 'lock').retry = NO_RETRY

    def fails(input):
        raise Unpicklable('no')

    register(fails).retry = NO_RETRY
    for name in ('lock', 'fails') * 3:
        service.add(name)
    innocent = [service.add('echo', n) for n in range(5)]
    transaction.commit()
    service.startProcessing()
    for jobid in innocent:
        assert wait_for(service, jobid, 'completed') == 'completed'
    service.stopProcessing(wait=None)
    assert len(log) <= 6
