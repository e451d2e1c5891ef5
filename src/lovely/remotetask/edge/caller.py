"""What we ask of the transaction that the caller has begun.

It belongs to the caller: nothing here begins, commits or aborts it, but
``renew``, which is for one in which nothing has been done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from transaction.interfaces import NoTransaction

from lovely.remotetask.edge.losses import empty_caches
from lovely.remotetask.edge.losses import is_oid_given_twice

if TYPE_CHECKING:
    from persistent import Persistent
    from ZODB.Connection import Connection

_T = TypeVar('_T')


def jar_of(obj: Any) -> Connection | None:
    """The ZODB connection of an object, or of what it is located in.

    Returns: the connection, or None.  An object that was added in this
    transaction has none of its own yet.
    """
    while obj is not None:
        jar: Connection | None = getattr(obj, '_p_jar', None)
        if jar is not None:
            return jar
        obj = getattr(obj, '__parent__', None)
    return None


def current(jar: Connection | None) -> Any:
    """The transaction that a connection takes part in, or None."""
    if jar is None:
        return None
    try:
        return jar.transaction_manager.get()
    except NoTransaction:
        return None


def is_doomed(jar: Connection | None) -> bool:
    """Can the current transaction only be aborted: ``transaction.doom()``?"""
    running = current(jar)
    return running is not None and bool(running.isDoomed())


def is_untouched(jar: Connection) -> bool:
    """Has the current transaction nothing to commit, and nothing to call?

    One that was doomed has: that must not be forgotten.
    """
    running = current(jar)
    return running is None or not (
        running._resources or running.isDoomed()
        or [*running.getBeforeCommitHooks(), *running.getAfterCommitHooks()])


def renew(jar: Connection) -> None:
    """Begin the caller's transaction anew: it sees what others committed.

    The caller has made sure that it is untouched.
    """
    manager = jar.transaction_manager
    # In explicit mode, begin() refuses to end the old one.
    with suppress(NoTransaction):
        manager.abort()
    manager.begin()


#: The key under which a transaction keeps the calls it has been asked for.
_ASKED = object()


def _asked(running: Any) -> dict[Any, list[Any]]:
    try:
        found: dict[Any, list[Any]] = running.data(_ASKED)
    except KeyError:
        found = {}
        running.set_data(_ASKED, found)
    return found


def after_commit(jar: Connection | None, function: Callable[..., None],
                 *arguments: Any) -> None:
    """Call ``function(*arguments)`` once the current transaction commits.

    Equal calls are made once per transaction: 1,000 adds need one.
    ``function`` must not touch the database: the transaction is over.
    """
    running = current(jar)
    if running is None:
        return
    asked, key = _asked(running), (function, *arguments)
    if key not in asked:
        asked[key] = []
        running.addAfterCommitHook(_if_committed, (jar, *key))


def _if_committed(success: bool, jar: Connection,
                  function: Callable[..., None], *arguments: Any) -> None:
    if success:
        function(*arguments)
    elif is_oid_given_twice(sys.exception()):
        # Before a next transaction works on a job that was disowned.
        empty_caches(jar)


def before_commit(jar: Connection | None, function: Callable[[_T], None],
                  *items: _T) -> None:
    """Call ``function(item)`` when the current transaction begins to commit.

    One hook per transaction and function, however many items.
    """
    running = current(jar)
    if running is None:
        return
    asked = _asked(running)
    if function not in asked:
        asked[function] = []
        running.addBeforeCommitHook(_each, (function, asked[function]))
    asked[function].extend(items)


def _each(function: Callable[[_T], None], items: list[_T]) -> None:
    for item in items:
        function(item)


def read_current(jar: Connection | None, obj: Persistent) -> None:
    """Let the current transaction conflict if this object changes meanwhile.

    A transaction that writes nothing is not checked: it has nothing to lose.
    """
    if obj._p_jar is not None and obj._p_jar is jar:
        before_commit(jar, _read_current, obj)


def _read_current(obj: Persistent) -> None:
    jar = obj._p_jar
    running = current(jar)
    # The object may have been added in this transaction, and its connection
    # have left that again when a savepoint was rolled back.
    if running is None or not running._resources:
        return
    # Other data managers may have joined, and this connection not.
    jar._register()
    jar.readCurrent(obj)
