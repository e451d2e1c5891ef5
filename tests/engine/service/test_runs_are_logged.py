"""Each run of a worker leaves one log record, which tells how it ended."""

import logging
import threading

import pytest
import transaction
import zope.component
from ZODB.POSException import ReadConflictError

from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.task import FunctionTask

FRONT = 'Caught a generic exception, preventing thread from crashing: '


@pytest.fixture
def heard():
    """The records, where an operator listens to runs that end well, too."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    runs = logging.getLogger('lovely.remotetask.runs')
    before = runs.level
    runs.setLevel(logging.INFO)
    runs.parent.addHandler(handler)
    yield records
    runs.parent.removeHandler(handler)
    runs.setLevel(before)


@pytest.fixture
def run(application, service, register):
    """Adds a job of a task, runs it in a worker; gives its id."""
    def run(raises=None, **options):
        def work(input):
            if raises is not None:
                raise raises

        register(FunctionTask(work, **options), 'work')
        jobid = service.add('work')
        transaction.commit()
        assert SimpleProcessor(application.db, ['tasks']).processNext()
        transaction.begin()
        return jobid

    return run


def test_a_run_that_ends_well_is_silent_until_an_operator_listens(
        run, caplog):
    caplog.set_level(logging.DEBUG)
    run()
    assert not [record for record in caplog.records
                if record.name.startswith('lovely')]


def test_a_run_that_ends_well(run, heard):
    jobid = run()
    (record,) = heard
    assert (record.levelname, record.name) == (
        'INFO', 'lovely.remotetask.runs')
    assert (record.job_id, record.task, record.attempt, record.outcome,
            record.next_at, record.error) == (
        jobid, 'work', 1, 'completed', None, None)
    assert record.seconds >= 0 and record.worker.startswith('processor')
    assert record.service == '/tasks'
    assert record.getMessage().startswith(
        f"Job {jobid} (task 'work', attempt 1, worker {record.worker}) "
        f"completed after 0.0")


@pytest.mark.usefixtures('longest_waits')
@pytest.mark.parametrize(
    ('error', 'options', 'level', 'outcome', 'front', 'end'), [
        (ValueError('no'), {}, 'WARNING', 'retried', FRONT, ' UTC'),
        (ValueError('no'), {'retry': NO_RETRY}, 'ERROR', 'failed', FRONT,
         's: ValueError: no; this is final'),
        (TaskError('no'), {}, 'ERROR', 'failed', 'Job ',
         's: TaskError: no; this is final'),
        (RetryLater(60.0, reason='the tape is out'), {}, 'INFO', 'parked',
         'Job ', ' UTC'),
        (CancelJob('not needed'), {}, 'INFO', 'cancelled', 'Job ',
         's: not needed'),
    ])
def test_a_run_that_ends_otherwise(
        run, heard, error, options, level, outcome, front, end):
    jobid = run(error, **options)
    (record,) = heard
    assert (record.levelname, record.job_id, record.task, record.attempt,
            record.outcome) == (level, jobid, 'work', 1, outcome)
    text = record.getMessage()
    assert text.startswith(front) and text.endswith(end)
    assert f"ob {jobid} (task 'work', attempt 1, worker " in text
    assert str(error.args[-1]) in text or level == 'INFO'
    assert (record.next_at is not None) == (outcome in ('retried', 'parked'))
    if record.next_at is not None:
        assert f'; it is tried again at {record.next_at[:10]}' in text
    assert (record.exc_info is not None) == (front == FRONT)


def test_an_input_that_cannot_be_loaded(run, service, register, application,
                                        heard):
    class Lost:
        """Its module has no such class once it is stored."""

    globals()['Lost'] = Lost
    Lost.__qualname__ = 'Lost'
    register(lambda input: input, 'work')
    jobid = service.add('work', Lost())
    transaction.commit()
    del globals()['Lost']
    application.connection.cacheMinimize()
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    assert [record.outcome for record in heard
            if record.name == 'lovely.remotetask.runs'] == ['left']
    assert [record.job_id for record in heard] == [jobid] * len(heard)


def test_a_task_that_is_gone_for_long(run, service, register, application,
                                      heard, monkeypatch):
    from lovely.remotetask import settings

    monkeypatch.setattr(settings, 'MISSING_GIVE_UP', 0.0)
    task = register(lambda input: input, 'gone')
    jobid = service.add('gone')
    service.jobs[jobid].put(missing_since=1.0)
    transaction.commit()
    zope.component.getGlobalSiteManager().unregisterUtility(
        task, ITask, 'gone')
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    record = heard[-1]
    assert (record.levelname, record.job_id, record.outcome) == (
        'ERROR', jobid, 'failed')
    assert record.getMessage().startswith('Task "gone" not found!')


def test_a_run_whose_job_was_cancelled_has_one_record(
        application, service, register, heard):
    def work(input):
        manager = transaction.TransactionManager()
        connection = application.db.open(manager)
        connection.root()['Application']['tasks'].cancel(jobid)
        manager.commit()
        connection.close()
        # The next attempt sees it.
        raise ReadConflictError

    register(work, 'work')
    jobid = service.add('work')
    transaction.commit()
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    assert [(record.job_id, record.outcome) for record in heard] == [
        (jobid, 'conflict'), (jobid, 'dropped')]


def test_jobs_that_share_a_commit_have_a_record_each(
        service, register, application, heard):
    def work(input):
        if input == 1:
            raise TaskError('one')

    register(FunctionTask(work, groupable=True), 'work')
    ids = [service.add('work', number) for number in range(4)]
    transaction.commit()
    worker = SimpleProcessor(application.db, ['tasks']).worker
    worker.enroll()
    # Measured once, the task may share commits.
    for _ in range(3):
        claims = worker.claim_some()
        if claims:
            worker.work(claims, lambda: False)
    assert sorted((record.job_id, record.outcome) for record in heard) == [
        (jobid, 'failed' if number == 1 else 'completed')
        for number, jobid in enumerate(ids)]


def test_a_thread_is_named_by_its_number_and_not_by_a_job(
        service, register, wait_for):
    names = []
    register(lambda input: names.append(threading.current_thread().name),
             'work')
    service.processorFactory = MultiProcessor
    service.processorArguments = {'maxThreads': 2}
    ids = [service.add('work') for _ in range(9)]
    transaction.commit()
    service.startProcessing()
    for jobid in ids:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    assert set(names) <= {'remotetask-thread-1', 'remotetask-thread-2'}
