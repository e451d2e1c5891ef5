"""A pool of threads whose tasks write the same object."""

import threading
from contextlib import contextmanager

import pytest
import transaction
from persistent.mapping import PersistentMapping

from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.task import FunctionTask

JOBS = 60
THREADS = 5
DEADLINE = 60


@contextmanager
def processing(application):
    """Run the loop of a pool in a thread; gives its processor."""
    processor = MultiProcessor(
        application.db, ['tasks'], waitTime=0.01, maxThreads=THREADS)
    thread = threading.Thread(target=processor, daemon=True)
    thread.running = True
    thread.start()
    try:
        yield processor
    finally:
        thread.running = False
        processor._listener.wake_event.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.fixture
def counter(application):
    counter = application.connection.root()['counter'] = PersistentMapping(
        value=0)
    transaction.commit()
    return counter


@pytest.mark.parametrize('groupable', [False, True])
def test_tasks_that_write_one_object(
        application, service, counter, register, groupable):
    calls, done = [], threading.Semaphore(0)

    def count(service, jobid, input):
        calls.append(jobid)
        mine = service._p_jar.root()['counter']
        mine['value'] += 1
        # Long enough for five threads to meet: the engine's own commits are
        # as short.
        pause.wait(0.005)
        transaction.get().addAfterCommitHook(
            lambda status: status and done.release())

    pause = threading.Event()
    register(FunctionTask(count, groupable=groupable), 'count')
    for _ in range(JOBS):
        service.add('count')
    transaction.commit()
    with processing(application) as processor:
        for _ in range(JOBS):
            if not done.acquire(timeout=DEADLINE):
                break
        reruns = processor.worker.executor.run_times.reruns.get('count', 0)
    transaction.begin()
    assert service.stats()['completed'] == JOBS
    assert counter['value'] == JOBS
    # With no limit: three calls more for each job.
    assert reruns <= JOBS / 4, reruns
    # A run that has conflicted is no attempt, also where its job was given
    # back.
    assert {job.attempts for job in service.jobs.values()} == {1}


def test_jobs_that_are_to_wait_hold_up_no_others(
        application, service, register):
    entered, leave = threading.Semaphore(0), threading.Event()
    others = threading.Semaphore(0)

    @register
    def long(input):
        entered.release()
        leave.wait(DEADLINE)

    register(FunctionTask(lambda service, jobid, input: others.release()),
             'other')
    for _ in range(20):
        service.add('long')
    transaction.commit()
    with processing(application) as processor:
        crowd = processor.worker.executor.crowd
        try:
            # Those that are new bear two threads.
            for _ in range(2):
                assert entered.acquire(timeout=DEADLINE)
            # As after conflicts.
            crowd._limits['long'].is_new = False
            crowd._limits['long'].change(1, crowd._monotonic())
            for _ in range(10):
                service.add('other')
            transaction.commit()
            for _ in range(10):
                assert others.acquire(timeout=DEADLINE)
            # Nothing was given to other threads meanwhile.
            assert not entered.acquire(blocking=False)
        finally:
            leave.set()
        for _ in range(18):
            assert entered.acquire(timeout=DEADLINE)
