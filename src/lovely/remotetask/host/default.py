"""Which service ``delay`` of a task adds to, where the host has several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.interfaces import ITaskService

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_T = TypeVar('_T')


def of_registry(registry: Any) -> TaskService:
    """The default service of a component registry: see IHost.

    Those of the registry come before those of its bases, for a site finds
    the services of the site that it is in, too.
    Raises: ServiceNotFound.
    """
    found = _services(registry)
    if len(found) > 1:
        outer = [_identity(service) for base in registry.__bases__
                 for service in _services(base).values()]
        found = {name: service for name, service in found.items()
                 if _identity(service) not in outer} or found
    return choose(found, 'register it as a utility for ITaskService, in the '
                  'site of this code or globally')


def choose(services: Mapping[str, _T], cure: str) -> _T:
    """The one without a name, or else the only one.

    Arguments: ``services``, or their declarations, by their names; ``cure``,
    what to do where there is none.
    Raises: ServiceNotFound.
    """
    if '' in services:
        return services['']
    if len({_identity(service) for service in services.values()}) == 1:
        return next(iter(services.values()))
    if services:
        names = ', '.join(map(repr, sorted(services)))
        raise ServiceNotFound(
            f'there are several task services here ({names}): choose one, '
            f'and call its add() with the function')
    raise ServiceNotFound(
        f'there is no task service here: {cure}; or call add() of a service '
        f'with the function')


def _services(registry: Any) -> dict[str, TaskService]:
    return dict(registry.getUtilitiesFor(ITaskService))


def _identity(service: Any) -> Any:
    # A service may have two names, and in Zope many wrappers.
    oid = getattr(service, '_p_oid', None)
    return id(service) if oid is None else oid
