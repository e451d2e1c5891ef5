"""``on_error`` of a task, and currentJob() while a failure is logged."""

import logging

import pytest
import transaction

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import RetryLater
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
