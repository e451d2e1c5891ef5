"""Makes, finds and starts the services that an application has declared."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge import db
from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.run.sigterm import end_first
from lovely.remotetask.run.startup import starts_services
from lovely.remotetask.service import TaskService
from lovely.remotetask.service import make_service
from lovely.remotetask.service.loops import set_threads

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.pyramid.host import PyramidHost


@dataclass(frozen=True)
class Declared:
    """The declaration of a service.

    Arguments: ``name``, of the declaration; ``path``, the names that lead to
    the service from the root of the database; ``factory``, makes it;
    ``autostart``, whether a thread of each process runs its jobs;
    ``threads``, how many it runs at once; None: as the factory or the
    database says.
    """

    name: str
    path: tuple[str, ...]
    factory: Callable[[], TaskService]
    autostart: bool
    threads: int | None = None

    def prepare(self, connection: Connection) -> None:
        """Have the service as it is declared; it is made where missing.

        Raises: ConfigurationError.
        Txn: the caller's.
        """
        service = self.find(connection)
        if self.threads is not None:
            set_threads(service, self.threads)
        elif self.factory is not TaskService:
            self._compare(service, self.factory())

    def _compare(self, there: TaskService, fresh: TaskService) -> None:
        for name in ('processorFactory', 'processorArguments'):
            stored, made = getattr(there, name), getattr(fresh, name)
            if stored != made:
                log.warning(
                    'service %r keeps the %s of the database, %r: its factory '
                    'gives %r, and counts for a new service only; set it on '
                    'the stored one, or declare threads=N', self.name, name,
                    stored, made)

    def find(self, connection: Connection) -> TaskService:
        """The service (ITaskService); it is made where missing.

        Raises: ConfigurationError.
        Txn: the caller's.
        """
        container = connection.root()
        *names, last = self.path
        for name in names:
            container = _member(container, name)
            if container is None:
                raise ConfigurationError(
                    f'the task service {self.name!r} is to be at '
                    f'{self._shown()}, and the database has no {name!r} '
                    f'there: make that first, or correct the path')
        service = _member(container, last)
        if service is None:
            service = make_service(container, last, self.factory)
        if not ITaskService.providedBy(service):
            raise ConfigurationError(
                f'the task service {self.name!r} is to be at '
                f'{self._shown()}, and there is a {type(service).__name__}: '
                f'correct the path')
        return service

    def _shown(self) -> str:
        return show(self.path)


def _member(container: Any, name: str) -> Any:
    try:
        return container[name]
    except KeyError:
        return None


def task_service(request: Any, name: str = '') -> TaskService:
    """A declared service, in the request's connection and transaction.

    Returns: ITaskService.
    Raises: ConfigurationError for one that is not declared.
    Cost: a look into the root of the database.
    """
    host = request.registry.getUtility(IHost)
    declared = host.services.get(name)
    if declared is None:
        names = ', '.join(map(repr, sorted(host.services))) or 'none'
        raise ConfigurationError(
            f'no task service is declared by the name {name!r} (there are: '
            f'{names}); call config.add_task_service({name!r})')
    return declared.find(host.connection(request))


def default_service(request: Any) -> TaskService:
    """``request.remotetask``: the service that is declared without a name."""
    return task_service(request)


# --- when the application has been made --------------------------------------

def application_created(event: Any) -> None:
    """Make the declared services, and start those with ``autostart``.

    Txn: short ones of its own.
    """
    host = event.app.registry.getUtility(IHost)
    if not host.services:
        return
    database = host.database()

    def prepare_all(connection: Connection) -> None:
        # The root factory is where applications make their own root.
        with host.prepared(connection):
            for declared in host.services.values():
                declared.prepare(connection)

    db.write(database, prepare_all)
    chosen = [declared for declared in host.services.values()
              if declared.autostart]
    starts = bool(chosen) and starts_services()
    if starts:
        _start(host, database, chosen)
    # Pyramid has no event for the end, and pserve is killed by SIGTERM.  At
    # Ctrl-C the exit handlers are called.  Also where nothing is started now:
    # a request may call startProcessing() later, in a thread that can install
    # no handler.
    end_first(signal.SIGTERM, signal.SIG_DFL, SystemExit, always=starts)


def _start(host: PyramidHost, database: DB, chosen: list[Declared]) -> None:
    with (db.snapshot(database) as connection,
          host.prepared(connection)):
        for declared in chosen:
            declared.find(connection).startProcessing()
            log.info('service %r started', declared.name)
