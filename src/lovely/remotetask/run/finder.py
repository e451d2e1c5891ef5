"""Finds the service whose jobs are run, also where it was moved meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import TypeVar

from ZODB.POSException import POSKeyError

from lovely.remotetask.edge import db
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.host.paths import home_of
from lovely.remotetask.host.paths import show
from lovely.remotetask.store.records import is_damaged

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

_T = TypeVar('_T')


class ServiceGone(RuntimeFault):
    """There is no service at the path a worker was given."""


class Finder:
    """Finds one service, in any connection.

    Arguments: ``database`` (ZODB.DB); ``path`` (sequence of str), where the
    service is; ``host`` (IHost).
    Attributes: ``home``, the service's own database; ``oid``, of the service,
    once a worker has enrolled there.
    """

    def __init__(self, database: DB, path: Sequence[str], host: IHost) -> None:
        self.database = database
        self.home = home_of(database, path, host)
        self.path = path
        self.oid: bytes | None = None
        self.host = host

    def service(self, connection: Connection) -> TaskService:
        """The service, through this connection; raises ServiceGone."""
        service = self.host.find_service(connection, self.path)
        if service is None:
            raise ServiceGone(f'there is no service at {show(self.path)}')
        return service

    def write(self, function: Callable[[TaskService], _T], note: str, *,
              moved: bool = False) -> _T:
        """Call ``function(service)`` in a short transaction of its own.

        Arguments: ``note``, what the undo log says of it; ``moved``: find it
        also where another path leads to it now.
        """
        find = self.by_oid if moved else self.service
        return db.write(self.database, lambda connection: function(
            find(connection)), note=note)

    def by_oid(self, connection: Connection) -> TaskService:
        """The service, wherever it is now; raises ServiceGone."""
        if self.oid is None:
            return self.service(connection)
        home = connection.get_connection(self.home.database_name)
        try:
            found: TaskService = home.get(self.oid)
        except POSKeyError as error:
            raise ServiceGone('the service was deleted') from error
        return found


def cure(error: Exception, path: Sequence[str]) -> str:
    """What helps a service with this error, as the end of a message."""
    return (f'. A record of service {show(path)} is lost or damaged, and ZODB '
            f'has logged which: run remotetask check --repair, and restore '
            f'from a backup what that cannot mend'
            if is_damaged(error) else '')
