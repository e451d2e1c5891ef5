"""``processing`` was never set, and cancel did not reach a running job."""

import threading

import pytest
import transaction

from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor

DEADLINE = 20


@pytest.fixture(params=[SimpleProcessor, MultiProcessor])
def factory(request, service):
    service.processorFactory = request.param
    transaction.commit()
    return request.param


@pytest.fixture
def held(application, service, whole):
    """A job that runs and waits in its task until ``go`` is set."""
    entered, go = threading.Event(), threading.Event()

    @whole
    def hold(service, jobid, input):
        service._p_jar.root()['effect'] = jobid
        service.add('hold', 'follow-up', startLater=True)
        entered.set()
        go.wait(DEADLINE)
        return 'result'

    jobid = service.add('hold')
    transaction.commit()
    service.startProcessing()
    assert entered.wait(DEADLINE)
    transaction.begin()
    yield jobid, go
    go.set()
    service.stopProcessing(wait=None)


def test_processing_was_never_set(factory, held, service):
    jobid, _ = held
    assert service.getStatus(jobid) == 'processing'
    assert service.jobs[jobid].started is not None
    assert service.jobs[jobid].completed is None
    assert service.getResult(jobid) is None


def test_processing_is_set_by_a_claim(application, service, register):
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    transaction.commit()
    assert SimpleProcessor(
        application.db, ['tasks']).claimNextJob() == jobid
    transaction.begin()
    assert service.getStatus(jobid) == 'processing'


def test_cancel_of_a_running_job(factory, held, application, service, log):
    jobid, go = held
    assert service.cancel(jobid) is None
    assert service.getStatus(jobid) == 'cancelled'
    transaction.commit()
    go.set()
    service.stopProcessing(wait=None)
    transaction.begin()
    # Cancelled means: the run left nothing behind.
    assert service.getStatus(jobid) == 'cancelled'
    assert service.getResult(jobid) is None
    assert 'effect' not in application.connection.root()
    assert list(service.jobs) == [jobid]
    assert log == []


def test_cancel_that_is_rolled_back_cancels_nothing(
        factory, held, application, service, wait_for):
    jobid, go = held
    service.cancel(jobid)
    transaction.abort()
    go.set()
    assert wait_for(service, jobid, 'completed') == 'completed'
    assert application.connection.root()['effect'] == jobid


def test_cancel_of_a_claimed_job(service, register):
    calls = []
    register(calls.append, 'note')
    jobid = service.add('note')
    transaction.commit()
    assert service.claimNextJob() == jobid
    service.cancel(jobid)
    transaction.commit()
    # 0.5.2 ran it, and left it cancelled.
    assert service.processNext(jobid=jobid) is False
    assert calls == [] and service.getStatus(jobid) == 'cancelled'
