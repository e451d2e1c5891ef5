"""The plain host: one registry, no users, objects found by their names."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

from zope.component import getGlobalSiteManager
from zope.component import getSiteManager
from zope.component.hooks import getSite
from zope.component.interfaces import ISite
from zope.interface import implementer

from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.host import default
from lovely.remotetask.host.interaction import in_site
from lovely.remotetask.host.interaction import interaction
from lovely.remotetask.host.interaction import runs_as
from lovely.remotetask.host.optional import optional
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.paths import parents
from lovely.remotetask.host.paths import site_of
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITaskService

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

#: The name of the application of Zope and the ZTK in the database's root.
APPLICATION = 'Application'

#: The name of a site's site manager in a path.
SITE_MANAGER = '++etc++site'


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
        return default.of_registry(_current_registry())

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
        product = optional('zope.app.appsetup.product')
        return (None if product is None
                else product.getProductConfiguration(name))


PLAIN = PlainHost()
