"""A direct run of which the caller's transaction can store no end.

The job stays as it was, and first in line: a caller that caught the error and
went on met it again for ever, and the jobs behind it never ran.
"""

import pytest
import transaction
import zope.component
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError

from lovely.remotetask import events
from lovely.remotetask import settings
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RollbackImpossible
from lovely.remotetask.errors import SessionBroken
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.run import broken_off
from lovely.remotetask.task import FunctionTask

#: After how many conflicts in a row a job waits.
ROUND = 10


@pytest.fixture
def add(service, register):
    """``add(function)`` adds a job of that and one behind it; gives both."""
    def add(function, **options):
        register(FunctionTask(
            lambda service, jobid, input: function(), **options), 'task')
        register(FunctionTask(lambda service, jobid, input: 'done'), 'other')
        jobs = service.add('task'), service.add('other')
        transaction.commit()
        return jobs

    return add


@pytest.fixture
def conflict():
    """A function that conflicts, until its ``again`` is False."""
    def conflict():
        if conflict.again:
            raise TransientError('again')

    conflict.again = True
    return conflict


def process(service, before=lambda: None):
    """What a careful caller does; gives what was raised, or None."""
    try:
        before()
        service.process()
        transaction.commit()
    except BaseException as error:
        transaction.abort()
        return error
    return None


def test_a_task_that_dooms_the_transaction_is_told_and_then_fails(
        service, add, log):
    runs = []

    def doom():
        runs.append(1)
        transaction.doom()

    jobid, other = add(doom)
    error = process(service)
    assert isinstance(error, RollbackImpossible)
    assert str(jobid) in str(error) and 'doomed' in str(error)
    assert service.getStatus(jobid) == 'queued'
    assert process(service) is None
    assert (service.getStatus(jobid), len(runs)) == ('error', 1)
    assert 'doomed' in service.getError(jobid)
    assert service.getStatus(other) == 'completed'
    assert log
    # A person may send it through once more.
    service.retryJob(jobid)
    assert isinstance(process(service), RollbackImpossible)
    assert len(runs) == 2


def test_within_the_doomed_transaction_the_others_run(service, add):
    jobid, other = add(transaction.doom)
    with pytest.raises(RollbackImpossible):
        service.process()
    service.process()
    assert service.getStatus(jobid) == 'error'
    assert service.getStatus(other) == 'completed'
    transaction.abort()
    assert service.getStatus(other) == 'queued'


def test_a_task_that_dooms_and_raises(service, add, log):
    def doom():
        transaction.doom()
        raise ValueError('why')

    jobid, other = add(doom)
    assert isinstance(process(service), RollbackImpossible)
    assert process(service) is None
    assert service.getStatus(jobid) == 'error'
    assert 'ValueError: why' in service.getError(jobid)
    assert service.getStatus(other) == 'completed'


def test_one_that_dooms_a_transaction_of_its_own_just_fails(service, add):
    def doom():
        transaction.abort()
        transaction.doom()

    jobid, other = add(doom)
    assert process(service) is None
    assert service.getStatus(jobid) == 'error'
    assert service.getStatus(other) == 'completed'


def test_a_transaction_that_its_caller_has_doomed_is_the_callers(
        service, add):
    jobid, _ = add(lambda: 'done')
    transaction.doom()
    service.process()
    assert service.getStatus(jobid) == 'completed'
    transaction.abort()
    assert service.getStatus(jobid) == 'queued'


@pytest.mark.parametrize('grouped', [False, True], ids=['alone', 'grouped'])
def test_in_a_worker_the_job_that_dooms_fails_alone(
        application, service, add, register, grouped):
    jobid, other = add(transaction.doom, groupable=grouped, retry=NO_RETRY)
    processor = SimpleProcessor(application.db, ['tasks'])
    while processor.processNext():
        pass
    transaction.begin()
    assert service.getStatus(jobid) == 'error'
    assert service.getStatus(other) == 'completed'


def test_a_failure_that_cannot_be_rolled_back_is_stored_the_next_time(
        service, add, log, without_savepoints):
    runs = []

    def fail():
        runs.append(1)
        raise ValueError('why')

    def join():
        transaction.get().join(without_savepoints())

    jobid, other = add(fail)
    assert isinstance(process(service, join), RollbackImpossible)
    assert service.getStatus(jobid) == 'queued'
    assert process(service, join) is None
    assert (service.getStatus(jobid), len(runs)) == ('error', 1)
    assert 'ValueError: why' in service.getError(jobid)
    assert service.getStatus(other) == 'completed'


