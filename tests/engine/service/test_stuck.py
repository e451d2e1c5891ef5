"""Threads that are stuck in a job are told in the log and in the record."""

import threading

import pytest
import transaction

from lovely.remotetask import settings
from lovely.remotetask.run import monitor
from lovely.remotetask.task import FunctionTask

DEADLINE = 20


@pytest.fixture
def hold(service, register, monkeypatch):
    """Starts a job that ends once the test is over; gives its id."""
    monkeypatch.setattr(settings, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(monitor, '_LOOK_ALONE_SECONDS', 0.05)
    running, go = threading.Event(), threading.Event()

    def work(input):
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

    yield hold
    go.set()
    service.stopProcessing(wait=None)


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


def test_a_job_that_is_over_its_limit(service, hold, log):
    jobid = hold(timeout=0.1)
    assert wait_until(lambda: service.listWorkers()[0]['stuck']) == [
        {'id': jobid, 'why': 'is over its limit of 0.1 s'}]
    assert [line[:12] for line in log] == ['WARNING Job ']
