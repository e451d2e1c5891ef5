"""Whatever class of error a task raises, its job fails, and its thread lives.

A KeyboardInterrupt that a task had raised ended the thread of its worker, or
ran the job again for ever, uncharged.
"""

import threading

import pytest
import transaction
import zope.component

from lovely.remotetask import events
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import WorkerStopping
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.run import failing
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.task import FunctionTask

DEADLINE = 20

KINDS = [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration,
         BaseException]

#: What the engine raises itself; see also KINDS.
OWN = [LeaseLost, WorkerStopping]


@pytest.fixture
def start(application):
    """Starts a processor's loop in a thread of its own; gives the thread."""
    threads = []

    def start(factory, **options):
        processor = factory(
            application.db, ['tasks'], waitTime=0.01, **options)
        thread = threading.Thread(target=processor, daemon=True)
        thread.running = True
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        tell_to_stop(thread)
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.fixture
def in_thread():
    """Calls a function in a thread that is not the main one."""
    def in_thread(function):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join(DEADLINE)
        assert not thread.is_alive()

    return in_thread


@pytest.mark.parametrize('grouped', [False, True], ids=['alone', 'grouped'])
@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
@pytest.mark.parametrize('kind', KINDS + OWN)
def test_what_a_task_raises_is_the_error_of_its_job(
        service, register, start, wait_for, kind, factory, grouped):
    runs = []

    def fail(service, jobid, input):
        runs.append(jobid)
        raise kind('of the task')

    register(FunctionTask(fail, retry=NO_RETRY, groupable=grouped), 'fail')
    register(FunctionTask(lambda service, jobid, input: input,
                          groupable=grouped), 'echo')
    jobs = [service.add('echo'), service.add('fail'), service.add('fail'),
            service.add('echo')]
    transaction.commit()
    thread = start(factory)
    statuses = [wait_for(service, jobid, 'completed', 'error')
                for jobid in jobs]
    assert statuses == ['completed', 'error', 'error', 'completed']
    assert service.getError(jobs[1]) == 'of the task'
    assert service.jobs[jobs[1]].error.type.endswith(kind.__name__)
    assert thread.is_alive()
    # Of those that shared a commit, each ran once more.
    assert len(runs) <= 2 * (1 + grouped)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('event', [
    events.JobStarted, events.JobFinished, events.JobFailed,
    events.JobRetried])
def test_what_a_subscriber_raises_leaves_no_job_claimed(
        service, register, start, wait_for, monkeypatch, kind, event):
    monkeypatch.setattr(failing, '_BACKOFF_FIRST', 0.0)

    def fail(service, jobid, input):
        if event is not events.JobFinished:
            raise ValueError('of the task')

    @zope.component.adapter(event)
    def subscriber(event):
        raise kind('of the subscriber')

    register(FunctionTask(fail, **(
        {} if event is events.JobRetried else {'retry': NO_RETRY})), 'fail')
    zope.component.provideHandler(subscriber)
    jobid = service.add('fail')
    transaction.commit()
    thread = start(SimpleProcessor)
    if event is events.JobRetried:
        wait_for(service, jobid, 'queued')
    else:
        wait_for(service, jobid, 'error')
    assert thread.is_alive()


@pytest.mark.parametrize('kind', KINDS)
def test_what_a_task_raises_in_a_thread_that_processes_directly(
        application, service, register, in_thread, kind):
    def fail(service, jobid, input):
        raise kind('of the task')

    register(FunctionTask(fail), 'fail')
    jobid = service.add('fail')
    transaction.commit()

    def process():
        again, close = application.fresh(service)
        again.processNext(jobid=jobid)
        again._p_jar.transaction_manager.commit()
        close()

    in_thread(process)
    transaction.begin()
    assert service.getStatus(jobid) == 'error'


def test_ctrl_c_in_the_main_thread_stops_the_process_and_charges_no_job(
        application, service, register):
    def interrupted(service, jobid, input):
        raise KeyboardInterrupt     # as Python's handler of SIGINT does

    register(FunctionTask(interrupted), 'interrupted')
    jobid = service.add('interrupted')
    transaction.commit()
    with pytest.raises(KeyboardInterrupt):
        SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    job = service.jobs[jobid]
    assert (job.status, job.failures, job.claim) == ('queued', 0, None)
