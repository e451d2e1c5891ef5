"""The private parts of other packages that ours uses.

They are no promise of theirs: a new release may lack one.  Then a test here
fails with a sentence, before an application does without one.  The hosts'
parts are for the hosts' own tests to look at.
"""

import threading
import time

import pytest
import transaction
import ZEO
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from transaction import TransactionManager
from ZODB.blob import BlobStorage
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from ZODB.mvccadapter import MVCCAdapterInstance
from ZODB.utils import p64
from ZODB.utils import u64
from ZODB.utils import z64
from zope.security import management

PARTS = []


def part(seen, breaks):
    """A check of one part.

    Arguments: ``seen``, the newest release that has it; ``breaks``, what of
    ours breaks without it, and where.
    """
    def note(check):
        PARTS.append(pytest.param(check, seen, breaks, id=check.__name__))
        return check

    return note


@pytest.fixture
def database():
    database = DB(MappingStorage())
    yield database
    database.close()


@pytest.mark.parametrize('check, seen, breaks', PARTS)
def test_is_still_there(check, seen, breaks, request):
    """See PARTS; the arguments of a check are fixtures."""
    names = check.__code__.co_varnames[:check.__code__.co_argcount]
    given = {name: request.getfixturevalue(name) for name in names}
    try:
        check(**given)
    except Exception as error:
        pytest.fail(f'{check.__doc__} (as in {seen}) does not hold any more: '
                    f'{error!r}.  {breaks}')


# --- transaction -------------------------------------------------------------

@part('transaction 5.1',
      'edge/db: a failing job cannot tell which data managers have no '
      'savepoint, nor a group whether a task has joined others; edge/caller: '
      'a key that was kept is not protected against a run meanwhile.')
def resources(database):
    """Transaction._resources holds the data managers that have joined"""
    connection = database.open(TransactionManager())
    running = connection.transaction_manager.begin()
    assert list(running._resources) == []
    connection.root()['changed'] = 1
    assert list(running._resources) == [connection]
    connection.transaction_manager.abort()
    connection.close()


@part('transaction 5.1',
      'edge/db: a run begins a transaction more than it needs, or one too '
      'few: then it works on the snapshot of the job before it.')
def txn():
    """TransactionManager._txn is None when no transaction is open, and the
    thread's manager is at transaction.manager.manager"""
    manager = transaction.manager.manager
    assert isinstance(manager, TransactionManager)
    transaction.abort()
    assert manager._txn is None
    running = transaction.get()
    assert manager._txn is running
    transaction.abort()


@part('transaction 5.1',
      'edge/db: a failed run is not rolled back in a transaction that the '
      'task has committed in vain.')
def commit_failed():
    """The status of a transaction whose commit failed is 'Commit failed'"""
    class Fails:
        transaction_manager = None

        def sortKey(self):
            return ''

        def abort(self, running):
            pass

        commit = tpc_begin = tpc_finish = tpc_abort = abort

        def tpc_vote(self, running):
            raise ValueError

    manager = TransactionManager()
    running = manager.begin()
    running.join(Fails())
    with pytest.raises(ValueError):
        manager.commit()
    assert running.status == 'Commit failed'
    manager.abort()


# --- ZODB --------------------------------------------------------------------

@part('ZODB 6.4',
      'edge/db, edge/caller: readCurrent() is forgotten in a transaction that '
      'writes to other databases only, and a retired run can commit there.')
def register(database):
    """Connection._register() joins the transaction and registers nothing"""
    connection = database.open(TransactionManager())
    running = connection.transaction_manager.begin()
    connection._register()
    assert list(running._resources) == [connection]
    assert list(connection._registered_objects) == []
    connection.transaction_manager.abort()
    connection.close()


@part('ZODB 6.4',
      'peers/wakeup/invalidations: workers of other processes find new jobs '
      'only when they look, after waitTime; a warning says so.')
def instances(database):
    """DB._mvcc_storage informs all of its _instances, holding its _lock, by
    _invalidate(tid, oids), and by _invalidateCache() after an outage"""
    told = []

    class Hook(MVCCAdapterInstance):
        def _invalidate(self, tid, oids):
            told.append((type(tid), set(oids)))

        def _invalidateCache(self):
            told.append('all')

    adapter = database._mvcc_storage
    hook = Hook(adapter)
    with adapter._lock:
        adapter._instances.add(hook)
    with database.transaction() as connection:
        connection.root()['changed'] = 1
        oid = connection.root()._p_oid
    assert told == [(bytes, {oid})]
    adapter.invalidateCache()
    assert told[1:] == ['all']
    assert adapter._storage is database.storage


@part('ZODB 6.4',
      'peers/storages: with blobs beside it no storage is recognised: neither '
      'PostgreSQL, for wake-up and liveness, nor that of one process alone.')
def blob_storage(tmp_path):
    """BlobStorage keeps the storage that it wraps at __storage"""
    inner = MappingStorage()
    wrapper = BlobStorage(str(tmp_path / 'blobs'), inner)
    assert wrapper._BlobStorage__storage is inner
    wrapper.close()


@part('ZODB 6.4',
      'payload: an input that is new in another database than that of the '
      'queue is refused at the commit only, far from the call.')
