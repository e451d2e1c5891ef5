"""drain() does in the thread of a test what a worker does in its own."""

from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import transaction
from persistent.mapping import PersistentMapping
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.security.management import queryInteraction

from lovely.remotetask import TaskService
from lovely.remotetask import settings
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.interaction import ProcessorRequest
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import FrozenClock
from lovely.remotetask.testing import drain
from lovely.remotetask.testing import new_service
from lovely.remotetask.testing import stand_in

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def committed(service, *arguments, **options):
    jobid = service.add(*arguments, **options)
    transaction.commit()
    return jobid


# --- as a worker -------------------------------------------------------------

@pytest.mark.usefixtures('longest_waits')
def test_each_job_has_a_transaction_of_its_own(service, register_task):
    root = service._p_jar.root()

    @register_task
    def book(service, jobid, input):
        service._p_jar.root()[input] = jobid
        if input == 'wrong':
            raise ValueError('after a write')

    ids = [committed(service, 'book', one) for one in ('a', 'wrong', 'b')]
    assert drain(service) == 3
    assert (root.get('a'), root.get('wrong'), root.get('b')) == (
        ids[0], None, ids[2])
    # The wrong one waits for its second attempt, as by a worker.
    assert [service.getStatus(one) for one in ids] == [
        'completed', 'queued', 'completed']
    assert service.jobs[ids[1]].scheduledAt is not None


def test_a_conflict_runs_the_task_again(service, register_task):
    counter = service._p_jar.root()['counter'] = PersistentMapping(n=0)
    transaction.commit()
    database, seen = service._p_jar.db(), []

    @register_task
    def count(service, jobid, input):
        counter = service._p_jar.root()['counter']
        seen.append(counter['n'])
        counter['n'] += 1
        if len(seen) == 1:
            with database.transaction() as other:
                other.root()['counter']['n'] += 10

    jobid = committed(service, 'count')
    assert drain(service) == 1
    assert (seen, counter['n']) == ([0, 10], 11)
    assert service.jobs[jobid].attempts == 1


def test_short_jobs_share_a_commit(service, register_task):
    register_task(FunctionTask(lambda input: None, groupable=True), 'short')
    ids = service.addMany('short', range(10))
    transaction.commit()
    assert drain(service) == 10
    jobs = [service.jobs[one] for one in ids]
    assert {job.status for job in jobs} == {'completed'}
    # How long the task takes has to be learned from the first one.
    assert len({job._p_serial for job in jobs}) == 2


def look(input):
    participation, = queryInteraction().participations
    return getattr(getSite(), '_p_oid', None), type(participation)


def test_the_site_of_the_test_decides_nothing(application, register_task):
    """A worker's thread has none: it groups by the options of its own tasks.
    """
    service = application.service()
    register_task(FunctionTask(look), 'look')
    site = application.site('site')
    site.getSiteManager().registerUtility(
        FunctionTask(look, groupable=True), ITask, 'look')
    ids = service.addMany('look', range(10))
    transaction.commit()
    setSite(site)
    assert drain(service) == 10
    setSite(None)
    jobs = [service.jobs[one] for one in ids]
    assert {job.status for job in jobs} == {'completed'}
    assert len({job._p_serial for job in jobs}) == 10


def test_a_job_runs_in_its_site_and_its_request(application):
    site = application.site('site')
    service = application.service('tasks', site)
    site.getSiteManager().registerUtility(FunctionTask(look), ITask, 'look')
    setSite(site)
    jobid = committed(service, 'look')
    setSite(None)
    assert drain(service) == 1
    assert service.getResult(jobid) == (site._p_oid, ProcessorRequest)


def test_the_thread_is_as_before(application, register_task):
    site = application.site('site')
    service = application.service('tasks', site)
    setSite(site)
    before = transaction.begin()
    seen = []

    @register_task
    def look(input):
        seen.append(transaction.get())

    service.add('look')
    transaction.commit()
    before = transaction.begin()
    manager = transaction.manager.manager
    assert drain(service) == 1
    assert seen[0] is not before
    assert transaction.manager.manager is manager
    assert transaction.get() is before
    assert getSite() is site and queryInteraction() is None


