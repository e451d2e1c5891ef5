"""Transactions of a thread beside the one that its caller has begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import transaction

from lovely.remotetask.edge.caller import current

if TYPE_CHECKING:
    from ZODB.Connection import Connection


@contextmanager
def aside() -> Iterator[None]:
    """Within the block, this thread's transactions are others.

    ``transaction.manager`` is as in a new thread; afterwards the caller goes
    on with the transaction that it had.  A commit may call us: to begin
    another transaction on its manager would break it.
    """
    # The manager of a thread is an attribute of a thread-local.
    manager = transaction.manager
    before = manager.manager
    manager.manager = transaction.TransactionManager()
    try:
        yield
    finally:
        manager.abort()
        manager.manager = before


def has_joined(jar: Connection) -> bool:
    """Has anything joined the transaction that a connection takes part in?"""
    return bool(getattr(current(jar), '_resources', False))


def refresh(jar: Connection) -> None:
    """Let a connection, and those to its other databases, see what is new.

    The connections must not have changed anything.
    Txn: the caller's goes on.
    """
    for one in list(jar.connections.values()):
        # What it does itself when a transaction begins.
        one.newTransaction(None)
