"""A task that closes its connection, or leaves the thread's transaction
manager in another state, harms its own job alone.

Its failure could not be stored: the thread tried for minutes, and then left
the job claimed for ever.
"""

import threading

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.errors import SessionBroken
from lovely.remotetask.errors import TaskError
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.run import failing
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.task import FunctionTask

DEADLINE = 20


def abort_and_close(service):
    jar = service._p_jar
    jar.transaction_manager.abort()
    jar.close()


def commit_and_close(service):
    jar = service._p_jar
    jar.root()['committed'] = True
    jar.transaction_manager.commit()
    jar.close()


def close_untouched(service):
    service._p_jar.close()


def close_and_raise(service):
    abort_and_close(service)
    raise TaskError('of the task')


def close_and_open_again(service):
    database = service._p_jar.db()
    abort_and_close(service)
    database.open()         # the very same connection, from the pool


def close_and_let_others_open(service):
    database = service._p_jar.db()
    abort_and_close(service)
    opened = threading.Event()

    def use():
        manager = transaction.TransactionManager()
        database.open(manager)
        opened.set()

    threading.Thread(target=use).start()
    assert opened.wait(DEADLINE)


CLOSERS = [abort_and_close, commit_and_close, close_untouched,
           close_and_raise, close_and_open_again, close_and_let_others_open]


def leave_explicit(service):
    transaction.commit()
    transaction.manager.explicit = True


def leave_explicit_and_raise(service):
    transaction.manager.explicit = True
    raise TaskError('of the task')


def leave_another_manager(service):
    transaction.manager.manager = transaction.TransactionManager()


def leave_another_manager_and_raise(service):
    leave_another_manager(service)
    raise TaskError('of the task')


def leave_it_doomed(service):
    transaction.doom()


def leave_it_failed(service):
    class Refuses:
        transaction_manager = transaction.manager

        def sortKey(self):
            return ''

        def tpc_begin(self, current):
            raise ValueError('refused')

        def abort(self, current):
            pass

        commit = tpc_vote = tpc_finish = tpc_abort = abort

    transaction.get().join(Refuses())
    with pytest.raises(ValueError, match='refused'):
        transaction.commit()


LEAVERS = [leave_explicit, leave_explicit_and_raise, leave_another_manager,
           leave_another_manager_and_raise, leave_it_doomed, leave_it_failed]


@pytest.fixture
def start(application, monkeypatch):
    """Starts a processor in a thread of its own; the test fails soon."""
    monkeypatch.setattr(failing, 'STORE_TRIES', 3)
    threads = []

    def start():
        processor = SimpleProcessor(
            application.db, ['tasks'], waitTime=0.01)
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


@pytest.mark.parametrize('grouped', [False, True], ids=['alone', 'grouped'])
@pytest.mark.parametrize('harm', CLOSERS + LEAVERS)
def test_only_the_job_that_did_it_fails(
        service, register, start, wait_for, harm, grouped):
    def task(service, jobid, input):
        if input:
            harm(service)
        return 'done'

    register(FunctionTask(task, retry=NO_RETRY, groupable=grouped), 'task')
    jobs = [service.add('task', harms) for harms in (
        False, True, False, True, False)]
    transaction.commit()
    start()
    statuses = [wait_for(service, jobid, 'completed', 'error')
                for jobid in jobs]
    assert statuses[::2] == ['completed'] * 3
    # The manager alone is put back, and nothing is lost by it.
    kept = harm in (leave_explicit, leave_another_manager)
    assert statuses[1::2] == ['completed' if kept else 'error'] * 2
    for jobid in jobs:
        assert service.jobs[jobid].claim is None
    message = service.getError(jobs[1])
    if harm.__name__.endswith('raise'):
        assert message == 'of the task'
    elif harm in CLOSERS:
        assert 'has closed the connection' in message


@pytest.mark.parametrize('grouped', [False, True], ids=['alone', 'grouped'])
def test_a_task_cannot_close_the_database_of_its_worker(
        application, service, register, start, wait_for, grouped):
    """It ended the worker in order, and ran again in the next, for ever."""
    def task(service, jobid, input):
        if input:
            service._p_jar.db().close()

    register(FunctionTask(task, retry=NO_RETRY, groupable=grouped), 'task')
    jobs = [service.add('task', closes) for closes in (False, True, False)]
    transaction.commit()
    thread = start()
    assert [wait_for(service, jobid, 'completed', 'error')
            for jobid in jobs] == ['completed', 'error', 'completed']
    assert 'must not close the database' in service.getError(jobs[1])
    assert thread.running and thread.is_alive()
    # Who has opened it closes it, and the worker ends in order.
    transaction.abort()
    application.connection.close()
    file = application.db.storage.getName()
    application.db.close()
    assert not thread.running
    thread.join(DEADLINE)
    application.db = DB(FileStorage(file))
    application.connection = application.db.open()


@pytest.mark.parametrize('harm', CLOSERS)
def test_no_connection_of_another_thread_is_used_or_closed(
        application, service, register, harm):
    def task(service, jobid, input):
        harm(service)

    register(FunctionTask(task, retry=NO_RETRY), 'task')
    service.add('task')
    transaction.commit()
    SimpleProcessor(application.db, ['tasks']).processNext()
    # What is open now is the test's own, and what the task has opened.
    opened = [info for info in application.db.connectionDebugInfo()
              if info['opened']]
    assert len(opened) == 1 + harm.__name__.endswith(('again', 'open'))


@pytest.mark.parametrize('harm', [
    abort_and_close, commit_and_close, close_and_raise,
    close_and_open_again])
def test_direct_processing_says_that_the_connection_was_closed(
        application, service, register, harm):
    register(FunctionTask(
        lambda service, jobid, input: harm(service)), 'task')
    jobid = service.add('task')
    transaction.commit()
    again, _ = application.fresh(service)
    jar = again._p_jar
    manager = jar.transaction_manager
    with pytest.raises(SessionBroken, match='has closed the connection'):
        again.processNext()
    manager.abort()
    transaction.begin()
    # What the task has committed holds the claim, too; that one ends after
    # MANUAL_SECONDS.
    assert service.getStatus(jobid) == (
        'processing' if harm is commit_and_close else 'queued')
