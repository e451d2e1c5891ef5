"""Liveness where only this process can open the storage."""

from __future__ import annotations

import uuid
import weakref
from typing import Any

from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from zope.interface import implementer

from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import forgets_after_fork
from lovely.remotetask.peers.storages import innermost

KIND = 'exclusive'

# By storage, not by process: whoever opens the file again in this process is
# the next opener, too.
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _forget() -> None:
    # A child made by fork has another identity.
    _tokens.clear()


forgets_after_fork(_forget)


@implementer(ILiveness)
class ExclusiveStorage:
    """Nobody else has the storage open: other claims are dead.  See ILiveness

    ``available`` (bool): the storage is of that kind.  One that is not known
    here is taken for shared, which is always safe.
    """

    lost = False

    def __init__(self, database: Any) -> None:
        storage = innermost(database.storage)
        self.available = _is_exclusive(storage)
        # Weak: who holds a Liveness by its database must not keep that.
        self._storage = weakref.ref(storage) if self.available else None

    def announce(self) -> tuple[Any, ...]:
        """See ILiveness"""
        storage = None if self._storage is None else self._storage()
        if storage is None:
            return ()
        return (KIND, _tokens.setdefault(storage, uuid.uuid4().hex))

    def alive(self, evidence: Any, beat: Any) -> bool | None:
        """See ILiveness"""
        match evidence:
            case ('exclusive', str() as token):
                storage = None if self._storage is None else self._storage()
                # Also on a shared storage: its maker held it alone, so it is
                # gone, or this is a copy.
                return storage is not None and _tokens.get(storage) == token
        return None

    def close(self) -> None:
        """See ILiveness"""
        storage = None if self._storage is None else self._storage()
        if storage is not None:
            _tokens.pop(storage, None)


def _is_exclusive(storage: Any) -> bool:
    if isinstance(storage, FileStorage):
        # Opened to read only it takes no lock: a writer may be elsewhere.
        return not storage.isReadOnly()
    return isinstance(storage, MappingStorage)
