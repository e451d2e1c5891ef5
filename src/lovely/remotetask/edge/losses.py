"""Tells errors of the storage from those of the code that uses it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from ZODB import Connection as connections
from ZODB import POSException
from ZODB.POSException import ConflictError
from ZODB.POSException import ReadOnlyError
from ZODB.POSException import StorageError
from ZODB.POSException import TransactionTooLargeError
from ZODB.utils import z64

from lovely.remotetask.errors import NewerRecord

if TYPE_CHECKING:
    from persistent import Persistent
    from ZODB.Connection import Connection

#: What the first look at a record raises that cannot be read: an object whose
#: class is gone has no attributes.  No error of a storage that does not
#: answer: that is not the fault of one record.
UNREADABLE: tuple[type[Exception], ...] = (
    AttributeError, NewerRecord, POSException.POSKeyError,
    pickle.UnpicklingError, EOFError,
    # ZODB 6.0 raises what reading a record has raised, later ones wrap it.
    getattr(POSException, 'StateLoadError', NewerRecord))


class OidGivenTwice(ConflictError):
    """A new object got an oid that another object has.

    A ZEO server that was started again gives out anew those that its clients
    hold for objects which they have not stored yet; the next try takes others.
    """


def is_of_storage(error: BaseException, jar: Connection | None) -> bool:
    """Has the storage failed, and not the code that used it?

    A server that goes away, or fails amid a commit, and an oid that a server
    has given out twice: whether a commit is through is unknown, and the next
    try may succeed.  Not the errors that a retry meets again: that the
    storage is read-only, or the transaction too large.
    Arguments: ``jar``, a connection to the storage.
    """
    if isinstance(error, ReadOnlyError | TransactionTooLargeError):
        return False
    return ((isinstance(error, (StorageError, *_disconnected(jar)))
             or is_oid_given_twice(error))
            and _has_passed_zodb(error))


def is_oid_given_twice(error: BaseException | None) -> bool:
    """Does the cache of a connection have no room for a new object?"""
    # ZODB has no class for it.  It disowns the object that had the oid before:
    # the connection's cache has to be emptied then (cacheMinimize), or changes
    # of that object would not be stored.
    return isinstance(error, ValueError) and 'same oid' in str(error)


def empty_caches(jar: Connection) -> None:
    """Let all objects be loaded anew, also those of other databases."""
    for one in list(jar.connections.values()):
        one.cacheMinimize()


def _disconnected(jar: Connection | None) -> tuple[type[Exception], ...]:
    """The errors by which the driver of a RelStorage says that it is cut off.
    """
    found: list[type[Exception]] = []
    for one in () if jar is None else jar.connections.values():
        adapter = getattr(getattr(one, '_storage', None), '_adapter', None)
        driver = getattr(adapter, 'driver', None)
        found += getattr(driver, 'disconnected_exceptions', ())
    return tuple(found)


def _has_passed_zodb(error: BaseException) -> bool:
    # A task may use the same driver for a database of its own.
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals is vars(connections):
            return True
        step = step.tb_next
    return False


def refuse_disowned(obj: Persistent, parent: Persistent) -> None:
    """Refuse a record that ZODB has disowned: changes would not be stored.

    Arguments: ``obj``, whose connection is not that of ``parent``.
    Raises: OidGivenTwice; the next try loads the record anew.
    """
    jar = parent._p_jar
    new = (obj._p_jar is None and obj._p_serial == z64
           and obj._p_changed is not None)
    if jar is None or new:
        return
    empty_caches(jar)
    raise OidGivenTwice(
        f'ZODB has disowned a record of {type(obj).__name__}: its oid was '
        f'given out twice')