def test_jobs_that_a_task_adds(service, register_task):
    @register_task
    def split(service, jobid, input):
        return [service.add('split', input - 1)] if input else []

    committed(service, 'split', 5)
    assert drain(service) == 6
    assert drain(service) == 0


def test_no_other_service_is_drained(application, register_task):
    register_task(FunctionTask(lambda input: None), 'none')
    first, second = application.service('first'), application.service('second')
    other = committed(second, 'none')
    committed(first, 'none')
    assert drain(first) == 1
    assert second.getStatus(other) == 'queued'


def test_beside_a_worker(service, register_task, wait_for):
    """They share the jobs, and none is left."""
    register_task(FunctionTask(lambda input: input), 'echo')
    service.startProcessing()
    ids = service.addMany('echo', range(50))
    transaction.commit()
    drain(service)
    for jobid in ids:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    assert [service.jobs[one].attempts for one in ids] == [1] * 50


def test_ctrl_c_ends_it_and_the_job_goes_back(service, register_task):
    @register_task
    def endless(input):
        raise KeyboardInterrupt

    jobid = committed(service, 'endless')
    with pytest.raises(KeyboardInterrupt):
        drain(service)
    transaction.abort()
    assert service.getStatus(jobid) == 'queued'
    assert not service.jobs[jobid].errors
    # It has left: a worker need not wait for it.
    assert service.listWorkers() == []


@pytest.mark.usefixtures('longest_waits')
def test_on_error_is_called(service, register_task):
    told = []
    register_task(FunctionTask(
        lambda input: 1 / 0, retry=RetryPolicy(1),
        on_error=lambda context, error: told.append(
            (context.id, type(error)))), 'fails')
    jobid = committed(service, 'fails')
    drain(service)
    assert told == [(jobid, ZeroDivisionError)]


# --- until -------------------------------------------------------------------

@pytest.mark.usefixtures('longest_waits')
def test_retries_come_one_after_the_other(service, register_task):
    seen = []

    @register_task
    def third_time(service, jobid, input):
        seen.append(service.clock.now())
        if len(seen) < 3:
            raise ValueError(f'attempt {len(seen)}')
        return 'well'

    with FrozenClock(NOON) as clock:
        jobid = committed(service, 'third_time')
        assert drain(service) == 1
        assert drain(service, NOON + timedelta(minutes=1)) == 2
        assert clock.moment == NOON + timedelta(minutes=1)
    assert service.getResult(jobid) == 'well'
    assert [str(error) for error in service.jobs[jobid].errors] == [
        'attempt 1', 'attempt 2']
    assert seen[0] == NOON.timestamp() and seen == sorted(seen)


def test_a_job_that_fails_for_good(service, register_task):
    register_task(
        FunctionTask(lambda input: 1 / 0, retry=RetryPolicy(4)), 'fails')
    with FrozenClock(NOON):
        jobid = committed(service, 'fails')
        assert drain(service, NOON + timedelta(days=1)) == 5
    assert service.getStatus(jobid) == 'error'


def test_schedules_run_each_time_in_their_order(service, register_task):
    seen = []

    @register_task
    def note(service, jobid, input):
        seen.append((datetime.fromtimestamp(
            service.clock.now(), UTC).strftime('%H:%M'), input))

    with FrozenClock(NOON):
        service.addCronJob('note', 'half', minute=(0, 30))
        service.addCronJob('note', 'twenty', minute=(20, 40))
        service.add('note', 'later', delay=25 * 60)
        transaction.commit()
        assert drain(service) == 0
        assert drain(service, NOON + timedelta(hours=1)) == 5
    assert seen == [('12:20', 'twenty'), ('12:25', 'later'),
                    ('12:30', 'half'), ('12:40', 'twenty'), ('13:00', 'half')]


def test_without_a_frozen_clock_the_time_comes_back(service, register_task):
    before = TaskService.clock
    jobid = None
    register_task(FunctionTask(lambda input: None), 'none')
    jobid = committed(service, 'none', delay=86400)
    now = service.clock.now()
    assert drain(service, now + 86401) == 1
    assert service.getStatus(jobid) == 'completed'
    assert TaskService.clock is before
    assert service.clock.now() < now + 3600


