"""Finds the storage that data is written to, below those that wrap it."""

from __future__ import annotations

from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.interfaces import IStorage


def innermost(storage: IStorage) -> IStorage:
    """The storage that data is written to.

    Arguments: ``storage``, of a database: it may add blobs, compression,
    encryption or a demo's changes to another one.
    Returns: the storage at the bottom; ``storage`` itself if it wraps none.
    """
    seen = set()
    while id(storage) not in seen:
        seen.add(id(storage))
        if isinstance(storage, DemoStorage):
            # Other processes cannot see what is written here, so they cannot
            # claim it: which of them have the base open does not matter.
            storage = storage.changes
        elif isinstance(storage, BlobStorage):
            storage = getattr(storage, '_BlobStorage__storage', storage)
        else:
            # Compression and encryption (zc.zlibstorage and its kin).
            storage = getattr(storage, 'base', storage)
    return storage
