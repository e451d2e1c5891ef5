"""What lies under a database: storages inside of other storages."""

from __future__ import annotations

from typing import Any

from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage


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