def test_what_is_due_later_stays(service, register_task):
    register_task(FunctionTask(lambda input: None), 'none')
    with FrozenClock(NOON):
        jobid = committed(service, 'none', runAt=NOON + timedelta(hours=2))
        assert drain(service, NOON + timedelta(hours=1)) == 0
        assert service.getStatus(jobid) == 'delayed'


def test_an_until_that_is_over_moves_nothing(service, register_task):
    with FrozenClock(NOON) as clock:
        drain(service, NOON - timedelta(hours=1))
        assert clock.moment == NOON


def test_a_task_that_always_asks_for_more_time(service, register_task):
    @register_task
    def rests(input):
        raise RetryLater(60)

    with FrozenClock(NOON):
        jobid = committed(service, 'rests')
        assert drain(service, NOON + timedelta(minutes=10)) == 11
        assert service.getStatus(jobid) == 'queued'


def test_a_queue_that_is_paused(service, register_task):
    register_task(FunctionTask(lambda input: None), 'none')
    with FrozenClock(NOON):
        service.addCronJob('none', minute=(0,))
        service.add('none')
        service.pause()
        transaction.commit()
        assert drain(service, NOON + timedelta(days=1)) == 0


def test_a_task_that_is_gone(service):
    """As by a worker: the job waits for one that has it, for a day."""
    with FrozenClock(NOON):
        with stand_in(lambda input: None, 'soon gone'):
            jobid = committed(service, 'soon gone')
        assert drain(service, NOON + timedelta(hours=1)) == 0
        assert service.getStatus(jobid) == 'queued'
        assert 'not found' in service.getError(jobid)
        assert drain(service, NOON + timedelta(
            seconds=3600 + 2 * settings.MISSING_GIVE_UP)) == 1
        assert service.getStatus(jobid) == 'error'


# --- what is refused ---------------------------------------------------------

def test_changes_that_are_not_committed(service, register_task):
    register_task(FunctionTask(lambda input: None), 'none')
    jobid = service.add('none')
    with pytest.raises(UsageError, match=r'call transaction\.commit'):
        drain(service)
    # Nothing is lost by that.
    transaction.commit()
    assert drain(service) == 1
    assert service.getStatus(jobid) == 'completed'


def test_a_manager_of_one_s_own(application, service, register_task):
    register_task(FunctionTask(lambda input: None), 'none')
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = application.db.open(manager)
    mine = connection.get(service._p_oid)
    jobid = mine.add('none')
    with pytest.raises(UsageError, match=r'call transaction\.commit'):
        drain(mine)
    manager.commit()
    manager.begin()
    assert drain(mine) == 1
    # Without another begin.
    assert mine.getStatus(jobid) == 'completed'
    manager.abort()
    assert drain(mine) == 0
    connection.close()


@pytest.mark.parametrize('moment', [
    'tomorrow', datetime(2026, 1, 1), float('nan'), True, 10 ** 20])
def test_a_moment_that_is_none(service, moment):
    with pytest.raises(UsageError, match='^until is .*; give an aware'):
        drain(service, moment)


def test_a_service_in_no_database():
    with pytest.raises(ConfigurationError, match='is in no database'):
        drain(TaskService())


def test_a_service_that_is_not_committed(application):
    service = application.root['new'] = TaskService()
    transaction.savepoint()
    with pytest.raises(UsageError, match='not see|has changes'):
        drain(service)


def test_a_service_that_no_worker_would_find(application):
    connection = application.connection
    service = TaskService()
    connection.root()['folder'] = PersistentMapping(service=service)
    transaction.commit()
    with pytest.raises(ConfigurationError, match='__parent__ and __name__'):
        drain(service)


@pytest.mark.usefixtures('longest_waits')
def test_a_task_that_drains_its_own_service(service, register_task):
    register_task(FunctionTask(
        lambda service, jobid, input: drain(service), retry=RetryPolicy(1)),
        'drains')
    jobid = committed(service, 'drains')
    assert drain(service) == 1
    assert 'let the test call it' in service.getError(jobid)


class Fixed:
    def now(self):
        return NOON.timestamp()


class WithClock(TaskService):
    clock = Fixed()


def test_a_clock_of_one_s_own():
    with new_service(WithClock) as service:
        assert drain(service) == 0
        with pytest.raises(UsageError, match='clock of its own'):
            drain(service, NOON)
