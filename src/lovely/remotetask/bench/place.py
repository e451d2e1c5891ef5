"""The database under test, and the benchmark's own corner of it."""

import os
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.Connection import Connection
from ZODB.FileStorage import FileStorage

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.edge import db
from lovely.remotetask.peers import liveness
from lovely.remotetask.service import TaskService

#: Everything the benchmark stores is below this name of the root.
NAME = 'remotetask-bench'

#: Jobs per transaction where a queue is filled.
BATCH = 1000


class Raw(Persistent):
    """The small object whose change is the raw commit of a storage."""

    def __init__(self) -> None:
        self.value = 0


class Place:
    """A database, and a folder in it that is gone afterwards.

    Arguments: ``opener``, opens the database; ``uri``, by which another
    process opens it.
    Attributes: ``database``; ``kind`` (str), as people call its storage;
    ``shared`` (bool), whether several processes can have it open; ``file``,
    the path of a FileStorage, or None.
    Raises: Failure where the folder is there already.
    """

    def __init__(self, opener: Callable[[], Any], uri: str) -> None:
        self.uri = uri
        self.opener = opener
        self.database = opener()
        storage = self.database.storage
        self.kind = _kind(storage)
        self.shared = liveness.for_database(self.database).needs_beat
        self.file = (storage.getName() if isinstance(storage, FileStorage)
                     else None)
        try:
            db.write(self.database, _make)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database; what is stored in it stays."""
        liveness.for_database(self.database).close()
        self.database.close()

    def remove(self) -> None:
        """Remove the folder, with all that is in it; after ``close``."""
        def remove(connection: Any) -> None:
            connection.root().pop(NAME, None)

        # Opened anew: an interrupt in the midst of a commit leaves a storage
        # that can do nothing more (a FileStorage closes itself).
        database = self.opener()
        try:
            db.write(database, remove)
        finally:
            liveness.for_database(database).close()
            database.close()

    @property
    def reachable(self) -> bool:
        """Can another process have it, if need be instead of this one?"""
        return self.shared or self.file is not None

    @contextmanager
    def given_away(self) -> Iterator[None]:
        """Let another process have the database meanwhile."""
        if self.shared:
            yield
            return
        self.close()
        try:
            yield
        finally:
            self.database = self.opener()

    def service(self, name: str) -> list[str]:
        """Make a new service.  Returns: its path."""
        def make(connection: Any) -> None:
            folder = connection.root()[NAME]
            service: Any = TaskService()
            folder[name] = service
            service.__parent__ = folder
            service.__name__ = name

        db.write(self.database, make)
        return [NAME, name]

    def fill(self, path: list[str], count: int, task: str = 'noop') -> None:
        """Add so many jobs, many in a transaction."""
        for start in range(0, count, BATCH):
            self.do(path, partial(
                add_many, task=task,
                inputs=[None] * min(BATCH, count - start)))

    def do(self, path: list[str], function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` and commit."""
        return db.write(self.database, lambda connection: function(
            service_of(connection, path)))

    def see(self, path: list[str], function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` on a snapshot of its own."""
        return db.read(self.database, lambda connection: function(
            service_of(connection, path)))

    def size(self) -> int | None:
        """The bytes of the database's file; None where there is none."""
        return None if self.file is None else os.path.getsize(self.file)


def _make(connection: Any) -> None:
    root = connection.root()
    if NAME in root:
        raise Failure(
            f'the root of this database holds {NAME!r} already: another '
            f'benchmark runs there, or was killed',
            'wait for it, or delete that name from the root, or use another '
            'database')
    folder = root[NAME] = PersistentMapping()
    folder['raw'] = Raw()


def _kind(storage: Any) -> str:
    name = type(storage).__name__
    if name == 'RelStorage':
        adapter = type(getattr(storage, '_adapter', None)).__name__
        return adapter.removesuffix('Adapter')
    return {'ClientStorage': 'ZEO'}.get(name, name)


def service_of(connection: Any, path: list[str]) -> Any:
    found = connection.root()
    for name in path:
        found = found[name]
    return found


def add_many(service: Any, task: str, inputs: list[Any]) -> None:
    """Add jobs in the current transaction."""
    service.addMany(task, inputs)


class Client:
    """A connection as an application has it: open, one commit per call."""

    def __init__(self, place: Place, path: list[str]) -> None:
        self._path = path
        self._manager = transaction.TransactionManager(explicit=True)
        self.connection = place.database.open(self._manager)
        self.conflicts = 0

    def __enter__(self) -> 'Client':
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def do(self, function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` and commit; again after a conflict."""
        while True:
            self._manager.begin()
            try:
                result = function(service_of(self.connection, self._path))
                self._manager.commit()
                return result
            except TransientError:
                self.conflicts += 1
                self._manager.abort()
            except BaseException:
                self._manager.abort()
                raise

    def see(self, function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` on a fresh snapshot."""
        self._manager.begin()
        try:
            return function(service_of(self.connection, self._path))
        finally:
            self._manager.abort()

    def raw(self) -> None:
        """The raw commit: one small object changes."""
        self._manager.begin()
        self.connection.root()[NAME]['raw'].value += 1
        self._manager.commit()


class Commits:
    """Counts the transactions that this process stores, on any storage.

    At the connections, because each storage does it in its own way; one that
    has nothing to store stores no transaction.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> 'Commits':
        self._before = finish = Connection.tpc_finish

        def tpc_finish(connection: Any, current: Any) -> Any:
            if connection._modified or connection._creating:
                with self._lock:
                    self.count += 1
            return finish(connection, current)

        Connection.tpc_finish = tpc_finish
        return self

    def __exit__(self, *error: object) -> None:
        Connection.tpc_finish = self._before
