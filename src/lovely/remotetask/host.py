"""The one seam to the frameworks, and the plain host behind it.

zope.security and zope.publisher are no dependencies; where they are
installed, a job runs in an interaction of its own, as in 0.5.2.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from zope.component import getGlobalSiteManager
from zope.component import getSiteManager
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.interface import implementer

from lovely.remotetask import default_service
from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITaskService

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# An application asks "am I in a job?" by isinstance(participation,
# ProcessorRequest) and registers multi-adapters for it, so it is a request
# where there are requests.
try:
    from zope.publisher.base import BaseRequest
except ImportError:
    BaseRequest = None

_T = TypeVar('_T')

#: The name of the application of Zope and the ZTK in the database's root.
APPLICATION = 'Application'

#: The name of a site's site manager in a path.
SITE_MANAGER = '++etc++site'


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


def runs_as(job: Job | None) -> str | None:
    """The submitter as whom a job runs (IHost); None: with all rights."""
    submitter = None if job is None else job.submitter
    return None if submitter == SYSTEM else submitter


def _step(obj: Any, name: str) -> Any:
    """The object that a name of a path leads to, or None."""
    if name == SITE_MANAGER:
        # A site does not contain its site manager.
        return obj.getSiteManager() if ISite.providedBy(obj) else None
    try:
        return obj[name]
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def _walk(obj: Any, path: Sequence[str]) -> TaskService | None:
    for name in path:
        if obj is None:
            return None
        obj = _step(obj, name)
    return obj if ITaskService.providedBy(obj) else None


def _current_registry() -> Any:
    """The component registry of the current site, or the global one."""
    manager = getSiteManager()
    # Without zope.component's hooks (zope.component.hooks.setHooks) it does
    # not follow the current site.
    if manager is getGlobalSiteManager():
        site = getSite()
        if site is not None:
            manager = site.getSiteManager()
    return manager


@implementer(IHost)
class PlainHost:
    """See IHost"""

    def roots(self, connection: Connection) -> Iterator[Any]:
        """See IHost"""
        root = connection.root()
        if APPLICATION in root:
            yield root[APPLICATION]
        yield root
        for name in sorted(root, key=str):
            if name != APPLICATION:
                yield root[name]

    def find_service(self, connection: Connection, path: Sequence[str]
                     ) -> TaskService | None:
        """See IHost"""
        oid = getattr(path, 'oid', None)
        name = getattr(path, 'root', None)
        if name is not None:
            # Each transaction of a worker comes by here: a look at all names
            # of a large root would cost it 10 ms.
            service = _walk(connection.root().get(name), path)
            if service is not None and service._p_oid == oid:
                return service
        first = None
        for root in self.roots(connection):
            service = _walk(root, path)
            if service is None:
                continue
            if oid is None or service._p_oid == oid:
                if oid is not None:
                    path.root = next((  # type: ignore[attr-defined]
                        name for name, value in connection.root().items()
                        if value is root), None)
                return service
            # Either another application of this database has a service at an
            # equal path, or ours was replaced by a new one.
            first = first or service
        return first

    def path_of(self, service: TaskService) -> ServicePath:
        """See IHost"""
        within = list(parents(service))
        names = [obj.__name__ for obj in within
                 if getattr(obj, '__name__', None)]
        return ServicePath(reversed(names), getattr(service, '_p_oid', None),
                           self, within)

    def tasks(self, service: TaskService, interface: Any) -> dict[str, Any]:
        """See IHost"""
        return dict(self.registry(service).getUtilitiesFor(interface))

    def task(self, service: TaskService, interface: Any, name: str) -> Any:
        """See IHost"""
        return self.registry(service).queryUtility(interface, name)

    def registry(self, service: TaskService) -> Any:
        """The component registry that knows the tasks of a service."""
        return _current_registry()

    def default_service(self) -> TaskService:
        """See IHost"""
        return default_service.of_registry(_current_registry())

    @contextmanager
    def running(self, service: TaskService, job: Job | None
                ) -> Iterator[TaskService]:
        """See IHost"""
        if job is not None and runs_as(job) is not None:
            raise WrongWorker(
                f'job {job.id} is to run as {job.submitter!r}, and this '
                f'worker knows no principals: run the job by a worker of the '
                f'host that it was added in')
        with interaction(), in_site(site_of(service)):
            yield service

    def submitter(self) -> str | None:
        """See IHost"""
        return None

    def permits(self, service: TaskService, permission: str) -> bool:
        """See IHost"""
        return True

    def pack(self, value: Any) -> Any:
        """See IHost"""
        return value

    def unpack(self, service: TaskService, value: Any) -> Any:
        """See IHost"""
        return value

    def cannot_heal(self, error: BaseException) -> bool:
        """See IHost"""
        return False

    def product_configuration(self, name: str) -> Any:
        """See IHost"""
        product = _module('zope.app.appsetup.product')
        return (None if product is None
                else product.getProductConfiguration(name))


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


def _module(name: str) -> Any:
    """An optional module; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


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
                f'there is no service at /{"/".join(path)}')
        with host.running(service, None) as seen:
            return function(seen)

    result: _T = (db.write if writes else db.read)(database, in_transaction)
    return result


@contextmanager
def in_site(site: Any) -> Iterator[None]:
    """Make a site, or None, the current one as long as the block runs."""
    before = getSite()
    setSite(site)
    try:
        yield
    finally:
        setSite(before)


class _Participation:
    """A participation where zope.publisher is not installed."""

    interaction = None
    principal = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def setPrincipal(self, principal: Any) -> None:
        """See zope.publisher.interfaces.IPublicationRequest"""
        self.principal = principal


if BaseRequest is None:
    ProcessorRequest: Any = type(
        'ProcessorRequest', (_Participation,),
        {'__doc__': 'The participation in which a job runs.',
         '__module__': __name__})
else:
    class ProcessorRequest(BaseRequest):  # type: ignore[no-redef]
        """The participation in which a job runs: a request of nobody's."""

        def __init__(self, *args: Any) -> None:
            super().__init__(None, {}, positional=args)


@contextmanager
def interaction(principal: Any = None) -> Iterator[None]:
    """Run in a new interaction, where zope.security is installed.

    Arguments: ``principal``, of the interaction's only participation.
    """
    # Each run comes by here: importlib costs more than the rest of this.
    management = (sys.modules.get('zope.security.management')
                  or _module('zope.security.management'))
    if management is None:
        yield
        return
    # The caller's interaction is put aside, and put back also where the task
    # has ended the one of its job or begun another.
    local = management.thread_local
    before = getattr(local, 'interaction', None)
    local.interaction = None
    try:
        participation = ProcessorRequest()
        if principal is not None:
            participation.setPrincipal(principal)
        management.newInteraction(participation)
        yield
    finally:
        local.interaction = before


PLAIN = PlainHost()

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
