"""Threads that are stuck in a job are told in the log and in the record."""

import threading

import pytest
import transaction

from lovely.remotetask import settings
from lovely.remotetask.context import currentJob
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import monitor
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.task import FunctionTask

DEADLINE = 20


@pytest.fixture
def hold(service, register, monkeypatch):
    """Starts a job that ends once the test is over; gives its id.

    Attributes: ``attempts``, those of its runs; ``go``, an event that ends
    them; ``start(processor)``, in a thread.
    """
    monkeypatch.setattr(settings, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(monitor, '_LOOK_ALONE_SECONDS', 0.05)
    running, go = threading.Event(), threading.Event()
    threads = []

    def work(input):
        hold.attempts.append(currentJob().attempt)
        running.set()
        assert go.wait(DEADLINE)

    def hold(**options):
        register(FunctionTask(work, **options), 'work')
        jobid = service.add('work')
        transaction.commit()
        service.startProcessing()
        assert running.wait(DEADLINE)
        transaction.begin()
        return jobid

    def start(processor):
        thread = threading.Thread(target=processor, daemon=True)
        thread.running = True
        threads.append(thread)
        thread.start()

    hold.attempts, hold.go, hold.start = [], go, start
    yield hold
    go.set()
    service.stopProcessing(wait=None)
    for thread in threads:
        tell_to_stop(thread)
        thread.join(DEADLINE)


def wait_until(look):
    deadline = threading.Event()
    for _ in range(400):
        transaction.begin()
        found = look()
        if found:
            return found
        deadline.wait(0.05)
    raise AssertionError('it did not come')


def test_what_runs_is_listed(service, hold):
    jobid = hold()
    (worker,) = service.listWorkers()
    assert worker['host'] in worker['id'] and worker['since'] > '2026'
    (job,) = worker['jobs']
    assert (job['id'], job['task'], job['attempt']) == (jobid, 'work', 1)
    assert job['seconds'] >= 0 and worker['stuck'] == []


def test_a_job_that_was_cancelled(service, hold, log):
    jobid = hold()
    service.cancel(jobid)
    transaction.commit()
    assert wait_until(lambda: service.listWorkers()[0]['stuck']) == [
        {'id': jobid, 'why': 'was cancelled'}]
    (line,) = log
    assert line.startswith(f"WARNING Job {jobid} (task 'work', attempt 1, ")
    assert 'was cancelled, and its thread still runs it' in line


@pytest.mark.parametrize('where', ['same worker', 'other worker'])
def test_a_job_that_was_cancelled_and_retried(
        application, service, hold, log, where):
    """Its next run does not wait for one that may never end."""
    if where == 'same worker':
        service.processorFactory = MultiProcessor
        service.processorArguments = {'maxThreads': 2}
    jobid = hold()
    (first,) = service.listWorkers()
    service.cancel(jobid)
    service.retryJob(jobid)
    transaction.commit()
    if where == 'other worker':
        hold.start(SimpleProcessor(application.db, ['tasks']))
    wait_until(lambda: len(hold.attempts) == 2)
    why = {'id': jobid, 'why': 'was cancelled and retried'}
    stuck = wait_until(lambda: {worker['id']: worker['stuck']
                                for worker in service.listWorkers()
                                if worker['stuck']})
    assert stuck == {first['id']: [why]}
    (line,) = log
    assert f'Job {jobid} (task \'work\', attempt 1, ' in line
    hold.go.set()
    wait_until(lambda: service.getStatus(jobid) == 'completed')
    wait_until(lambda: not any(
        worker['stuck'] for worker in service.listWorkers()))
    assert hold.attempts == [1, 2]


def test_a_job_that_is_over_its_limit(service, hold, log):
    jobid = hold(timeout=0.1)
    assert wait_until(lambda: service.listWorkers()[0]['stuck']) == [
        {'id': jobid, 'why': 'is over its limit of 0.1 s'}]
    assert [line[:12] for line in log] == ['WARNING Job ']
