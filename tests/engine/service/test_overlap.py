"""What becomes of times that come amid a run."""

import calendar
from datetime import UTC
from datetime import datetime

import pytest
import transaction
import zope.component

from lovely.remotetask.context import currentJob
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask


def at(hour, minute=0, second=0):
    return float(calendar.timegm((2027, 5, 5, hour, minute, second)))


@pytest.fixture
def clock(clock):
    """It stands still at a half past ten."""
    clock.set(at(10, 30))
    return clock


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


@pytest.mark.parametrize('missed', ['once', 'skip', 'all'])
@pytest.mark.parametrize('overlap, behind', [
    ('skip', []), ('queue', ['10:32', '10:33'])])
def test_a_run_that_keeps_the_only_thread(
        service, clock, drain, runs, overlap, behind, missed):
    """Nobody looks at 10:32 and 10:33, and they have come amid it."""
    jobid = service.addCronJob('work', cron='* * * * *', overlap=overlap,
                               missed=missed)
    clock.set(at(10, 31))
    runs.during = (lambda: clock.set(at(10, 33, 30)),)
    drain()
    assert runs.times() == ['10:31', *behind]
    assert service.jobs[jobid].scheduledAt == datetime(
        2027, 5, 5, 10, 34, tzinfo=UTC)


def test_a_time_behind_the_last_look_amid_a_run(
        service, clock, drain, runs, elsewhere):
    """Looks are up to a minute apart, and the period is five seconds."""
    service.addCronJob('work', every=5, overlap='queue')
    clock.advance(5)

    def long_run():
        clock.advance(600)
        elsewhere()
        clock.advance(49)

    runs.during = (long_run,)
    drain(400)
    # While they run, one a second, more of them come.
    assert len(runs) == (clock.now() - at(10, 30)) // 5


@pytest.mark.parametrize('is_gone', [False, True])
def test_looks_are_seldom_where_no_run_is_under_way(
        application, service, clock, register, longest_waits, is_gone):
    """It waits for another attempt, or for a worker that has its task."""
    def fail(input):
        raise ValueError('it always fails')

    task = register(fail)
    task.retry = RetryPolicy(base=1000.0)
    service.addCronJob('fail', cron='* * * * *', overlap='queue')
    transaction.commit()
    if is_gone:
        zope.component.globalregistry.base.unregisterUtility(
            task, ITask, 'fail')
    processor = SimpleProcessor(application.db, ['tasks'])
    looks = 0
    clock.set(at(10, 31))
    while clock.now() < at(10, 38):
        transaction.begin()
        looks += service.jobqueue.has_due(clock.now())
        processor.processNext()
        clock.advance(1)
    # Each is a commit.
    assert 5 < looks < 20


@pytest.mark.parametrize('overlap', ['skip', 'allow', 'queue', 'cancel'])
@pytest.mark.parametrize('by', ['limit', 'rate', 'key', 'pause'])
def test_looks_are_seldom_where_a_run_may_not_begin(
        application, service, clock, runs, register, monkeypatch, overlap,
        by):
    """Behind a limit, or in a queue that rests, it may wait for days."""
    monkeypatch.setattr(SYSTEM_CLOCK, 'now', clock.now)
    options = {'limit': {'limit': 1}, 'rate': {'rate': (1, 9 * 3600)}}.get(
        by, {})
    work = zope.component.getUtility(ITask, 'work')
    register(FunctionTask(lambda input: work(None, 0, input), **options),
             'shut')
    with_key = {'concurrencyKey': 'k'} if by == 'key' else {}
    processor = SimpleProcessor(application.db, ['tasks'])
    if by == 'pause':
        service.add('shut', queue='q')
        service.pause(queue='q')
    else:
        first = service.add('shut', queue='q', **with_key)
        transaction.commit()
        assert processor.claimNextJob() == first
        transaction.begin()
    jobid = service.addCronJob('shut', cron='* * * * *', overlap=overlap,
                               queue='q', **with_key)
    transaction.commit()
    clock.set(at(10, 31))
    # From then on nothing but time passes.
    processor.processNext()
    commits = set()
    while clock.now() < at(11, 31):
        commits.add(application.db.lastTransaction())
        processor.processNext()
        clock.advance(10)
    transaction.begin()
    assert service.jobs[jobid].status == 'queued' and not runs
    assert len(service.jobs) == 2
    # Each time of the schedule is one, and then a look comes each minute.
    assert len(commits) < 150


@pytest.mark.parametrize('overlap', ['allow', 'cancel', 'queue'])
def test_a_schedule_that_lost_its_key_gets_no_other_run(
        application, service, clock, drain, runs, elsewhere, overlap):
    jobid = service.addCronJob('work', cron='* * * * *', key='one',
                               overlap=overlap)
    clock.set(at(10, 31))

    def long_run():
        fresh, close = application.fresh(service)
        fresh.add('work', key='one', onDuplicate='replace', startLater=True)
        fresh._p_jar.transaction_manager.commit()
        close()
        clock.set(at(10, 32))
        elsewhere()

    runs.during = (long_run,)
    drain()
    clock.set(at(10, 33))
    drain()
    assert runs.times() == ['10:31']
    assert service.getStatus(jobid) == 'cancelled'


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


def test_a_job_beside_is_as_the_schedule_was_edited(
        application, service, clock, drain, runs, elsewhere, register):
    seen = []
    register(seen.append, 'other')
    service.addCronJob('work', 'old', cron='* * * * *', overlap='allow')
    clock.set(at(10, 31))

    def long_run():
        fresh, close = application.fresh(service)
        fresh.editCronJob(currentJob().id, task='other', input='new' * 999)
        fresh._p_jar.transaction_manager.commit()
        close()
        for minute in (32, 33):
            clock.set(at(10, minute))
            elsewhere()

    runs.during = (long_run,)
    drain()
    assert seen == ['new' * 999] * 2


def test_a_job_beside_hides_what_its_schedule_hides(
        service, clock, drain, runs, elsewhere, register):
    def work(input):
        calls, runs.during = runs.during, ()
        for call in calls:
            call()

    task = register(work, 'hiding')
    task.show = ('name',)
    service.addCronJob('hiding', {'name': 1, 'password': 2},
                               cron='* * * * *', overlap='allow')
    clock.set(at(10, 31))

    def long_run():
        clock.set(at(10, 32))
        elsewhere()

    runs.during = (long_run,)
    drain()
    assert len(service.jobs) == 2
    assert all(job.shows == ('name',) for job in service.jobs.values())


def test_one_that_waits_for_a_thread_gets_none_beside_it(
        service, clock, runs, drain):
    """It would wait, too; and of ten thousand, each one."""
    service.addCronJob('work', cron='* * * * *', overlap='allow')
    for minute in (31, 32, 33):
        clock.set(at(10, minute))
        # Makes ready what is due, and claims nothing.
        service.jobqueue.make_due_ready(clock.now())
    assert len(service.jobs) == 1
    drain()
    assert runs.times() == ['10:31']


def test_one_that_waits_for_a_thread_keeps_its_place(
        service, clock, drain, runs):
    """Sent back to the end at each time, it might never run."""
    jobid = service.addCronJob('work', cron='* * * * *', overlap='cancel')
    clock.set(at(10, 31))
    service.jobqueue.make_due_ready(clock.now())
    place = service.jobs[jobid].position
    clock.set(at(10, 32))
    service.jobqueue.make_due_ready(clock.now())
    assert service.jobs[jobid].position == place
    drain()
    assert runs.times() == ['10:32']
