"""``on_error`` of a task, and currentJob() while a failure is logged."""

import logging

import pytest
import transaction

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RollbackImpossible
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import FunctionTask


@pytest.fixture(params=['worker', 'direct'])
def run(request, application, service, register):
    """Runs one job of a task that fails, by a worker or process()."""
    def run(raises, **options):
        def work(input):
            raise raises

        register(FunctionTask(work, **options), 'work')
        jobid = service.add('work')
        transaction.commit()
        if request.param == 'direct':
            service.processNext()
            transaction.commit()
        else:
            SimpleProcessor(application.db, ['tasks']).processNext()
        transaction.begin()
        return service.jobs[jobid]

    return run


def test_it_is_called_once_and_what_it_writes_is_committed(run, application):
    calls = []

    def on_error(context, error):
        assert currentJob() is context
        calls.append((context.id, context.task, context.attempt, error))
        context.service.__parent__['alarm'] = context.idempotencyKey

    error = ValueError('no')
    job = run(error, on_error=on_error)
    assert calls == [(job.id, 'work', 1, error)]
    assert application.root['alarm'].split('-')[1] == str(job.id)
    assert str(job.error) == 'no'


def test_what_it_raises_is_logged_and_harms_nothing(run, application, log):
    def on_error(context, error):
        context.service.__parent__['half'] = 'done'
        raise LookupError('no such channel')

    job = run(ValueError('no'), on_error=on_error)
    assert str(job.error) == 'no' and job.status in ('queued', 'error')
    assert 'half' not in application.root
    (line,) = [line for line in log if 'on_error' in line]
    assert line == (f"ERROR on_error of task 'work' has failed for job "
                    f'{job.id}: LookupError: no such channel')


class Mailer:
    """A data manager that knows no savepoints, as many do."""

    transaction_manager = transaction.manager

    def __init__(self, done):
        self.done = done

    def sortKey(self):
        return 'mailer'

    def abort(self, running):
        self.done.append('aborted')

    def tpc_finish(self, running):
        self.done.append('sent')

    def tpc_begin(self, running):
        pass

    commit = tpc_vote = tpc_abort = tpc_begin


def test_what_joins_in_it_is_part_of_the_commit_that_stores_the_error(run):
    done = []
    job = run(ValueError('no'), on_error=lambda *call: transaction.get().join(
        Mailer(done)))
    # A direct run notifies once it is through, and transaction then aborts
    # each manager once more.
    assert str(job.error) == 'no' and done[:1] == ['sent']


def test_what_joins_in_it_is_aborted_where_it_fails(run, application, log):
    done = []

    def on_error(context, error):
        context.service.__parent__['half'] = 'done'
        transaction.get().join(Mailer(done))
        raise LookupError('no such channel')

    job = run(ValueError('no'), on_error=on_error)
    assert str(job.error) == 'no' and done == ['aborted']
    assert 'half' not in application.root
    assert [line for line in log if 'on_error' in line]


def test_beside_a_manager_that_joined_before_it_is_not_called(
        service, register):
    """Of a direct run, whose failure cannot be taken back then."""
    done, calls = [], []

    def work(input):
        raise ValueError('no')

    register(FunctionTask(
        work, on_error=lambda *call: calls.append(call)), 'work')
    jobid = service.add('work')
    transaction.commit()
    transaction.get().join(Mailer(done))
    with pytest.raises(RollbackImpossible, match='Mailer'):
        service.processNext()
    transaction.abort()
    assert (calls, done) == ([], ['aborted'])
    assert service.getStatus(jobid) == 'queued'


def test_beside_what_its_task_has_left_open_it_fails_alone(
        service, register, application):
    """The task of a direct run has ended the caller's transaction."""
    done = []

    def work(input):
        transaction.commit()
        transaction.get().join(Mailer(done))
        raise ValueError('no')

    def on_error(context, error):
        context.service.__parent__['half'] = 'done'
        raise LookupError('no such channel')

    register(FunctionTask(work, on_error=on_error), 'work')
    jobid = service.add('work')
    service.processNext()
    transaction.commit()
    assert done == ['aborted'] and 'half' not in application.root
    assert (service.getStatus(jobid), service.getError(jobid)) == (
        'error', 'no')


def test_a_task_that_rests_has_not_failed(run):
    calls = []
    run(RetryLater(60.0), on_error=lambda *call: calls.append(call))
    assert calls == []


def test_it_is_a_function():
    with pytest.raises(TypeError, match='on_error is 5; it must be a func'):
        FunctionTask(len, on_error=5)


def test_a_filter_of_the_log_knows_the_job(
        application, service, register):
    def work(input):
        raise ValueError('no')

    seen = []

    def note(record):
        job = currentJob()
        seen.append((job.id, job.task, job.attempt, job.idempotencyKey))
        return True

    register(work)
    jobid = service.add('work')
    transaction.commit()
    log = logging.getLogger('lovely.remotetask')
    log.addFilter(note)
    try:
        SimpleProcessor(application.db, ['tasks']).processNext()
    finally:
        log.removeFilter(note)
    ((id, task, attempt, key),) = seen
    assert (id, task, attempt) == (jobid, 'work', 1)
    assert f'-{jobid}-' in key
