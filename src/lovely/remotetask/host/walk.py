"""Finds the services of a database, and the paths that lead to them."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from persistent.interfaces import IPersistent
from ZODB.interfaces import IBroken
from ZODB.POSException import POSKeyError
from zope.component.interfaces import ISite

from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.plain import SITE_MANAGER
from lovely.remotetask.interfaces import ITaskService

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

#: A service is looked for down to this depth (names in its path) below a root:
#: in an application, in a site of it, and in that one's site manager.
DEPTH = 4

#: How many objects are looked at, at most, and how many in one container: a
#: folder of a million documents would be loaded otherwise.
OBJECTS = 20_000
IN_CONTAINER = 2_000

#: What an object raises that cannot be loaded because code is missing: that of
#: an interface that it provides makes it a TypeError, which ZODB 6.0 raises as
#: it is.
UNSEEN: tuple[type[Exception], ...] = (*UNREADABLE, TypeError)


def services(connection: Connection, host: IHost) -> Iterator[ServicePath]:
    """The paths of the services near the roots of a database."""
    for names, obj in _near(connection, host):
        if names and can_be_seen(obj) and ITaskService.providedBy(obj):
            yield path_to(names, obj, host)


def lost(connection: Connection, host: IHost) -> Iterator[list[str]]:
    """The names that lead to services whose own record is lost."""
    for names, obj in _near(connection, host):
        if names and ITaskService.implementedBy(obj.__class__):
            try:
                obj._p_activate()
            except POSKeyError:
                yield names


def unseen(connection: Connection, host: IHost
           ) -> Iterator[tuple[list[str], Any]]:
    """The objects near the roots whose class is not installed, with names."""
    for names, obj in _near(connection, host):
        if IBroken.implementedBy(obj.__class__):
            yield names, obj


def _near(connection: Connection, host: IHost
          ) -> Iterator[tuple[list[str], Any]]:
    """Containers, services and broken objects near the roots, with names."""
    seen: set[Any] = set()
    left = [OBJECTS]
    for root in host.roots(connection):
        # Breadth first: of several paths to a service, the shortest is the
        # usual one.
        level: list[tuple[list[str], Any]] = [([], root)]
        for _ in range(DEPTH + 1):
            below: list[tuple[list[str], Any]] = []
            for names, obj in level:
                mark = _identity(obj)
                if mark in seen:
                    continue
                seen.add(mark)
                yield names, obj
                if can_be_seen(obj) and not ITaskService.providedBy(obj):
                    below += _inside(names, obj, left)
            level = below


def can_be_seen(obj: Any) -> bool:
    """Is the code of this object installed, so that it can be looked into?"""
    try:
        return not IBroken.providedBy(obj)
    except UNSEEN:
        return False


def split(path: str) -> list[str]:
    """The names of a path, with or without a slash in front."""
    return [name for name in path.split('/') if name]


def path_to(names: Sequence[str], service: TaskService, host: IHost
            ) -> ServicePath:
    """The path to a service that these names lead to."""
    return ServicePath(
        names, getattr(service, '_p_oid', None), host, [service])


def _identity(obj: Any) -> Any:
    """The identity of an object, in a graph that may have cycles."""
    oid = getattr(obj, '_p_oid', None)
    # Oids of two databases may be equal.
    return id(obj) if oid is None else (id(obj._p_jar), oid)


def _inside(names: list[str], obj: Any, left: list[int]
            ) -> Iterator[tuple[list[str], Any]]:
    """The members of a container that a path can lead to."""
    if not _may_contain(obj):
        return
    if ISite.providedBy(obj):
        yield [*names, SITE_MANAGER], obj.getSiteManager()
    if not hasattr(obj.__class__, 'items'):
        return
    for number, (name, member) in enumerate(obj.items()):
        if left[0] <= 0 or number >= IN_CONTAINER:
            return
        left[0] -= 1
        # Names with a slash, and numbers, cannot stand in a path.
        if isinstance(name, str) and name and '/' not in name and (
                _may_contain(member)
                or ITaskService.implementedBy(member.__class__)
                or IBroken.implementedBy(member.__class__)):
            yield [*names, name], member


def _may_contain(obj: Any) -> bool:
    """May services be below this object?  Its class tells without loading."""
    # Not type(obj): in Zope that is a wrapper of Acquisition.
    kind = obj.__class__
    if kind is dict:
        return True
    return (IPersistent.implementedBy(kind)
            and not IBroken.implementedBy(kind)
            and hasattr(kind, '__getitem__')
            and (hasattr(kind, 'items') or hasattr(kind, 'getSiteManager')))