def implicitly_adding(database):
    """Connection._implicitlyAdding(oid) says whether an object is stored
    because another one refers to it"""
    connection = database.open(TransactionManager())
    connection.transaction_manager.begin()
    by_reference, added = IOBTree(), IOBTree()
    connection.add(added)
    connection.root()['a'], connection.root()['b'] = by_reference, added
    connection.transaction_manager.savepoint()
    assert connection._implicitlyAdding(by_reference._p_oid)
    assert not connection._implicitlyAdding(added._p_oid)
    connection.transaction_manager.abort()
    connection.close()


@part('ZODB 6.4',
      'edge/db: the end of a process closes the connection of a job that '
      'still runs.')
def debug_info(database):
    """DB.connectionDebugInfo() says of each connection whether it is opened"""
    connection = database.open()
    found, = database.connectionDebugInfo()
    assert found['opened']
    connection.close()
    found, = database.connectionDebugInfo()
    assert not found['opened']


# --- BTrees ------------------------------------------------------------------

@part('BTrees 6.5',
      'store/blocks: no block can be made, so no job can be added.')
def bucket_type():
    """A tree makes its buckets by _bucket_type"""
    for kind in (IOBTree, OOBTree):
        tree = kind({1: 1})
        assert type(tree._firstbucket) is tree._bucket_type


# --- zope.security -----------------------------------------------------------

@part('zope.security 8.4',
      'host: direct processing in a request loses the interaction of the '
      'request, or the job runs in it.')
def interaction():
    """zope.security.management.thread_local.interaction is that of the
    thread, and can be put aside"""
    local = management.thread_local
    assert isinstance(local, threading.local)
    management.newInteraction()
    try:
        mine = management.queryInteraction()
        assert local.interaction is mine
        local.interaction = None
        assert management.queryInteraction() is None
        local.interaction = mine
    finally:
        management.endInteraction()


@part('ZODB 6.4',
      'peers/forks: a child made by fork talks to PostgreSQL through the '
      'connections of its parent.')
def pool_of_connections(database):
    """DB.pool has the connections, those that are free with a moment each"""
    before = time.time()
    connection = database.open(TransactionManager())
    assert before <= connection.opened <= time.time()
    assert connection in set(database.pool.all)
    connection.close()
    (moment, free), = database.pool.available
    assert free is connection and before <= moment <= time.time()


# --- ZEO and RelStorage ------------------------------------------------------

@part('ZEO 6.2',
      'peers/wakeup/invalidations: after a wake-up on ZEO a claim loads its '
      'objects one by one, and starts later by a fifth.')
def prefetch(tmp_path):
    """ClientStorage.prefetch(oids, tid) loads several objects at once, and
    is_connected() says whether it can"""
    address, stop = ZEO.server(str(tmp_path / 'Data.fs'))
    try:
        database = ZEO.DB(address)
        storage = database._mvcc_storage._storage
        assert storage.is_connected() is True
        storage.prefetch([z64], p64(u64(storage.lastTransaction()) + 1))
        database.close()
        assert storage.is_connected() is False
    finally:
        stop()


@part('ZEO 6.2',
      'peers/oids: a client goes on with oids that a restarted server gives '
      'to others.  peers/forks: a child made by fork waits for ever for the '
      'thread of a database that was opened before.')
def client_parts(tmp_path):
    """ClientStorage._oids is a list of the oids to come, and
    ClientStorage._server.thread the thread that talks to the server"""
    address, stop = ZEO.server(str(tmp_path / 'Data.fs'))
    try:
        storage = ZEO.client(address)
        oid = storage.new_oid()
        assert isinstance(storage._oids, list) and storage._oids
        assert oid not in storage._oids
        assert storage._server.thread.is_alive()
        for name in ('notify_connected', 'notify_disconnected'):
            assert callable(getattr(storage, name))
        storage.close()
    finally:
        stop()


@part('RelStorage 4.3.0',
      'edge/losses: a session of the server that ends amid a commit counts '
      'as a failure of the task.')
def disconnected(postgresql):
    """RelStorage._adapter.driver.disconnected_exceptions are the errors of
    a session that has ended"""
    options = Options(keep_history=False)
    storage = RelStorage(
        PostgreSQLAdapter(postgresql, options), options=options)
    session, cursor = storage._adapter.connmanager.open()
    cursor.execute('SELECT pg_backend_pid()')
    pid, = cursor.fetchone()
    other, asks = storage._adapter.connmanager.open()
    asks.execute(f'SELECT pg_terminate_backend({pid}, 5000)')
    other.close()
    with pytest.raises(storage._adapter.driver.disconnected_exceptions):
        cursor.execute('SELECT 1')
    session.close()
    storage.close()


@part('RelStorage 4.3.0',
      'peers/postgres: on PostgreSQL no notification wakes workers, and no '
      'lock tells which of them live.')
def adapter(postgresql):
    """RelStorage._adapter is of relstorage.adapters.postgresql, and its
    connmanager opens a session by open(application_name=...)"""
    options = Options(keep_history=False)
    storage = RelStorage(
        PostgreSQLAdapter(postgresql, options), options=options)
    adapter = storage._adapter
    assert any(cls.__module__.startswith('relstorage.adapters.postgresql')
               for cls in type(adapter).__mro__)
    connection, cursor = adapter.connmanager.open(application_name='ours')
    connection.autocommit = True
    cursor.execute('SHOW application_name')
    assert cursor.fetchone() == ('ours',)
    connection.close()
    storage.close()
