"""The physical paths of objects, and the objects at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from Acquisition import aq_base
from Acquisition import aq_inner
from Acquisition import aq_parent
from zope.component.hooks import getSite
from zope.globalrequest import getRequest
from ZPublisher.BaseRequest import RequestContainer

from lovely.remotetask.edge import caller
from lovely.remotetask.host.plain import APPLICATION


def chain(obj: Any) -> Iterator[Any]:
    """An object and all it is in, bare, innermost first."""
    obj = aq_inner(obj)
    while obj is not None and not isinstance(aq_base(obj), RequestContainer):
        yield aq_base(obj)
        obj = aq_parent(aq_inner(obj))


def path_of(obj: Any) -> tuple[str, ...] | None:
    """The physical path of an object; None where it begins at no root."""
    get_path = getattr(aq_base(obj), 'getPhysicalPath', None)
    path = tuple(obj.getPhysicalPath()) if get_path is not None else ()
    return path if path[:1] == ('',) else None


def application(service: Any) -> Any:
    """The application that a service of Zope is in."""
    return service.getPhysicalRoot()


def applications(service: Any, obj: Any) -> Iterator[Any]:
    """The applications that an object may be in, the likeliest first.

    A stub, and a service in no folder of Zope, run jobs where the caller is:
    in the application of the current site, or else that of the database.
    Arguments: ``obj``, the object, or None: it is in the database of the
    service.
    """
    for place in (service, getSite()):
        if path_of(place) is not None:
            yield application(place)
    request = getRequest()
    jar = caller.jar_of(service if obj is None else obj)
    for connection in () if jar is None else jar.connections.values():
        app = connection.root().get(APPLICATION)
        if app is not None:
            yield app if request is None else app.__of__(
                RequestContainer(REQUEST=request))


def at(app: Any, path: tuple[str, ...]) -> Any:
    """The object at a physical path, None where there is none."""
    try:
        found = app.unrestrictedTraverse(path[1:])
    except (LookupError, AttributeError, TypeError):
        return None
    # Traversal may have acquired another object of that name.
    return found if path_of(found) == path else None
