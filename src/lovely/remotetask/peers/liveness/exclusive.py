"""Liveness where only one process at a time can open the storage."""

from __future__ import annotations

import uuid
import weakref

from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IStorage
from ZODB.MappingStorage import MappingStorage
from zope.interface import implementer

from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.peers.storages import innermost

KIND = 'exclusive'

# By storage and not by process: a process that closes the file and opens it
# again is the next opener, too.
_tokens: weakref.WeakKeyDictionary[IStorage, str] = (
    weakref.WeakKeyDictionary())

# A child made by fork has another identity.
call_after_fork(_tokens.clear)


@implementer(ILiveness)
class ExclusiveStorage:
    """Alive if announced for the storage that is open here.  See ILiveness

    No other process has it open, so what anything else announced is dead.
    Arguments: ``database`` (ZODB.DB).
    Attributes: ``available`` (bool): the storage is of that kind.  An unknown
    storage counts as shared, which is always safe.
    """

    lost = False

    def __init__(self, database: DB) -> None:
        storage = innermost(database.storage)
        self.available = _is_exclusive(storage)
        # Weak: a Liveness is found by its database, and must not keep it.
        self._ref = weakref.ref(storage) if self.available else None

    def _storage(self) -> IStorage | None:
        return None if self._ref is None else self._ref()

    def announce(self) -> tuple[object, ...]:
        """See ILiveness"""
        storage = self._storage()
        if storage is None:
            return ()
        return (KIND, _tokens.setdefault(storage, uuid.uuid4().hex))

    def alive(self, evidence: object, beat: object) -> bool | None:
        """See ILiveness"""
        match evidence:
            case ('exclusive', str() as token):
                storage = self._storage()
                # False on a shared storage, too: the process that announced
                # it had the storage alone, so it is gone, or this is a copy.
                return storage is not None and _tokens.get(storage) == token
        return None

    def close(self) -> None:
        """See ILiveness"""
        storage = self._storage()
        if storage is not None:
            _tokens.pop(storage, None)


def _is_exclusive(storage: IStorage) -> bool:
    if isinstance(storage, FileStorage):
        # Opened to read only it takes no lock: a writer may be elsewhere.
        return not storage.isReadOnly()
    return isinstance(storage, MappingStorage)
