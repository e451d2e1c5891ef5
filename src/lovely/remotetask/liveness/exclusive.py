"""Liveness where only this process can open the storage."""

from __future__ import annotations

import uuid
import weakref
from typing import Any

from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from zope.interface import implementer

from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.liveness.forks import forgets_after_fork

KIND = 'exclusive'

# By storage, not by process: whoever opens the file again in this process is
# the next opener, too.
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _forget() -> None:
    # A child made by fork has another identity.
    _tokens.clear()


forgets_after_fork(_forget)


def innermost(storage: Any) -> Any:
    """The storage that data is written to, without what is around it."""
    seen = set()
    while id(storage) not in seen:
        seen.add(id(storage))
        if isinstance(storage, DemoStorage):
            # What nobody else sees written, nobody else can claim; who has
            # its base open does not matter.
            storage = storage.changes
        elif isinstance(storage, BlobStorage):
            storage = getattr(storage, '_BlobStorage__storage', storage)
        else:
            # Compression and encryption (zc.zlibstorage and its kin).
            storage = getattr(storage, 'base', storage)
    return storage


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
