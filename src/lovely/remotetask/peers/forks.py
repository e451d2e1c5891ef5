"""What a child made by fork must not share with its parent.

The child has copies of its parent's locks and open connections.  It must not
count as the parent, and must not end what the parent still uses; and it can
not use its parent's databases: the thread of a ZEO client is missing in it,
and on PostgreSQL both would talk through one socket.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.peers.storages import innermost

#: The object that a function belongs to, and the function; None: the object
#: is the function.
_Entry = tuple['weakref.ref[Any]', Callable[[Any], None] | None]

_entries: list[_Entry] = []


def call_after_fork(function: Callable[[], None]) -> None:
    """Call a function in each child that ``os.fork`` makes from now on.

    Arguments: ``function``, without arguments: one of a module, or a bound
    method.  The object of a bound method is held weakly: its call ends with
    it.
    """
    # No WeakMethod: its callback is torn down before its object when an
    # interpreter ends, and then it writes an error to stderr.
    owner = getattr(function, '__self__', function)
    method = getattr(function, '__func__', None)

    def remove(reference: weakref.ref[Any]) -> None:
        # Otherwise the list would grow with each database that is opened.
        # The entry is missing in a child that was forked right here.
        with suppress(ValueError):
            _entries.remove((reference, method))

    _entries.append((weakref.ref(owner, remove), method))


class OpenedBeforeFork(ConfigurationError):
    """A database was opened before this process was forked."""


_pid = os.getpid()
# When this process was made by fork (seconds since 1970), and by which (pid).
_forked: tuple[float, int] | None = None
# The databases that this process has opened itself.
_own: weakref.WeakSet[DB] = weakref.WeakSet()


def check_opened_here(database: DB) -> None:
    """Refuse a database that was opened before this process was forked.

    Raises: OpenedBeforeFork.
    Cost: a comparison, in a process that no fork has made.
    """
    if _forked is None or database in _own:
        return
    since, parent = _forked
    if _is_shared(database, parent) and _opened_before(database, since):
        raise OpenedBeforeFork(
            f'the database {database.database_name!r} was opened before this '
            f'process ({os.getpid()}) was forked, and two processes cannot '
            f'share it: open it after the fork; a server that loads the '
            f'application first (gunicorn --preload) must not open it then')
    _own.add(database)


def _is_shared(database: DB, parent: int) -> bool:
    storage = innermost(database.storage)
    if isinstance(storage, FileStorage):
        # A daemon forks and leaves the file to its child.
        return os.getppid() == parent
    return not isinstance(storage, MappingStorage)


def _opened_before(database: DB, since: float) -> bool:
    # The thread of a ZEO client, which a fork does not copy.
    client = getattr(innermost(database.storage), '_server', None)
    thread = getattr(client, 'thread', None)
    if thread is not None and hasattr(thread, 'is_alive'):
        return not thread.is_alive()
    # DB() itself opens a connection, and puts it into the pool.
    pool = getattr(database, 'pool', None)
    moments = [moment for moment, _ in getattr(pool, 'available', ())]
    moments += [connection.opened for connection in getattr(pool, 'all', ())
                if connection.opened]
    return any(moment < since for moment in moments)


def _in_child() -> None:
    global _forked, _pid
    # Not os.getppid(): the parent may have ended already.
    _forked = SYSTEM_CLOCK.now(), _pid
    _pid = os.getpid()
    _own.clear()
    for reference, method in list(_entries):
        owner = reference()
        if owner is None:
            continue
        if method is None:
            owner()
        else:
            method(owner)


os.register_at_fork(after_in_child=_in_child)
