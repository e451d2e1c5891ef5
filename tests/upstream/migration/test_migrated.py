"""What a migration makes of the services that 0.5.2 has written."""

import subprocess
import sys
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from pathlib import Path

import pytest
import transaction
from ZODB.utils import get_pickle_metadata

from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.job import CronJob
from lovely.remotetask.payload import Payload
from lovely.remotetask.store import upstream

#: The first id that 0.5.2 gave out; further ones are consecutive.
FIRST = 298836895

# See make_database.py.
DIVIDE, REFUSE, LOOKUP, JAM, LARGE, HOURLY, NIGHTLY, SOON = range(
    FIRST + 120, FIRST + 128)


@pytest.fixture
def before(opened, press):
    """Job id -> the attributes that 0.5.2 has stored, as plain data."""
    found = opened()
    assert upstream.is_old(found.tasks)
    old = found.tasks.__dict__['_upstream']['jobs']
    attributes = {}
    for jobid, job in old.items():
        job._p_activate()
        attributes[jobid] = dict(job.__dict__)
        attributes[jobid]['type'] = type(job)
    found.close()
    return attributes


@pytest.fixture
def service(before, written, migrated, opened):
    written.write_bytes(migrated.read_bytes())
    # That of the file as it was.
    Path(f'{written}.index').unlink(missing_ok=True)
    return opened().tasks


def by_input(service, text):
    (job,) = [job for job in service.jobs.values() if job.input == text]
    return job


def test_all_jobs_are_there(before, service):
    assert list(service.jobs) == list(before)
    for jobid, job in service.jobs.items():
        old = before[jobid]
        assert type(job) is old['type'] and job.id == jobid
        assert job.task == old['task']
        if not hasattr(old['input'], 'text'):
            assert job.input == old['input']
        assert job.output == old.get('output')


def test_the_statuses(before, service):
    changed = {by_input(service, text).id: status for text, status in [
        ('an application said so', 'queued'), ('impossible', 'error'),
        ('every ten minutes', 'delayed')]}
    for jobid, old in before.items():
        assert service.jobs[jobid].status == changed.get(
            jobid, old.get('status'))
    stats = service.stats()
    assert {name: stats[name] for name in (
        'queued', 'processing', 'scheduled', 'start later', 'completed',
        'error', 'cancelled')} == {
            'queued': 627, 'processing': 0, 'scheduled': 11,
            'start later': 14, 'completed': 123, 'error': 5, 'cancelled': 11}


def test_the_moments(before, service, press):
    for jobid, old in before.items():
        job = service.jobs[jobid]
        created = datetime.fromtimestamp(old['createdAt'])
        assert job.created == created
        assert job.createdAt.timestamp() == old['createdAt']
        if old.get('status') in FINAL and 'completedAt' in old:
            assert job.completedAt.timestamp() == old['completedAt']
            assert job.startedAt.timestamp() == old['startedAt']
    job = service.jobs[DIVIDE]
    # Naive local ones, whatever is local here.
    assert job.created == datetime(2010, 11, 10, 10, 2)
    assert job.completed == datetime(2010, 11, 10, 10, 4, 1)
    assert job.completedAt.astimezone().replace(tzinfo=None) == job.completed


def test_the_errors(service):
    for jobid, kind, text in [
            (DIVIDE, 'ZeroDivisionError',
             'integer division or modulo by zero'),
            (REFUSE, 'lovely.remotetask.task.TaskError', 'the page is törn'),
            (LOOKUP, 'KeyError', "'no such page'"),
            (JAM, 'press.PressError', 'page 7: no ink')]:
        assert service.getStatus(jobid) == 'error'
        assert service.getError(jobid) == text
        error = service.jobs[jobid].error
        assert (error.type, error.attempt, error.traceback) == (kind, 1, '')
        assert error.time == service.jobs[jobid].completedAt.timestamp()
        assert service.jobs[jobid].errors == [error]
    # That of the latest run of a schedule.
    assert service.getStatus(HOURLY) == 'cronjob'
    assert 'by zero' in service.getError(HOURLY)


def test_a_retry_counts_on_from_the_attempt_that_there_was(service, register):
    def divide(input):
        raise ValueError('again')

    register(divide, 'divide')
    service.retryJob(DIVIDE)
    assert service.processNext(jobid=DIVIDE)
    assert [(one.type, one.attempt) for one in service.jobs[DIVIDE].errors
            ] == [('ZeroDivisionError', 1), ('ValueError', 2)]


def test_what_has_ended_is_listed_in_its_order(service):
    for status in ('completed', 'error'):
        jobs, _ = service.listJobs(status, limit=200)
        moments = [job.completedAt for job in jobs]
        assert moments == sorted(moments, reverse=True)
    assert by_input(service, 'impossible').id == service.listJobs(
        'error')[0][0].id


def test_the_lanes_of_the_others(service):
    assert len(service.listJobs('cancelled', limit=100)[0]) == 11
    later, _ = service.listJobs('start later', limit=100)
    assert {job.input for job in later} == {f'later {n}' for n in range(14)}
    assert service.startJob(later[0].id)
    service.cancel(later[1].id)
    assert service.getStatus(later[1].id) == 'cancelled'
    service.clean()
    assert len(service.jobs) == 792 - 123 - 5 - 12
    transaction.commit()


