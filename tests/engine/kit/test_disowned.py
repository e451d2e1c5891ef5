"""ZODB disowns a cached record whose oid is given out a second time."""

import pytest
import transaction
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError

from lovely.remotetask.peers.storages import innermost


@pytest.fixture
def jobs(zeo, register):
    """A connection of an application, and two jobs in its cache."""
    register(lambda input: input, 'echo')
    ids = [zeo.add('echo'), zeo.add('echo', delay=3600),
           zeo.add('echo', startLater=True)]
    connection = zeo.db.open(transaction.TransactionManager())
    service = zeo.service(connection)
    yield service, [service.jobs[jobid] for jobid in ids]
    connection.transaction_manager.abort()
    connection.close()


def collide(job, act=lambda: None):
    """Add an object, which gets the oid of the job; the commit fails.

    This is what a server does that was started again.
    """
    connection = job._p_jar
    job._p_activate()
    act()
    innermost(connection.db().storage)._oids.append(job._p_oid)
    connection.add(PersistentMapping(mine=1))
    connection.root()['other'] = PersistentMapping()
    with pytest.raises(ValueError, match='same oid'):
        connection.transaction_manager.commit()
    connection.transaction_manager.abort()


VERBS = {
    'cancel': (0, lambda service, job: service.jobqueue.cancel(job)),
    'enqueue': (1, lambda service, job: service.jobqueue.enqueue(job)),
    'start': (0, lambda service, job: service.jobqueue.start(
        job, ('w', 0, 1), 1.0)),
    'shelved': (2, lambda service, job: service.jobqueue.enqueue(job)),
    'forget': (0, lambda service, job: service.jobqueue.forget(job)),
    'retry': (0, lambda service, job: service.jobqueue.retry(job, 1.0)),
    'claim': (0, lambda service, job: service.jobqueue._start_all(
        [(1, job)], ('w', 0, 1), iter([None]), 1.0)),
}


@pytest.mark.parametrize('name', VERBS)
def test_a_verb_refuses_a_disowned_job_and_the_next_try_succeeds(
        zeo, jobs, name):
    """Otherwise lanes are committed without their job, which is lost."""
    service, found = jobs
    number, verb = VERBS[name]
    jobid = found[number].id
    collide(found[number])
    assert service.jobs[jobid]._p_jar is None
    with pytest.raises(ConflictError, match='disowned a record of Job'):
        verb(service, service.jobs[jobid])
    service._p_jar.transaction_manager.abort()
    assert service.jobs[jobid]._p_jar is service._p_jar
    verb(service, service.jobs[jobid])
    service._p_jar.transaction_manager.abort()


def test_the_add_that_failed_leaves_no_disowned_job(zeo, jobs):
    service, (job, *_) = jobs
    jobid = job.id
    collide(job, act=lambda: service.add('echo'))
    assert service.jobs[jobid]._p_jar is service._p_jar
    service.cancel(jobid)
    service._p_jar.transaction_manager.commit()
    zeo.until(lambda service: service.getStatus(jobid) == 'cancelled')


def test_a_job_that_is_new_is_none(zeo, jobs):
    service, _ = jobs
    jobid = service.add('echo')
    service.cancel(jobid)
    assert service.getStatus(jobid) == 'cancelled'
