"""How the runs of a schedule have ended is kept, and shown."""

import datetime

import pytest
import transaction
from ZODB.Connection import TransactionMetaData
from zope.component import provideUtility

from lovely.remotetask import settings
from lovely.remotetask.cli import main
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.run.flow import Flow
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.web import presenter

HOUR = 3600
BEGIN = 1_800_000_000.0


@pytest.fixture
def cron(application, service, clock, components):
    """``cron(*outcomes)``: the id of a job that has run with these.

    An exception is raised, a number is how many seconds a run takes.
    """
    outcomes = []

    def work(service, jobid, input):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        clock.advance(outcome)

    provideUtility(FunctionTask(work, retry=NO_RETRY), ITask, 'work')
    jobid = service.addCronJob('work', minute=(0,))

    transaction.commit()

    def cron(*given):
        processor = SimpleProcessor(application.db, ['tasks'])
        for outcome in given:
            clock.set((clock.now() // HOUR + 1) * HOUR)
            outcomes.append(outcome)
            transaction.commit()
            assert processor.processNext()
        transaction.begin()
        return jobid

    return cron


def listed(service, status):
    return [job.id for job in service.listJobs(status)[0]]


def test_a_new_schedule_has_had_no_runs(service, cron):
    assert service.jobs[cron()].runs == ()
    assert 'runs' not in presenter.job(service, cron())


def test_each_end_is_kept_with_its_time_seconds_outcome_and_error(
        service, cron):
    jobid = cron(2.5, TaskError('disk  full\nagain'), CancelJob(), 0)
    runs = service.jobs[jobid].runs
    assert [tuple(run)[1:] for run in runs] == [
        (0.0, 'completed', None), (0.0, 'cancelled', None),
        (0.0, 'error', 'lovely.remotetask.task.TaskError: disk full again'),
        (2.5, 'completed', None)]
    first = datetime.datetime.fromtimestamp(
        (BEGIN // HOUR + 1) * HOUR, datetime.UTC)
    hour = datetime.timedelta(seconds=HOUR)
    assert [run.endedAt for run in runs] == [
        first + 3 * hour, first + 2 * hour, first + hour,
        first + datetime.timedelta(seconds=2.5)]
    shown = presenter.job(service, jobid)['runs']
    assert shown[2]['error'] == runs[2].error
    assert shown[3] == {'endedAt': runs[3].endedAt.isoformat(), 'seconds': 2.5,
                        'outcome': 'completed', 'error': None}


def test_the_last_twenty_are_kept_in_two_kilobytes(service, cron):
    jobid = cron(*[TaskError('é' * 1000 + str(n)) for n in range(25)])
    job = service.jobs[jobid]
    assert len(job.runs) == 20
    data, _ = service._p_jar._storage.load(job.ends._p_oid)
    assert 1000 < len(data) <= 2000
    # It is not loaded with the job.
    service._p_jar.cacheMinimize()
    assert service.jobs[jobid].status == 'cronjob'
    assert service.jobs[jobid].ends._p_changed is None


def test_an_end_is_noted_in_the_commit_that_ends_the_run(service, cron):
    for outcome in (0, TaskError('no'), CancelJob()):
        job = service.jobs[cron(outcome)]
        assert len(job.runs)
        assert job.ends._p_serial == job._p_serial


def test_a_plain_job_and_a_delayed_one_keep_none(service, clock, register):
    register(lambda input: input, 'echo')
    jobs = [service.add('echo'), service.addCronJob('echo', delay=0)]
    service.process()
    for jobid in jobs:
        assert service.getStatus(jobid) == 'completed'
        assert 'ends' not in vars(service.jobs[jobid])


def test_a_poisoned_run_is_kept(application, service, cron, clock,
                                monkeypatch):
    monkeypatch.setattr(settings, 'POISON', 1)
    jobid = cron(0)
    clock.advance(HOUR)
    queue = service.jobqueue
    queue.enroll('direct-1', (), beats=False)
    slot = queue.take_slot('direct-1')
    queue.make_due_ready(clock.now())
    queue.claim_next(iter([('direct-1', slot, n) for n in range(9)]),
                     clock.now(), Flow())
    queue.retire('direct-1', clock.now(), charged=True)
    assert service.jobs[jobid].runs[0].error.startswith('Poison: poison')


# -- failed runs are seen where failed jobs are -------------------------------

def test_a_schedule_whose_latest_run_failed_is_among_the_errors(
        service, cron, clock, log):
    jobid = cron(0)
    assert listed(service, 'error') == []
    cron(TaskError('no'))
    assert listed(service, 'error') == listed(service, 'cronjob') == [jobid]
    # Once among all.
    assert [job.id for job in service.listJobs()[0]] == [jobid]
    stats = service.stats()
    assert (stats['error'], stats['scheduled']) == (1, 1)
    assert stats['errorPerMinute'] == 1.0
    assert service.getError(jobid) == 'no'
    cron(TaskError('again'))
    assert listed(service, 'error') == [jobid]
    assert service.stats()['error'] == 1
    cron(0)
    assert listed(service, 'error') == []
    assert service.stats()['error'] == 0


def test_a_failed_run_is_logged_as_an_error(service, cron, log):
    jobid = cron(ValueError('no'))
    assert listed(service, 'error') == [jobid]
    assert any(line.startswith('ERROR') for line in log)


def test_a_clean_of_errors_leaves_the_schedule(service, cron):
    jobid = cron(TaskError('no'))
    service.clean(['error'])
    assert listed(service, 'error') == []
    assert service.stats()['error'] == 0
    assert listed(service, 'cronjob') == [jobid]
    assert len(service.jobs[cron(0)].runs) == 2


def test_an_edit_leaves_it_among_the_errors(service, cron):
    jobid = cron(TaskError('no'))
    service.jobs[jobid].update(minute=(30,))
    service.reschedule(jobid)
    assert listed(service, 'error') == [jobid]


def test_a_cancel_or_delete_takes_it_from_there(service, cron):
    jobid = cron(TaskError('no'))
    service.cancel(jobid)
    assert listed(service, 'error') == []
    assert service.stats()['error'] == 0
    assert listed(service, 'cancelled') == [jobid]


def test_a_failed_run_can_be_run_again(application, service, cron):
    jobid = cron(0)
    with pytest.raises(InvalidTransition):
        service.retryJob(jobid)
    cron(TaskError('no'))
    tick, due = service.jobs[jobid].tick, service.jobs[jobid].scheduledAt
    service.retryJob(jobid)
    job = service.jobs[jobid]
    assert (job.status, job.tick, job.scheduledAt) == ('queued', tick, due)
    assert listed(service, 'error') == []


def test_show_prints_them(application, cron, serve, capsys, monkeypatch):
    jobid = cron(TaskError('disk full'), 0)
    monkeypatch.setenv('REMOTETASK_TOKEN', 'secret')
    address = serve(application.db, 'secret')
    assert main(['show', str(jobid), '--url', f'http://{address}']) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index('latest runs:')
    assert lines[at + 1].split() == ['ended', 'seconds', 'outcome', 'error']
    assert lines[at + 2].split()[-2:] == ['0.000', 'completed']
    assert lines[at + 3].endswith('TaskError: disk full')


def test_a_record_of_them_that_is_lost_harms_nothing(
        application, service, cron):
    jobid = cron(0)
    oid = service.jobs[jobid].ends._p_oid
    storage, meta = application.db.storage, TransactionMetaData()
    storage.tpc_begin(meta)
    storage.deleteObject(oid, storage.load(oid)[1], meta)
    storage.tpc_vote(meta)
    storage.tpc_finish(meta)
    application.db.cacheMinimize()
    transaction.begin()
    assert 'runs' not in presenter.job(service, jobid)
    cron(0)
    assert len(service.jobs[jobid].runs) == 1
