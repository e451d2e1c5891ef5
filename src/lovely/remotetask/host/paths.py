"""The path to a service, and what a service is in."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from zope.component.interfaces import ISite

from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService


def parents(obj: Any) -> Iterator[Any]:
    """The object and all it is located in, innermost first."""
    seen = set()
    # An application may by mistake have located an object in itself; without
    # this we would look for ever.
    while obj is not None and id(obj) not in seen:
        seen.add(id(obj))
        yield obj
        obj = getattr(obj, '__parent__', None)


def site_of(service: TaskService) -> Any:
    """The site that a service is in, or None."""
    return next((obj for obj in parents(service) if ISite.providedBy(obj)),
                None)


def show(path: Iterable[str]) -> str:
    """A path for people."""
    return '/' + '/'.join(path)


class ServicePath(list):  # type: ignore[type-arg]
    """The path to a service: a list of names, with its oid and its host.

    Processor factories of applications get a list, as in 0.5.2.  The oid
    tells apart two applications of one database with equal paths; the host
    (IHost) is the one by which a processor runs the jobs.
    Arguments: ``within``, the service and all that it is in, innermost first.
    Attributes: ``home``, the database of the service, and ``database``, the
    one where the path begins (ZODB.DB): a queue may have one of its own, which
    is mounted, or referred to by another one; None: unknown.
    """

    def __init__(self, names: Iterable[str], oid: bytes | None = None,
                 host: IHost | None = None, within: Iterable[Any] = ()
                 ) -> None:
        super().__init__(names)
        self.oid = oid
        self.host = host
        # Under which name of the database's root it was found last.
        self.root: str | None = None
        jars = [jar for obj in within
                if (jar := getattr(obj, '_p_jar', None)) is not None]
        self.home: DB | None = jars[0].db() if jars else None
        self.database: DB | None = jars[-1].db() if jars else None


def home_of(database: DB, path: Sequence[str], host: IHost) -> DB:
    """The database that a service is in.

    Arguments: ``database``, in which the path begins: that one, where none of
    the others has the service (yet).
    """
    home: DB | None = getattr(path, 'home', None)
    if home is None and len(database.databases) > 1:
        def find(connection: Connection) -> DB | None:
            jar = caller.jar_of(host.find_service(connection, path))
            return None if jar is None else jar.db()

        # A database that does not answer yet: the processor tells of it.
        with suppress(Exception):
            home = db.read(database, find)
    return home or database
