"""The database edge: the only module that opens, begins, commits, retries.

Two kinds of transactions meet here.  The machinery's own are short, run on a
private explicit manager and are retried alone.  A task's transaction uses the
thread's ``transaction.manager``, so that mail and SQL managers join it and the
task's own commit or abort mean what they say.
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
from ZODB.POSException import ConflictError

from lovely.remotetask.edge.caller import current
from lovely.remotetask.errors import RollbackImpossible

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

#: How often a short machinery transaction is tried before it gives up, and
#: how long it pauses in between (seconds, the upper bound of the jitter).
CLAIM_TRIES = 20
_PAUSE_FIRST = 0.0005
_PAUSE_LAST = 0.05

_T = TypeVar('_T')

_jitter = random.SystemRandom()


# --- short transactions of the machinery -----------------------------------

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


def read(database: DB, function: Callable[[Connection], _T]) -> _T:
    """Call ``function(connection)`` on a snapshot of its own.

    Returns: what it returned.
    Txn: aborted always.
    """
    with _private(database) as (connection, _):
        return function(connection)


def write(database: DB, function: Callable[[Connection], _T],
          tries: int = CLAIM_TRIES) -> _T:
    """Call ``function(connection)`` and commit; again after a conflict.

    Returns: what it returned.
    Raises: the ConflictError of the last of ``tries``; at once what is no
    conflict, such as a lost connection: that takes its own time.
    Txn: one of its own, retried alone: ``function`` must have no other
    effects than on the connection.
    """
    with _private(database) as (connection, manager):
        attempt = 0
        while True:
            attempt += 1
            try:
                result = function(connection)
                manager.commit()
                return result
            except ConflictError:
                manager.abort()
                if attempt >= tries:
                    raise
            # Those that met must not meet again: full jitter, doubling.
            time.sleep(_jitter.uniform(
                0, min(_PAUSE_FIRST * 2 ** attempt, _PAUSE_LAST)))
            manager.begin()


def close(database: DB) -> None:
    """Close a database, also under a job that outlived its grace."""
    if any(info['opened'] for info in database.connectionDebugInfo()):
        # That job's thread uses its connection still: DB.close() would take
        # it away under its hands, and fails.  The process is about to end;
        # what others wait for is the storage's lock and its index.
        database.storage.close()
    else:
        # Not an instance's own: a host may have put this one there.
        type(database).close(database)


# --- a task's transaction ----------------------------------------------------

class Session:
    """One connection on the thread's transaction manager, for some runs."""

    def __init__(self, database: DB) -> None:
        self.manager = transaction.manager
        self.connection = database.open(self.manager)
        self._guard = _Guard()
        self.manager.registerSynch(self._guard)
        # Has the connection been brought up to date a moment ago?
        self._current = False

    def begin(self) -> None:
        """A fresh transaction; whatever was left of another is aborted.

        The end of a commit has shown the connection what is new; asking once
        more costs a query on RelStorage, and 11 us elsewhere.
        """
        if not self._current or not self._is_over():
            self.manager.begin()
        self._current = False

    def _is_over(self) -> bool:
        """Has nobody begun another transaction since the last one?"""
        manager = getattr(self.manager, 'manager', self.manager)
        # In explicit mode nothing begins by itself.
        return (not manager.explicit
                and getattr(manager, '_txn', self) is None)

    def describe(self, user: str, note: str) -> None:
        """Say in the undo log whose transaction this is."""
        running = self.manager.get()
        if user:
            # Not setUser(), which puts a path before it: a host's text has
            # its own.
            running.user = user
        running.note(note)

    def read_current(self, obj: Persistent) -> None:
        """Let the current transaction conflict if this object has changed.

        Also one in which the connection has no part yet: a task may commit
        to other databases only.
        """
        join = getattr(self.connection, '_register', None)
        if join is not None:
            join()
        self.connection.readCurrent(obj)

    def is_alone(self) -> bool:
        """Has nothing but our connection joined the transaction?"""
        joined = getattr(self.manager.get(), '_resources', None)
        return joined is not None and all(
            manager is self.connection for manager in joined)

    def is_untouched(self) -> bool:
        """Has nobody joined the transaction?  Then there is nothing to undo.
        """
        return not getattr(self.manager.get(), '_resources', True)

    def guard(self, check: Callable[[], None] | None) -> None:
        """Call ``check()`` before every commit of this thread from now on.

        Also of transactions that somebody else begins: a task may end its
        own, as often as it likes.
        Arguments: ``check``; None: from now on commits pass.
        """
        self._guard.check = check

    def commit(self) -> None:
        self.manager.commit()
        self._current = True

    def abort(self) -> None:
        with suppress(NoTransaction):
            self.manager.abort()

    def close(self) -> None:
        with suppress(KeyError):
            self.manager.unregisterSynch(self._guard)
        # First the abort: a connection that has joined cannot be closed.
        self.abort()
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
            # An abort comes by here, too, and must not be disturbed.
            current.join(_Refusal(error))


class _Refusal:
    """A data manager that refuses to commit; it lets everything abort."""

    transaction_manager = None

    def __init__(self, error: Exception) -> None:
        self._error = error

    def sortKey(self) -> str:
        return ''       # before anybody has done anything

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

    Txn: whoever uses it commits; what is not committed is aborted.
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

    For start-ups that run in somebody else's transaction.
    Txn: aborted always.
    """
    with _private(database) as (connection, _):
        yield connection


# --- inside the caller's transaction -----------------------------------------

# transaction.interfaces names the statuses only in prose.
_COMMIT_FAILED = 'Commit failed'


class Savepoint:
    """Can undo what the caller's transaction does from here on.

    Arguments: ``jar``, a connection; None: nothing can be undone.
    """

    def __init__(self, jar: Connection | None) -> None:
        self._manager = None if jar is None else jar.transaction_manager
        self._transaction = current(jar)
        if self._transaction is None:
            return
        # Asked before, because a failed rollback would break the caller's
        # whole transaction ("Commit failed").
        self._stubborn = [
            manager for manager in self._transaction._resources
            if not hasattr(manager, 'savepoint')]
        self._savepoint = self._transaction.savepoint(optimistic=True)

    def rollback(self) -> None:
        """Undo it.

        A transaction that the task has ended by itself is not ours to roll
        back: what it committed stays, the rest is aborted.
        Raises: RollbackImpossible, naming the manager that has no savepoint.
        """
        if self._manager is None or self._transaction is None:
            return
        if not self.ended() and self._savepoint.valid:
            if self._stubborn:
                raise RollbackImpossible(
                    f'the task failed, and {self._stubborn[0]!r}, which had '
                    f'joined the transaction before, has no savepoints: '
                    f'abort the transaction, or let a processor run the job')
            self._savepoint.rollback()
            return
        # In explicit mode the task may have left no transaction at all.
        with suppress(NoTransaction):
            self._manager.abort()
        if self._manager.explicit:
            self._manager.begin()

    def ended(self) -> bool:
        """Has somebody ended the transaction, well or badly?"""
        if self._manager is None:
            return False
        try:
            now = self._manager.get()
        except NoTransaction:
            return True
        return (now is not self._transaction
                or now.status == _COMMIT_FAILED)
