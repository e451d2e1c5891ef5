"""A task that always conflicts with itself is seen, holds no thread, and ends.

It ran for ever, held one thread each, and nothing was logged.
"""

import pytest
import transaction
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from ZODB.utils import oid_repr

from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.web import presenter

#: After how many conflicts in a row a job waits.
ROUND = 10


@pytest.fixture
def processor(application, service):
    return SimpleProcessor(application.db, ['tasks'], waitTime=0.01)


@pytest.fixture
def counter(application):
    counter = application.connection.root()['counter'] = PersistentMapping()
    counter['value'] = 0
    transaction.commit()
    return counter


@pytest.fixture
def task(application, counter, register):
    """A task that writes what it writes in another transaction, too."""
    runs = []

    def task(service, jobid, input):
        runs.append(jobid)
        mine = service._p_jar.root()['counter']
        mine['value'] += 1
        if input is None or len(runs) <= input:
            db.write(application.db, lambda connection: (
                connection.root()['counter'].update(value=-1)))
        return 'done'

    register(FunctionTask(task), 'task')
    register(FunctionTask(lambda service, jobid, input: 'done'), 'other')
    return runs


def turn(service, processor, jobid):
    """Run the job once more, without the pause before."""
    transaction.begin()
    job = service.jobs[jobid]
    assert job.position[0] == 'waiting'
    service.jobqueue.enqueue(job)
    transaction.commit()
    assert processor.processNext()
    transaction.begin()


def test_after_ten_conflicts_in_a_row_the_job_waits_and_says_why(
        service, processor, task, counter, log):
    jobid, other = service.add('task'), service.add('other')
    transaction.commit()
    assert processor.processNext()
    assert len(task) == ROUND
    transaction.begin()
    job = service.jobs[jobid]
    assert (job.status, job.claim, job.failures) == ('queued', None, 0)
    assert job.position[0] == 'waiting' and job.conflicts == ROUND
    [line] = [line for line in log if line.startswith('WARNING')]
    for text in ("'task'", str(jobid), 'PersistentMapping',
                 oid_repr(counter._p_oid)):
        assert text in line
        assert text in service.getError(jobid) or text == str(jobid)
    assert [line for line in log if line.startswith('ERROR')] == []
    # The thread is free meanwhile.
    assert processor.processNext()
    transaction.begin()
    assert service.getStatus(other) == 'completed'


def test_it_goes_on_waiting_for_longer_and_ends_in_an_error(
        service, processor, task, monkeypatch, log):
    monkeypatch.setattr(settings, 'CONFLICTS', 3 * ROUND)
    jobid = service.add('task')
    transaction.commit()
    assert processor.processNext()
    turn(service, processor, jobid)
    assert service.jobs[jobid].conflicts == 2 * ROUND
    assert service.getStatus(jobid) == 'queued'
    turn(service, processor, jobid)
    job = service.jobs[jobid]
    assert (job.status, job.claim, len(task)) == ('error', None, 3 * ROUND)
    assert f'{3 * ROUND} times' in job.error.message
    assert 'PersistentMapping' in job.error.message
    assert len([line for line in log if line.startswith('ERROR')]) == 1
    # A person may send it through once more.
    service.retryJob(jobid)
    assert not job.conflicts


def test_conflicts_are_no_attempts_that_failed(
        service, processor, counter, register):
    def task(service, jobid, input):
        if not runs:
            runs.append(1)
            raise ValueError('first')
        raise ConflictError

    runs = []
    register(FunctionTask(task, retry=RetryPolicy(3, base=0)), 'task')
    jobid = service.add('task')
    transaction.commit()
    while processor.processNext():
        pass
    transaction.begin()
    job = service.jobs[jobid]
    assert job.conflicts == ROUND and 'conflicted' in service.getError(jobid)
    assert [(one.type, one.attempt) for one in job.errors] == [
        ('ValueError', 1)]
    turn(service, processor, jobid)
    assert [one.type for one in job.errors] == ['ValueError']
    shown = presenter.job(service, jobid)
    assert [one['type'] for one in shown['errors']] == ['ValueError']
    assert 'conflicted' in shown['waitsFor']


def test_a_success_forgets_the_conflicts(service, processor, task):
    jobid = service.add('task', ROUND)
    transaction.commit()
    assert processor.processNext()
    turn(service, processor, jobid)
    job = service.jobs[jobid]
    assert (job.status, job.failures, job.error) == ('completed', 0, None)
    assert 'conflicts' not in job.__dict__


def test_fewer_conflicts_store_nothing_and_log_nothing(
        service, processor, task, log):
    jobid = service.add('task', ROUND - 1)
    transaction.commit()
    assert processor.processNext()
    transaction.begin()
    job = service.jobs[jobid]
    assert (job.status, job.attempts, log) == ('completed', 1, [])


@pytest.mark.parametrize('error', [TransientError('again'), ConflictError()],
                         ids=repr)
def test_conflicts_without_an_object_are_told_as_they_are(
        service, processor, register, error, log):
    def task(service, jobid, input):
        raise error

    register(FunctionTask(task), 'task')
    jobid = service.add('task')
    transaction.commit()
    assert processor.processNext()
    transaction.begin()
    assert service.jobs[jobid].position[0] == 'waiting'
    assert type(error).__name__ in service.getError(jobid)
