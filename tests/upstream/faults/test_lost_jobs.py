"""Jobs that 0.5.2 lost: status ``queued``, and in no queue.

(MultiProcessor killed in the middle of a task: see the tests of crashes.)
"""

import threading

import pytest
import transaction
from transaction.interfaces import TransientError

from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY

DEADLINE = 20


@pytest.fixture
def multi(service):
    service.processorFactory = MultiProcessor
    service.processorArguments = {'maxThreads': 2, 'waitTime': 0.0}
    transaction.commit()
    return service


def test_multiprocessor_and_an_exception_that_is_not_taskerror(
        multi, register, wait_for):
    def fails(input):
        raise ValueError('no')

    register(fails).retry = NO_RETRY
    jobid = multi.add('fails')
    transaction.commit()
    multi.startProcessing()
    assert wait_for(multi, jobid, 'error') == 'error'
    assert multi.getError(jobid) == 'no'
    multi.stopProcessing(wait=None)


def test_multiprocessor_runs_a_job_again_after_an_exception(
        multi, register, wait_for):
    calls = []

    @register
    def fails_once(input):
        calls.append(input)
        if len(calls) == 1:
            raise ValueError('no')
        return 'second'

    jobid = multi.add('fails_once')
    transaction.commit()
    multi.startProcessing()
    assert wait_for(multi, jobid, 'completed') == 'completed'
    assert multi.getResult(jobid) == 'second' and len(calls) == 2
    multi.stopProcessing(wait=None)


def test_a_failed_job_that_waits_stands_in_the_queue(
        service, register, processor):
    @register
    def fails(input):
        raise ValueError('no')

    jobid = service.add('fails')
    transaction.commit()
    claimed = processor.claimNextJob()
    assert claimed == jobid and processor.processNext(claimed) is True
    transaction.begin()
    assert service.getStatus(jobid) == 'queued'
    assert [job.id for job in service._queue] == [jobid]


@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
def test_a_task_that_commits_and_then_raises(
        factory, application, service, whole):
    def commits(service, jobid, input):
        service._p_jar.root()['kept'] = True
        transaction.commit()
        service._p_jar.root()['lost'] = True
        raise ValueError('no')

    whole(commits).retry = NO_RETRY
    jobid = service.add('commits')
    transaction.commit()
    processor = factory(application.db, ['tasks'])
    assert processor.processNext(processor.claimNextJob()) is True
    transaction.begin()
    assert service.getStatus(jobid) == 'error'
    root = application.connection.root()
    assert 'kept' in root and 'lost' not in root


def test_a_task_that_commits_and_then_raises_runs_again(
        clock, service, whole, processor):
    calls = []

    @whole
    def commits(service, jobid, input):
        calls.append(jobid)
        transaction.commit()
        if len(calls) == 1:
            raise ValueError('no')

    jobid = service.add('commits')
    transaction.commit()
    assert processor.processNext() is True
    clock.advance(10)
    assert processor.processNext() is True
    transaction.begin()
    assert service.getStatus(jobid) == 'completed'
    assert calls == [jobid] * 2


# --- job id 0: ``job and job.id`` -------------------------------------------

def test_job_id_0_directly(service, register):
    register(lambda input: input, 'echo')
    service._v_nextid = 0
    assert service.add('echo', 'zero') == 0
    assert service.claimNextJob() == 0
    assert service.claimNextJob() is None
    assert service.processNext(jobid=0) is True
    assert service.getResult(0) == 'zero'


def test_job_id_0_in_a_multiprocessor(multi, register, wait_for):
    register(lambda input: input, 'echo')
    multi._v_nextid = 0
    assert multi.add('echo', 'zero') == 0
    transaction.commit()
    multi.startProcessing()
    assert wait_for(multi, 0, 'completed') == 'completed'
    assert multi.getResult(0) == 'zero'
    multi.stopProcessing(wait=None)


def test_job_id_0_through_a_processor(service, register, processor):
    register(lambda input: input, 'echo')
    service._v_nextid = 0
    assert [service.add('echo'), service.add('echo')] == [0, 1]
    transaction.commit()
    assert processor.claimNextJob() == 0
    # This very job, and not just the next one.
    assert processor.processNext(0) is True
    transaction.begin()
    assert service.getStatus(0) == 'completed'
    assert service.getStatus(1) == 'queued'


# --- processNext() called directly that raises and is then committed ---------

@pytest.mark.parametrize('raised', [
    TransientError('again'), KeyboardInterrupt()])
def test_direct_processnext_that_raises_and_is_then_committed(
        raised, application, service, register):
    @register
    def fails(input):
        raise raised

    jobid = service.add('fails')
    transaction.commit()
    with pytest.raises(type(raised)):
        service.processNext()
    transaction.commit()
    again, close = application.fresh(service)
    assert again.getStatus(jobid) == 'queued'
    assert [job.id for job in again._queue] == [jobid]
    assert again.hasJobsWaiting() is True
    close()


def test_direct_processnext_with_an_ordinary_exception_is_final(
        application, service, register):
    @register
    def fails(input):
        raise ValueError('no')

    jobid = service.add('fails')
    transaction.commit()
    assert service.processNext() is True
    transaction.commit()
    again, close = application.fresh(service)
    assert again.getStatus(jobid) == 'error'
    assert len(again._queue) == 0
    close()


def test_no_job_of_many_is_lost_when_some_fail(multi, register):
    """The statuses of all jobs add up, and each was run."""
    done, seen = threading.Semaphore(0), set()

    def sometimes(input):
        # A finish that shares its commit with a claim may be repeated.
        if input not in seen:
            seen.add(input)
            done.release()
        if input % 3 == 0:
            raise ValueError(input)
        return input

    register(sometimes).retry = NO_RETRY
    ids = [multi.add('sometimes', n) for n in range(30)]
    transaction.commit()
    multi.startProcessing()
    for _ in ids:
        assert done.acquire(timeout=DEADLINE)
    multi.stopProcessing(wait=None)
    transaction.begin()
    assert [multi.getStatus(i) for i in ids] == [
        'error' if n % 3 == 0 else 'completed' for n in range(30)]
    assert len(multi._queue) == 0