def test_a_rest_that_cannot_be_rolled_back_is_no_failure(
        service, add, without_savepoints):
    def rest():
        raise RetryLater(60)

    def join():
        transaction.get().join(without_savepoints())

    jobid, other = add(rest)
    for _ in range(ROUND):
        assert isinstance(process(service, join), RollbackImpossible)
    assert process(service, join) is None
    assert service.getStatus(jobid) == 'queued'
    assert service.getStatus(other) == 'completed'


def test_a_task_that_closes_the_connection_fails_the_next_time(
        application, service, add):
    opened = []

    def close_it():
        opened[0].transaction_manager.abort()
        opened[0].close()

    jobid, other = add(close_it)
    fresh, close = application.fresh(service)
    opened.append(fresh._p_jar)
    with pytest.raises(SessionBroken):
        fresh.process()
    fresh, close = application.fresh(service)
    fresh.process()
    assert fresh.getStatus(jobid) == 'error'
    assert fresh.getStatus(other) == 'completed'
    close()


@pytest.mark.parametrize('error', [
    TransientError('again'), ConflictError(), KeyboardInterrupt()], ids=repr)
def test_after_ten_in_a_row_the_job_waits_and_others_run(
        service, add, log, error):
    runs = []

    def conflict():
        runs.append(1)
        raise error

    jobid, other = add(conflict)
    for _ in range(ROUND):
        assert process(service) is error
        job = service.jobs[jobid]
        assert (job.status, job.attempts, job.conflicts) == ('queued', 0, 0)
    assert process(service) is None
    assert len(runs) == ROUND
    assert (job.status, job.failures, job.conflicts) == ('queued', 0, ROUND)
    assert job.position[0] == 'waiting'
    assert type(error).__name__ in service.getError(jobid)
    assert service.getStatus(other) == 'completed'
    [line] = log
    assert line.startswith('WARNING') and str(jobid) in line


def test_a_subscriber_that_fails_holds_up_no_other(service, add):
    @zope.component.adapter(events.JobFinished)
    def fail(event):
        if event.job.id == jobid:
            raise ValueError('why')

    jobid, other = add(lambda: 'done')
    zope.component.provideHandler(fail)
    for _ in range(ROUND):
        assert isinstance(process(service), ValueError)
    assert process(service) is None
    assert service.getStatus(jobid) == 'queued'
    assert service.getStatus(other) == 'completed'


def test_in_one_transaction_it_waits_as_well(service, add, conflict):
    jobid, other = add(conflict)
    for _ in range(ROUND):
        with pytest.raises(TransientError):
            service.process()
    service.process()
    assert service.jobs[jobid].position[0] == 'waiting'
    assert service.getStatus(other) == 'completed'


def test_it_ends_after_CONFLICTS(service, add, conflict, monkeypatch):
    monkeypatch.setattr(settings, 'CONFLICTS', 2 * ROUND)

    jobid, _ = add(conflict)
    for _ in range(2):
        while process(service) is not None:
            pass
        if service.getStatus(jobid) == 'queued':
            service.jobqueue.enqueue(service.jobs[jobid])
            transaction.commit()
    assert service.getStatus(jobid) == 'error'
    assert f'{2 * ROUND} times' in service.getError(jobid)


def test_what_is_remembered_ends_with_the_job_and_has_a_bound(
        service, add, conflict, monkeypatch):
    monkeypatch.setattr(broken_off, '_NOTED_JOBS', 2)
    jobid, _ = add(conflict)
    others = [service.add('task') for _ in range(3)]
    transaction.commit()
    notes = broken_off._notes.setdefault(service._p_jar.db(), {})
    for one in jobid, *others, others[-1]:
        with pytest.raises(TransientError):
            service.processNext(jobid=one)
        transaction.abort()
    # The oldest are forgotten, and none for one that is there already.
    assert [found for _, found in notes] == others[1:]
    conflict.again = False
    assert service.processNext(jobid=others[-1])
    assert [found for _, found in notes] == others[1:2]


def test_another_run_of_the_job_ends_the_row(
        application, service, add, conflict):
    jobid, _ = add(conflict)
    for _ in range(ROUND):
        process(service)
    conflict.again = False
    # A worker has a transaction of its own, and is not concerned.
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    assert service.getStatus(jobid) == 'completed'


def test_a_person_may_run_it_all_the_same(service, add, conflict):
    jobid, _ = add(conflict)
    for _ in range(ROUND):
        process(service)
    conflict.again = False
    assert service.processNext(jobid=jobid, force=True)
    assert service.getStatus(jobid) == 'completed'
