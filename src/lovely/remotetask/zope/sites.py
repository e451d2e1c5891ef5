"""Registers services as utilities of sites, without a path.

A registry of five.localsitemanager keeps a service that comes wrapped with
the path where it is then: once the site is renamed or copied, that leads to
nothing, or to the original.  A bare service gets the place of the site whose
registry is asked, wherever that is, as the tools of CMF do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from Acquisition import aq_base
from Acquisition import aq_inner
from Acquisition import aq_parent
from zope.component.interfaces import ISite
from zope.interface.registry import Components

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.zope import paths

if TYPE_CHECKING:
    from lovely.remotetask.zope.service import TaskService as ZopeTaskService

try:
    from five.localsitemanager import make_objectmanager_site
    from five.localsitemanager.registry import ComponentPathWrapper
    from five.localsitemanager.registry import PersistentComponents
except ImportError:
    make_objectmanager_site = None
    PersistentComponents = None
    ComponentPathWrapper = ()


def register(service: ZopeTaskService, name: str | None = None) -> None:
    """Let a service be found by ``getUtility(ITaskService, name)``.

    It becomes a utility of the folder that it is in, which becomes a site
    if it is none.  The registration follows the service and the site where
    they are moved: see moves.
    Arguments: ``service``, wrapped in its folder; ``name`` (str), default
    its id.
    Raises: ConfigurationError without five.localsitemanager, or where the site
    has a registry of another kind: that of zope.component alone would hand out
    the service without its place.
    Txn: the caller commits.
    """
    folder = aq_parent(aq_inner(service))
    if PersistentComponents is None:
        raise ConfigurationError(
            'a local utility in Zope takes five.localsitemanager: pip install '
            'five.localsitemanager; without it the service works by its path')
    if not ISite.providedBy(folder):
        make_objectmanager_site(folder)
    manager = folder.getSiteManager()
    if not isinstance(manager, PersistentComponents):
        raise ConfigurationError(
            f'the site {"/".join(folder.getPhysicalPath())} has a registry '
            f'that keeps no places ({type(manager).__name__}); make it a '
            f'site by five.localsitemanager.make_objectmanager_site')
    place(manager, folder, service,
          service.getId() if name is None else name)


def place(manager: Any, site: Any, service: ZopeTaskService, name: str
          ) -> None:
    """Put a service into a registry, in place of what has this name there.

    Arguments: ``manager``, that of ``site``; ``service``, wrapped, anywhere
    in the site.
    """
    # First: a registration that looks the same would be left as it is, and
    # processes that have it in memory would not hear of the change.
    unregister(manager, name)
    direct = aq_base(aq_parent(aq_inner(service))) is aq_base(site)
    # A bare service would be looked for in the site itself.
    manager.registerUtility(aq_base(service) if direct else service,
                            ITaskService, name)


def unregister(manager: Any, name: str) -> None:
    """Remove what a registry itself has as a service under a name."""
    # zope.interface counts registrations in this, and does not count those
    # that five.localsitemanager makes by path: it would stumble over one.
    aq_base(manager)._v_utility_registrations_cache = None
    manager.unregisterUtility(provided=ITaskService, name=name)


def registered(manager: Any) -> dict[str, Any]:
    """The services in a registry itself, bare: name -> service."""
    return {name: aq_base(stored.component
                          if isinstance(stored, ComponentPathWrapper)
                          else stored)
            for name, stored in _stored(manager).items()}


def _stored(manager: Any) -> dict[str, Any]:
    """What a registry itself has stored as services, by their names.

    Not by the registry's own method: that one traverses paths, which may lead
    nowhere any more.
    """
    found: Any = Components.registeredUtilities
    return {str(one.name): one.component for one in found(aq_base(manager))
            if one.provided is ITaskService}


def sites_around(obj: Any) -> Iterator[tuple[Any, Any]]:
    """The sites that an object is in, wrapped, with their registries.

    Sites whose registry keeps no places are left out.  Innermost first.
    """
    while obj is not None:
        # Not hasattr(obj, 'getSiteManager'): objects acquire that.
        if PersistentComponents is not None and ISite.providedBy(obj):
            manager = obj.getSiteManager()
            if isinstance(manager, PersistentComponents):
                yield obj, manager
        obj = aq_parent(aq_inner(obj))


def upgrade(site: Any) -> list[str]:
    """Renew the registrations that earlier versions have made in a site.

    They were made by path.  That of a service which is not there any more is
    removed.  It does no harm to call it again.
    Arguments: ``site``, wrapped.
    Returns: the names of the registrations that are left (list of str).
    Txn: the caller commits.
    """
    left = []
    for _, manager in list(sites_around(site))[:1]:
        for name, service in registered(manager).items():
            found = _find(site, manager, service, name)
            if found is None:
                unregister(manager, name)
            else:
                place(manager, site, found, name)
                left.append(name)
    return left


def _find(site: Any, manager: Any, service: Any, name: str) -> Any:
    """A registered service in its place; None: it is nowhere."""
    inside = site._getOb(service.getId(), None)
    if inside is not None and aq_base(inside) is service:
        return inside
    # In a folder of the site: there the path is all there is.
    path = getattr(_stored(manager)[name], 'path', ('',))
    found = paths.at(paths.application(site), tuple(path))
    return found if found is not None and aq_base(found) is service else None
