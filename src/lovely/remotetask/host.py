"""The one seam to the frameworks, and the plain default behind it.

zope.security is not a dependency; where it is installed, a job runs in an
interaction of its own, as in 0.5.2.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any
from typing import TypeVar

from zope.component import getGlobalSiteManager
from zope.component import getSiteManager
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.interface import implementer

from lovely.remotetask.edge import db
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.participation import ProcessorRequest

_T = TypeVar('_T')

#: Where Zope and the ZTK keep their application in the database's root.
APPLICATION = 'Application'

#: The name of a site's site manager in a path.
SITE_MANAGER = '++etc++site'


def parents(obj: Any) -> Iterator[Any]:
    """The object and all it is located in, innermost first."""
    seen = set()
    # A location that contains itself is an application's mistake; looking
    # for ever would be ours.
    while obj is not None and id(obj) not in seen:
        seen.add(id(obj))
        yield obj
        obj = getattr(obj, '__parent__', None)


def site_of(service: Any) -> Any:
    """The site that a service is in, or None."""
    return next((obj for obj in parents(service) if ISite.providedBy(obj)),
                None)


def runs_as(job: Any) -> str | None:
    """As whom a job runs (IHost.submitter); None: with all rights."""
    submitter = None if job is None else job.submitter
    return None if submitter == SYSTEM else submitter


def _step(obj: Any, name: str) -> Any:
    """What a name of a path leads to; None: nothing."""
    if name == SITE_MANAGER:
        # A site does not contain its site manager, it knows it.
        return obj.getSiteManager() if ISite.providedBy(obj) else None
    try:
        return obj[name]
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def _walk(obj: Any, path: Sequence[str]) -> Any:
    for name in path:
        if obj is None:
            return None
        obj = _step(obj, name)
    return obj if ITaskService.providedBy(obj) else None


@implementer(IHost)
class PlainHost:
    """See IHost"""

    def roots(self, connection: Any) -> Iterator[Any]:
        """See IHost"""
        root = connection.root()
        if APPLICATION in root:
            yield root[APPLICATION]
        yield root
        for name in sorted(root, key=str):
            if name != APPLICATION:
                yield root[name]

    def find_service(self, connection: Any, path: Sequence[str]) -> Any:
        """See IHost"""
        oid = getattr(path, 'oid', None)
        first = None
        for root in self.roots(connection):
            service = _walk(root, path)
            if service is None:
                continue
            if oid is None or service._p_oid == oid:
                return service
            # Another application of this database has a service of that
            # path; ours may have been replaced by a new one.
            first = first or service
        return first

    def path_of(self, service: Any) -> list[str]:
        """See IHost"""
        names = [obj.__name__ for obj in parents(service)
                 if getattr(obj, '__name__', None)]
        return ServicePath(reversed(names),
                           getattr(service, '_p_oid', None), self)

    def tasks(self, service: Any, interface: Any) -> dict[str, Any]:
        """See IHost"""
        return dict(self.registry(service).getUtilitiesFor(interface))

    def task(self, service: Any, interface: Any, name: str) -> Any:
        """See IHost"""
        return self.registry(service).queryUtility(interface, name)

    def registry(self, service: Any) -> Any:
        """The component registry that knows the tasks of a service."""
        manager = getSiteManager()
        # Without zope.component's hooks (zope.component.hooks.setHooks) the
        # current site would not count.
        if manager is getGlobalSiteManager():
            site = getSite()
            if site is not None:
                manager = site.getSiteManager()
        return manager

    @contextmanager
    def running(self, service: Any, job: Any) -> Iterator[Any]:
        """See IHost"""
        if runs_as(job) is not None:
            raise WrongWorker(
                f'job {job.id} is to run as {job.submitter!r}, and nothing '
                f'here knows of principals: run it by a worker of the host '
                f'that it was added in')
        with interaction(), in_site(site_of(service)):
            yield service

    def submitter(self) -> str | None:
        """See IHost"""
        return None

    def permits(self, service: Any, permission: str) -> bool:
        """See IHost"""
        return True

    def pack(self, value: Any) -> Any:
        """See IHost"""
        return value

    def unpack(self, service: Any, value: Any) -> Any:
        """See IHost"""
        return value

    def product_configuration(self, name: str) -> Any:
        """See IHost"""
        product = _module('zope.app.appsetup.product')
        return (None if product is None
                else product.getProductConfiguration(name))


class ServicePath(list):  # type: ignore[type-arg]
    """The path to a service: a list of names, and which object was meant.

    Processor factories of applications get a list, as in 0.5.2; the oid
    tells apart two applications of one database with equal paths, and the
    host tells the processor in whose way it runs jobs.
    """

    def __init__(self, names: Iterable[str], oid: bytes | None = None,
                 host: Any = None) -> None:
        super().__init__(names)
        self.oid = oid
        self.host = host


def _module(name: str) -> Any:
    """An optional module; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def visit(database: Any, path: Sequence[str], host: Any,
          function: Callable[[Any], _T], writes: bool) -> _T:
    """Call ``function(service)`` in a transaction of its own, in its site.

    In its site: its tasks, and the subscribers of its events, may be
    registered there and nowhere else.
    Arguments: ``database`` (ZODB.DB); ``path`` (sequence of str), of the
    service; ``host`` (IHost); ``writes``: commit, and do all of it again
    after a conflict; else ``function`` sees a snapshot, which is aborted.
    Returns: what ``function`` returned.
    Raises: ServiceNotFound; the ConflictError of the last try; what
    ``function`` raises.
    """
    def in_transaction(connection: Any) -> _T:
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
    """Make a site, or None, the current one; afterwards all is as before."""
    before = getSite()
    setSite(site)
    try:
        yield
    finally:
        setSite(before)


@contextmanager
def interaction(principal: Any = None) -> Iterator[None]:
    """Run in an interaction of a job's own, where zope.security is installed.

    Arguments: ``principal``, of the interaction's only participation.
    """
    management = _module('zope.security.management')
    if management is None:
        yield
        return
    # The caller's interaction is put aside and put back; what the task made
    # of its own is left behind.
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

#: Callables that give the host of the current thread, or None: for
#: frameworks whose registries are not those of zope.component.
finders: list[Callable[[], Any]] = []


def current() -> Any:
    """The host of whoever calls (IHost).

    Cost: a look into a registry; each ``add`` asks.
    """
    for find in finders:
        host = find()
        if host is not None:
            return host
    return getGlobalSiteManager().queryUtility(IHost, default=PLAIN)
