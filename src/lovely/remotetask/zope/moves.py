"""Follows a service that is moved, renamed, copied, imported or deleted.

Zope tells each object of it, also where a folder around the object is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from Acquisition import aq_base
from Acquisition import aq_inner
from Acquisition import aq_parent
from zope.lifecycleevent.interfaces import IObjectAddedEvent
from zope.lifecycleevent.interfaces import IObjectRemovedEvent

from lovely.remotetask.edge.log import log
from lovely.remotetask.run import threads
from lovely.remotetask.zope import copies
from lovely.remotetask.zope import sites

if TYPE_CHECKING:
    from lovely.remotetask.zope.service import TaskService


def moved(service: TaskService, event: Any) -> None:
    """Let registrations and threads follow a service to its new place.

    Listens to IObjectMovedEvent of the service or of what it is in.
    """
    if IObjectRemovedEvent.providedBy(event):
        return
    # Also where it was added, as part of a copied site: its registry came
    # with it.
    _register_anew(service, event.oldParent)
    if IObjectAddedEvent.providedBy(event):
        if copies.is_copy(service):
            copies.settle(service)
        return
    path = service.getPhysicalPath()
    within = path[len(event.object.getPhysicalPath()):]
    before = (*event.oldParent.getPhysicalPath(), event.oldName, *within)[1:]
    threads.move_threads(service, before)


def removed(service: TaskService, event: Any) -> None:
    """Forget a service that is about to be deleted.

    Listens to IObjectWillBeRemovedEvent of the service or of what it is in.
    """
    for _, manager in sites.sites_around(service):
        for name in _names(manager, service):
            # Else processes that have it in memory would add jobs to it.
            sites.unregister(manager, name)
    threads.remove_threads(service, service.getPhysicalPath()[1:])


# --- registrations -----------------------------------------------------------

def _register_anew(service: TaskService, left: Any) -> None:
    """Register a service for its new place in all sites that have it.

    Arguments: ``left``, the folder that the service, or what it is in, was
    in before, or None.
    """
    around = list(sites.sites_around(service))
    for site, manager in around:
        for name in _names(manager, service):
            # Also where nothing differs: registries keep what they have
            # found, in its place of before.
            sites.place(manager, site, service, name)
    here = {id(aq_base(site)) for site, _ in around}
    for site, manager in sites.sites_around(left):
        if id(aq_base(site)) not in here:
            for name in _names(manager, service):
                sites.unregister(manager, name)
                _take_in(service, name)


def _names(manager: Any, service: TaskService) -> list[str]:
    """The names by which a registry itself has a service."""
    return [name for name, found in sites.registered(manager).items()
            if found is aq_base(service)]


def _take_in(service: TaskService, name: str) -> None:
    """Register a service that has left its site where it is now."""
    folder = aq_parent(aq_inner(service))
    # No folder becomes a site by this: to an application that is a change.
    for site, manager in sites.sites_around(service):
        if (aq_base(site) is aq_base(folder)
                and name not in sites.registered(manager)):
            sites.place(manager, site, service, name)
            return
    log.warning(
        'service %s has left its site and is registered as %r no more: call '
        'lovely.remotetask.zope.sites.register where it is to be found',
        '/'.join(service.getPhysicalPath()), name)