def test_the_queue_runs_in_its_order(service, ran, press):
    """The lost ones first: threads had taken them before the others."""
    service.jobqueue.due.trees = ()         # see test_schedules_run
    service.jobqueue.due.lengths = ()
    service.process()
    ran = [getattr(input, 'text', input) for input in ran]
    assert ran[:3] == ['lost 0', 'lost 1', 'an application said so']
    assert ran[3:] == [*range(620), 'later 14', 'late edition', 'sports']
    # Its task is no more: here as of today, it was in no queue of 0.5.2.
    assert by_input(service, 'unknown').status == 'error'
    assert service.jobs[by_input(service, 'sports').id].desk == 'sports'
    assert service.stats()['queued'] == 0


def test_schedules(service):
    """Runs that are due are not lost; further ones come when fields say."""
    now = datetime.now(UTC)
    for text in ('hourly', 'nightly', 'every hour', 'mondays', 'new year'):
        assert by_input(service, text).scheduledAt < now
    for text, due in [
            ('hourly', datetime(2010, 11, 11, 4, 0, 7)),
            ('nightly', datetime(2010, 11, 12, 2, 30, 7)),
            ('in an hour', datetime(2010, 11, 11, 4, 14, 28)),
            ('in twenty days', datetime(2010, 12, 1, 3, 14, 28))]:
        assert by_input(service, text).scheduledAt == due.replace(tzinfo=UTC)
    # No thread of 0.5.2 had seen these: they count from their add, which was
    # noted in local time.
    for text, due in [
            ('first', datetime(2010, 11, 11, 3, 15, 28)),
            ('second', datetime(2010, 11, 11, 3, 14, 58))]:
        # Microseconds keep those of one second in their order.
        found = by_input(service, text).scheduledFor
        assert found.replace(microsecond=0) == due
    quarters = by_input(service, 'quarters').scheduledAt
    assert now < quarters <= now + timedelta(minutes=16)
    assert quarters.minute % 15 == 0 and quarters.second == 0


def test_schedules_run(service, ran, register):
    register(lambda input: ran.append(input), 'fax')
    for job in list(service.jobs.values()):
        if job.status == 'queued':
            service.cancel(job.id)
    assert service.hasJobsWaiting()
    service.process()
    assert sorted(ran) == sorted([
        'hourly', 'nightly', 'every hour', 'mondays', 'new year',
        'in an hour', 'in twenty days', 'first', 'second',
        'every ten minutes'])
    assert ran.index('second') < ran.index('first')
    for text, status in [('hourly', 'cronjob'), ('mondays', 'cronjob'),
                         ('in an hour', 'completed'), ('second', 'completed'),
                         ('every ten minutes', 'completed')]:
        assert by_input(service, text).status == status
    monday = by_input(service, 'mondays')
    assert monday.scheduledAt > datetime.now(UTC)
    assert (monday.scheduledAt.weekday(), monday.scheduledAt.minute) == (0, 15)
    assert monday.scheduledAt.hour in (8, 20)
    assert by_input(service, 'hourly').scheduledAt.minute == 0
    # Its error of 2010 is gone.
    assert service.getError(HOURLY) == 'None'


def test_the_fields_of_schedules(before, service):
    for jobid, old in before.items():
        job = service.jobs[jobid]
        if isinstance(job, CronJob):
            for name in ('minute', 'hour', 'dayOfMonth', 'month',
                         'dayOfWeek', 'delay'):
                assert getattr(job, name) == old[name]


def test_a_job_that_was_never_added(service):
    job = by_input(service, 'made')
    assert job.status is None and job.position is None
    del service.jobs[job.id]


def test_large_values_have_records_of_their_own(service):
    assert service.jobs[LARGE].output == 'x' * 10000
    assert type(service.jobs[LARGE].__dict__['output']) is Payload


def test_the_other_services(service, opened, press):
    root = service.__parent__
    assert [job.input for job in root['upgraded']._queue] == ['from 0.2']
    mail = root['site1'].getSiteManager()['default']['mail']
    assert type(mail) is press.PressService
    assert [job.input for job in mail._queue] == [
        'mail 0', 'mail 1', 'mail 2']
    assert mail.stats()['scheduled'] == 1
    # The registration of 2010 finds it.
    from lovely.remotetask.interfaces import ITaskService
    assert root['site1'].getSiteManager().getUtility(
        ITaskService, 'mail') is mail


def test_new_jobs_come_behind(service, ran):
    last = service.add('echo', 'new')
    assert service._queue[-1].id == last and last not in range(
        FIRST, FIRST + 792)
    assert not upstream.is_old(service)


def test_nothing_of_0_5_2_is_left(service):
    """Once packed, no record is of zc.queue or a flat IOBTree."""
    storage = service._p_jar.db().storage
    service._p_jar.db().pack()
    names, following = set(), None
    while True:
        _, _, data, following = storage.record_iternext(following)
        names.add('.'.join(get_pickle_metadata(data)))
        if following is None:
            break
    assert 'lovely.remotetask.service.TaskService' in names
    assert not [name for name in names if name.startswith('zc.queue')]
    # Each job is in our form.
    for job in service.jobs.values():
        job._p_activate()
        state = storage.load(job._p_oid)[0]
        assert b'scheduledFor' not in state and b'created' not in state


def test_without_zc_queue(written, press):
    """Its classes are not needed to read its queues."""
    run = subprocess.run([sys.executable, '-c', (
        'import sys; sys.modules["zc.queue"] = None\n'
        'sys.modules["zc.queue._queue"] = None\n'
        'from lovely.remotetask.cli import program\n'
        'sys.exit(program.run(sys.argv[1:]))'),
        'migrate', '--db', f'file://{written}'],
        env={'PYTHONPATH': str(press.__file__).rpartition('/')[0]},
        capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert 'queued       626     627' in run.stdout
    assert '/site1/++etc++site/default/mail' in run.stdout
