"""A service that ``importFile`` of a connection brings: no event tells of it.
"""

import copy as copying
import io

import pytest
import transaction
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask.service import make_service


def export(service):
    file = service._p_jar.exportFile(service._p_oid, io.BytesIO())
    file.seek(0)
    return file


@pytest.fixture
def jobs(service, ran, clock):
    """A job of each status: status -> id."""
    jobs = {'completed': service.add('note', 'done')}
    service.process()
    jobs |= {'processing': service.add('note', 'running')}
    assert service.claimNextJob() == jobs['processing']
    jobs |= {'queued': service.add('note', 'waiting'),
             'delayed': service.add('note', delay=600),
             'start later': service.add('note', startLater=True),
             'cronjob': service.addCronJob('note', minute=(0,))}
    transaction.commit()
    return jobs


@pytest.fixture(params=['here', 'another'])
def imported(request, service, jobs):
    """``imported()``: the copy as a new connection of its database sees it."""
    file = export(service)
    database = (DB(MappingStorage()) if request.param == 'another'
                else service._p_jar.db())
    connection = database.open()
    if request.param == 'another':
        # Else its objects could get the oids that those of the original have.
        for number in range(50):
            connection.root()[number] = PersistentMapping()
        transaction.commit()
    copy = connection.root()['copy'] = connection.importFile(file)
    copy.__name__ = 'copy'
    transaction.commit()
    connection.close()
    opened = []

    def imported():
        for connection in opened:
            connection.close()
        transaction.begin()
        connection = database.open()
        connection.cacheMinimize()
        opened[:] = [connection]
        return connection.root()['copy']

    yield imported
    transaction.abort()
    opened[0].close()
    if request.param == 'another':
        database.close()


def statuses(service, jobs):
    return {status: service.getStatus(jobid) for status, jobid in jobs.items()}


def test_it_runs_nothing_by_itself(imported, service, jobs, ran):
    copy = imported()
    assert copy.stats()['paused']
    assert not copy.processNext() and copy.claimNextJob() is None
    assert ran == ['done']
    # What is written meanwhile does not make it forget where it comes from.
    copy.add('note', 'its own')
    copy.pause()
    copy.jobqueue._p_changed = True
    transaction.commit()
    assert imported().stats()['paused']
    assert not service.stats()['paused']


def test_its_jobs_are_cancelled_when_it_is_resumed(
        imported, service, jobs, ran, caplog):
    imported().resume()
    transaction.commit()
    copy = imported()
    assert statuses(copy, jobs) == {
        status: 'completed' if status == 'completed' else 'cancelled'
        for status in jobs}
    assert 'service /copy is an import: 5 jobs' in caplog.text
    assert copy.jobs[jobs['queued']].error.type == 'copied'
    assert copy.stats()['workers'] == 0 and not copy.stats()['paused']
    # It is a service like any other, and the original is what it was.
    jobid = copy.add('note', 'its own')
    copy.pause()
    copy.resume()
    copy.process()
    assert copy.getStatus(jobid) == 'completed'
    assert ran == ['done', 'its own']
    service._p_jar.sync()
    assert statuses(service, jobs) == {status: status for status in jobs}


def test_its_jobs_are_kept_where_its_administrator_says_so(
        imported, jobs, ran):
    imported().resume(keepJobs=True)
    transaction.commit()
    copy = imported()
    assert not copy.stats()['paused'] and copy.stats()['workers'] == 0
    # What ran has no worker here, and is run again.
    assert statuses(copy, jobs) == {
        status: 'queued' if status == 'processing' else status
        for status in jobs}
    copy.process()
    assert sorted(ran) == ['done', 'running', 'waiting']


def test_a_resume_that_is_undone_leaves_it_an_import(imported, jobs):
    copy = imported()
    copy.resume()
    transaction.abort()
    copy = imported()
    assert copy.stats()['paused']
    assert copy.getStatus(jobs['queued']) == 'queued'


@pytest.mark.parametrize('keeps', [False, True])
def test_a_copy_in_memory_is_one_too(application, service, jobs, ran, keeps):
    """As zope.copy and deepcopy make it, of a database that is the same."""
    transaction.begin()
    copy = copying.deepcopy(service, {id(service.__parent__): None})
    assert copy.stats()['paused'] and not service.stats()['paused']
    application.root['copy'] = copy
    transaction.commit()
    application.connection.cacheMinimize()
    copy.process()
    assert ran == ['done']
    assert statuses(copy, jobs) == statuses(service, jobs)
    copy.resume(keepJobs=keeps)
    transaction.commit()
    application.connection.cacheMinimize()
    jobid = copy.add('note', 'its own')
    copy.process()
    assert sorted(ran) == sorted(['done', 'its own'] + [
        'running', 'waiting'] * keeps)
    assert copy.getStatus(jobid) == 'completed'
    assert statuses(service, jobs) == {status: status for status in jobs}


def test_a_database_that_is_copied_whole_has_no_imports(
        application, service, ran, tmp_path):
    """As a backup is, or zodbconvert does it: oids stay."""
    jobid = service.add('note')
    transaction.commit()
    copied = FileStorage(str(tmp_path / 'Copied.fs'))
    copied.copyTransactionsFrom(application.db.storage)
    database = DB(copied)
    try:
        with database.transaction() as connection:
            service = connection.root()['Application']['tasks']
            service.process()
            assert service.getStatus(jobid) == 'completed'
    finally:
        database.close()


def test_a_service_that_gets_another_oid_before_its_commit_is_no_import(
        application, ran):
    """A savepoint has given one to it, and its transaction was aborted."""
    service = make_service(application.root, 'new')
    transaction.savepoint()
    first = service.jobqueue._p_oid
    transaction.abort()
    application.root['other'] = PersistentMapping()
    application.root['new'] = service
    transaction.commit()
    assert service.jobqueue._p_oid != first
    application.connection.cacheMinimize()
    jobid = service.add('note')
    service.process()
    assert service.getStatus(jobid) == 'completed'
