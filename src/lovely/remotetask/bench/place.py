"""The database under test, and the benchmark's own corner of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.FileStorage import FileStorage

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.edge import db
from lovely.remotetask.host import visit
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.peers import liveness
from lovely.remotetask.service import make_service

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.service import TaskService

#: All that the benchmark stores is below this name of the root.
NAME = 'remotetask-bench'

# So many jobs are added in a transaction where a queue is filled.
_BATCH = 1000


class Raw(Persistent):
    """The small object whose change is the raw commit of a storage."""

    def __init__(self) -> None:
        self.value = 0


class Stopped(BaseException):
    """The benchmark was told to stop.

    No Exception: no part of a measure may take it for a failure and go on.
    """


class Stop:
    """Tells the thread that measures to stop.

    An interrupt must not be raised wherever that thread happens to be: in
    the midst of a commit, or of the clean-up after one, it would break the
    database that is to be left as it was.  So the thread asks, between its
    transactions and in its pauses.
    """

    def __init__(self) -> None:
        self._told = threading.Event()

    def set(self) -> None:
        self._told.set()

    def check(self) -> None:
        """Raise Stopped after ``set``."""
        if self._told.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait so long; raise Stopped after ``set``, also meanwhile."""
        if self._told.wait(seconds):
            raise Stopped


class Place:
    """A database, and a folder in it that is gone afterwards.

    Arguments: ``opener``, opens the database; ``uri``, by which another
    process opens it; ``stop``, asked before each transaction.
    Attributes: ``database``; ``kind`` (str), as people call its storage;
    ``shared`` (bool), whether several processes can have it open; ``file``,
    the path of a FileStorage, or None.
    Raises: Failure where the folder is there already.
    """

    def __init__(self, opener: Callable[[], Any], uri: str,
                 stop: Stop | None = None) -> None:
        self.uri = uri
        self.opener = opener
        self.stop = stop or Stop()
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
        """Close the database; all that is stored in it stays."""
        liveness.for_database(self.database).close()
        self.database.close()

    def remove(self) -> None:
        """Remove the folder, with all that is in it; after ``close``."""
        def remove(connection: Connection) -> None:
            connection.root().pop(NAME, None)

        # Opened anew: after a commit that has failed halfway a storage may
        # refuse everything (a FileStorage closes itself).
        database = self.opener()
        try:
            db.write(database, remove)
        finally:
            liveness.for_database(database).close()
            database.close()

    def service(self, name: str) -> list[str]:
        """Make a new service.  Returns: its path."""
        def make(connection: Connection) -> None:
            make_service(connection.root()[NAME], name)

        self.stop.check()
        db.write(self.database, make)
        return [NAME, name]

    def fill(self, path: list[str], count: int, task: str = 'noop') -> None:
        """Add so many jobs, many in a transaction."""
        for start in range(0, count, _BATCH):
            self.do(path, partial(
                add_many, task=task,
                inputs=[None] * min(_BATCH, count - start)))

    def do(self, path: list[str], function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` and commit."""
        self.stop.check()
        return visit(self.database, path, PLAIN, function, writes=True)

    def see(self, path: list[str], function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` on a snapshot of its own."""
        self.stop.check()
        return visit(self.database, path, PLAIN, function, writes=False)


def _make(connection: Connection) -> None:
    root = connection.root()
    if NAME in root:
        raise Failure(
            f'the root of this database holds {NAME!r} already: another '
            f'benchmark runs there, or was killed',
            'wait for it, or delete that name from the root, or use another '
            'database')
    folder: PersistentMapping[str, Any] = PersistentMapping()
    root[NAME] = folder
    folder['raw'] = Raw()


def _kind(storage: Any) -> str:
    name = type(storage).__name__
    if name == 'RelStorage':
        adapter = type(getattr(storage, '_adapter', None)).__name__
        return adapter.removesuffix('Adapter')
    return {'ClientStorage': 'ZEO'}.get(name, name)


def service_of(connection: Connection, path: list[str]) -> Any:
    """The object at a path from the root."""
    found = connection.root()
    for name in path:
        found = found[name]
    return found


def add_many(service: TaskService, task: str, inputs: list[Any]) -> None:
    """Add jobs in the current transaction."""
    service.addMany(task, inputs)


class Client:
    """A connection as an application has it: open, one commit per call."""

    def __init__(self, place: Place, path: list[str]) -> None:
        self._path = path
        self._stop = place.stop
        self._manager = transaction.TransactionManager(explicit=True)
        self.connection = place.database.open(self._manager)
        self.conflicts = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def do(self, function: Callable[[Any], Any]) -> Any:
        """Call ``function(service)`` and commit; again after a conflict."""
        while True:
            self._stop.check()
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
        self._stop.check()
        self._manager.begin()
        try:
            return function(service_of(self.connection, self._path))
        finally:
            self._manager.abort()

    def raw(self) -> None:
        """The raw commit: one small object changes."""
        self._stop.check()
        self._manager.begin()
        self.connection.root()[NAME]['raw'].value += 1
        self._manager.commit()
