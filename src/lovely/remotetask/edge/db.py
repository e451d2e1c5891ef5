"""The transactions that we begin, and the connections for them.

There are two kinds.  ``read`` and ``write`` serve the engine itself: short
transactions on a private explicit manager; ``write`` repeats its own after a
conflict.  A ``Session`` serves the run of a task, on the thread's
``transaction.manager``, so that mail and SQL managers join it, and a commit
or abort in the task means what it says.  A run is repeated by the executor.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import transaction
from persistent import Persistent
from transaction.interfaces import NoTransaction
from transaction.interfaces import TransactionFailedError
from ZODB.POSException import ConflictError

from lovely.remotetask.edge.closing import closes
from lovely.remotetask.edge.losses import OidGivenTwice
from lovely.remotetask.edge.losses import empty_caches
from lovely.remotetask.edge.losses import is_of_storage
from lovely.remotetask.edge.losses import is_oid_given_twice
from lovely.remotetask.errors import SessionBroken

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

#: How often a short transaction of the engine is tried before it gives up,
#: and how long it pauses in between (seconds, the upper bound of the jitter).
CLAIM_TRIES = 20
_PAUSE_FIRST = 0.0005
_PAUSE_LAST = 0.05

_T = TypeVar('_T')

_jitter = random.SystemRandom()


# --- short transactions of the engine ----------------------------------------

@contextmanager
def _private(database: DB) -> Iterator[tuple[Connection, Any]]:
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = database.open(manager)
    try:
        yield connection, manager
    finally:
        with suppress(NoTransaction):
            manager.abort()
        connection.close()


def _commit(manager: Any, connection: Connection) -> None:
    """Commit.  Raises: OidGivenTwice, beside what a commit raises."""
    try:
        manager.commit()
    except ValueError as error:
        if not is_oid_given_twice(error):
            raise
        manager.abort()
        # The parents of the object that was disowned must load it anew.
        empty_caches(connection)
        raise OidGivenTwice(f'an oid was given out twice: {error}') from error


def read(database: DB, function: Callable[[Connection], _T]) -> _T:
    """Call ``function(connection)`` on a snapshot of its own.

    Returns: the result of ``function``.
    Txn: always aborted.
    """
    with _private(database) as (connection, _):
        return function(connection)


def write(database: DB, function: Callable[[Connection], _T],
          tries: int = CLAIM_TRIES, note: str = 'remotetask') -> _T:
    """Call ``function(connection)`` and commit; again after a conflict.

    Arguments: ``note``, what the undo log says of it.
    Returns: the result of ``function``.
    Raises: the ConflictError of the last of ``tries``; any other error at
    once: one about a lost connection has taken its time already.
    Txn: one of its own, repeated after a conflict: ``function`` must have no
    effects but on the connection.
    """
    with _private(database) as (connection, manager):
        attempt = 0
        while True:
            attempt += 1
            try:
                result = function(connection)
                # A nameless one cannot be told from the changes of people.
                manager.get().note(note)
                _commit(manager, connection)
                return result
            except ConflictError:
                with suppress(NoTransaction):
                    manager.abort()
                if attempt >= tries:
                    raise
            # Transactions that met must not meet again: full jitter, and a
            # bound that doubles.
            time.sleep(_jitter.uniform(
                0, min(_PAUSE_FIRST * 2 ** attempt, _PAUSE_LAST)))
            manager.begin()


def close(database: DB) -> None:
    """Close a database at the process's end, and those that it refers to.

    A queue may have a database of its own.  While a connection is open, as
    that of a job which still runs, only the storage is closed.
    """
    for one in list(database.databases.values()):
        # A host may have closed one of them already.
        if hasattr(one, 'storage'):
            _close(one)


def _close(database: DB) -> None:
    closes(database)
    if any(info['opened'] for info in database.connectionDebugInfo()):
        # The thread of that job still uses its connection: DB.close() would
        # close that too, and fails.  The process is about to end; other
        # processes wait for the storage's lock and its index only.
        database.storage.close()
    else:
        # Not database.close(): a host may have replaced that by a function
        # that calls this one.
        type(database).close(database)


def check_not_closed(jar: Connection | None, opened: float | None) -> None:
    """Raise SessionBroken if a task has closed the connection of its run.

    It may be open again, for another thread.
    Arguments: ``opened``, when it was opened for us (``jar.opened``).
    """
    if jar is not None and jar.opened != opened:
        raise SessionBroken(
            'the task has closed the connection that it was given, and its '
            'job cannot be stored with it: let the task open one of its own, '
            'and close that')


# --- a task's transaction ----------------------------------------------------

class Session:
    """One connection on the thread's transaction manager, for some runs."""

    def __init__(self, database: DB) -> None:
        self._database = database
        self.manager = transaction.manager
        # A task may leave them otherwise: see check.
        self._inner = getattr(self.manager, 'manager', None)
        self._explicit = self.manager.explicit
        self._guard = _Guard()
        self.manager.registerSynch(self._guard)
        self._open()

    def _open(self) -> None:
        self.connection = self._database.open(self.manager)
        # When it was opened; another moment or None: a task has closed it.
        self._opened = self.connection.opened
        # Was the connection brought up to date by the last commit?
        self._current = False

    def is_intact(self) -> bool:
        """Are connection and manager those that this session began with?"""
        return (self.connection.opened == self._opened
                and getattr(self.manager, 'manager', None) is self._inner
                and self.manager.explicit == self._explicit)

    def check(self) -> None:
        """Raise SessionBroken if what was done here cannot be committed.

        A connection that was closed may be in use by another thread.
        """
        if self.is_intact():
            return
        self._restore_manager()
        check_not_closed(self.connection, self._opened)

    def _restore_manager(self) -> None:
        if getattr(self.manager, 'manager', None) is not self._inner:
            # What has joined that one belongs to no job.
            self.abort()
            self.manager.manager = self._inner
        self.manager.explicit = self._explicit

    def _restore(self) -> None:
        self.abort()
        self._restore_manager()
        self.abort()
        if self.connection.opened != self._opened:
            self._open()

    def begin(self) -> None:
        """Begin a fresh transaction; an open one is aborted.

        A commit of ours has brought the connection up to date; to ask once
        more costs a query on RelStorage, and 11 us elsewhere.
        """
        if not self.is_intact():
            self._restore()
        if not self._current or not self._is_over():
            self.manager.begin()
        self._current = False

    def _is_over(self) -> bool:
        """Has no other transaction begun since the last one?"""
        manager = getattr(self.manager, 'manager', self.manager)
        # In explicit mode no transaction begins by itself.
        return (not manager.explicit
                and getattr(manager, '_txn', self) is None)

    def describe(self, user: str, note: str) -> None:
        """Say in the undo log whose transaction this is."""
        running = self.manager.get()
        if user:
            # Not setUser(), which puts a path before the name: the text of a
            # host holds its own.
            running.user = user
        running.note(note)

    def read_current(self, obj: Persistent) -> None:
        """Let the current transaction conflict if this object has changed.

        This holds for a transaction that the connection has not joined, too:
        a task may commit to other databases only.
        """
        # Not our connection: the queue may have a database of its own.
        jar = obj._p_jar
        join = getattr(jar, '_register', None)
        if join is not None:
            join()
        jar.readCurrent(obj)

    def is_alone(self) -> bool:
        """Has our connection alone joined the transaction?

        Or those that it has to other databases of the application.
        """
        joined = getattr(self.manager.get(), '_resources', None)
        return joined is not None and all(
            manager is self.connection
            or manager in self.connection.connections.values()
            for manager in joined)

    def is_untouched(self) -> bool:
        """Has no data manager joined the transaction?"""
        return not getattr(self.manager.get(), '_resources', True)

    def guard(self, check: Callable[[], None] | None) -> None:
        """Call ``check()`` before every commit of this thread from now on.

        This includes transactions that a task begins: it may end the one of
        its run and begin others, as often as it likes.
        Arguments: ``check``; None: from now on commits pass.
        """
        self._guard.check = check

    def commit(self) -> None:
        _commit(self.manager, self.connection)
        self._current = True

    def abort(self) -> None:
        with suppress(NoTransaction):
            self.manager.abort()

    def is_of_storage(self, error: BaseException) -> bool:
        """Has the storage failed, and not the code that used it?

        Txn: aborted by the caller before.
        """
        if self.connection.opened != self._opened:
            return False        # the task has closed it
        if is_oid_given_twice(error):
            # See _commit: this was one of the task, or a savepoint.
            empty_caches(self.connection)
        elif isinstance(error, TransactionFailedError):
            # A commit of the task had failed.  Objects that were changed after
            # that are in no transaction, so the abort has not reset them.
            empty_caches(self.connection)
        return is_of_storage(error, self.connection)

    def close(self) -> None:
        self._restore_manager()
        with suppress(KeyError):
            self.manager.unregisterSynch(self._guard)
        # First the abort: a connection that has joined cannot be closed.
        self.abort()
        # One that the task has closed may be in use by another thread.
        if self.connection.opened == self._opened:
            self.connection.close()


