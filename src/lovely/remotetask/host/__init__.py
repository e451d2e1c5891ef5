"""The one seam to the frameworks: which host a thread is in."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import TypeVar

from zope.component import getGlobalSiteManager

from lovely.remotetask.edge import db
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.host.paths import show
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.interfaces import IHost

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.service import TaskService

_T = TypeVar('_T')

#: Callables that give the host of the current thread (IHost), or None: for
#: frameworks whose registries zope.component does not know.
finders: list[Callable[[], IHost | None]] = []


def current() -> IHost:
    """The host of the calling thread.

    Cost: a look into a registry; each ``add`` asks.
    """
    for find in finders:
        host = find()
        if host is not None:
            return host
    return getGlobalSiteManager().queryUtility(IHost, default=PLAIN)


def visit(database: DB, path: Sequence[str], host: IHost,
          function: Callable[[TaskService], _T], writes: bool) -> _T:
    """Call ``function(service)`` in a transaction of its own, in its site.

    In its site, because the tasks of a service and the subscribers of its
    events may be registered only there.
    Arguments: ``database`` (ZODB.DB); ``path``, of the service; ``host``
    (IHost); ``writes``: True commits, and begins again after a conflict;
    False lets ``function`` see a snapshot, which is aborted.
    Returns: the result of ``function``.
    Raises: ServiceNotFound; the ConflictError of the last try; what
    ``function`` raises.
    """
    def in_transaction(connection: Connection) -> _T:
        service = host.find_service(connection, path)
        if service is None:
            raise ServiceNotFound(
                f'there is no service at {show(path)}')
        with host.running(service, None) as seen:
            return function(seen)

    result: _T = (db.write if writes else db.read)(database, in_transaction)
    return result
