"""Inside the caller's transaction: what a task does there can be undone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from transaction.interfaces import NoTransaction

from lovely.remotetask.edge.caller import current
from lovely.remotetask.errors import RollbackImpossible

if TYPE_CHECKING:
    from ZODB.Connection import Connection

# transaction.interfaces names the statuses only in prose.
_COMMIT_FAILED = 'Commit failed'


class Savepoint:
    """Undoes what the caller's transaction does after this was made.

    Arguments: ``jar``, a connection; None: ``rollback`` undoes nothing.
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

        Where the task has ended that transaction, what it has committed
        stays, and the open one is aborted.
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
        """Has the transaction ended, well or badly?"""
        if self._manager is None:
            return False
        try:
            now = self._manager.get()
        except NoTransaction:
            return True
        return (now is not self._transaction
                or now.status == _COMMIT_FAILED)