class _Guard:
    """A synchronizer that checks each commit of a transaction manager.

    At ``beforeCompletion`` and not by hooks: ``newTransaction`` is not called
    for a transaction that ``get()`` makes, and a hook is used up by the first
    commit that it refuses.
    """

    check: Callable[[], None] | None = None

    def newTransaction(self, current: Any) -> None:
        """See transaction.interfaces.ISynchronizer"""

    afterCompletion = newTransaction

    def beforeCompletion(self, current: Any) -> None:
        """See transaction.interfaces.ISynchronizer"""
        if self.check is None or current.status != 'Active':
            return
        try:
            self.check()
        except Exception as error:
            # Not raised here: an abort calls this method, too, and must not
            # fail.
            current.join(_Refusal(error))


class _Refusal:
    """A data manager that refuses to commit; it lets everything abort."""

    transaction_manager = None

    def __init__(self, error: Exception) -> None:
        self._error = error

    def sortKey(self) -> str:
        return ''       # first: before any data manager has begun

    def tpc_begin(self, current: Any) -> None:
        raise self._error

    def abort(self, current: Any) -> None:
        pass

    commit = tpc_vote = tpc_finish = tpc_abort = abort

    def savepoint(self) -> _Refusal:
        return self

    def rollback(self) -> None:
        pass


@contextmanager
def session(database: DB) -> Iterator[Session]:
    """A fresh transaction of this thread, with a connection that takes part.

    Txn: the caller commits; a transaction that is not committed is aborted.
    """
    transaction.begin()
    opened = Session(database)
    try:
        yield opened
    finally:
        opened.close()


def begin() -> None:
    """Begin a transaction of this thread, for a publisher that ends it."""
    transaction.begin()


@contextmanager
def snapshot(database: DB) -> Iterator[Connection]:
    """A connection that leaves the thread's transaction alone.

    For start-ups, which run in a transaction of their host.
    Txn: always aborted.
    """
    with _private(database) as (connection, _):
        yield connection
