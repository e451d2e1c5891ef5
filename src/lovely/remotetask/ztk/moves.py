"""Follows a service that is moved, renamed, copied or deleted.

zope.container and zope.copypastemove tell each object of it, also where a
folder around the object is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from zope.component.interfaces import ISite
from zope.lifecycleevent.interfaces import IObjectAddedEvent
from zope.lifecycleevent.interfaces import IObjectRemovedEvent

from lovely.remotetask.edge.log import log
from lovely.remotetask.host.paths import parents
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.run import threads
from lovely.remotetask.store import copies

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def moved(service: TaskService, event: Any) -> None:
    """Let registrations and threads follow a service to its new place.

    Listens to IObjectMovedEvent of the service or of what it is in: it is
    deleted, too, by such an event.
    """
    if IObjectAddedEvent.providedBy(event):
        return
    before = [*_names(event.oldParent), event.oldName,
              *_within(service, event.object)]
    if IObjectRemovedEvent.providedBy(event):
        _register_anew(service, event.oldParent, gone=True)
        threads.remove_threads(service, before)
    else:
        _register_anew(service, event.oldParent)
        threads.move_threads(service, before)


def copied(service: TaskService, event: Any) -> None:
    """Pause a service that is a copy, and cancel its jobs.

    Listens to IObjectCopiedEvent of the service or of what it is in; the copy
    has no place yet.
    """
    cancelled = copies.settle(service.jobqueue, service.clock.now())
    log.warning(
        'a copy of service %s is paused, and %s jobs that were not over are '
        'cancelled there; resume() lets it run jobs',
        show([*_names(event.original), *_within(service, event.object)]),
        cancelled)


def _names(obj: Any) -> list[str]:
    """The names of an object and of what it is in, from the root."""
    return [one.__name__ for one in parents(obj)
            if getattr(one, '__name__', None)][::-1]


def _within(service: TaskService, obj: Any) -> list[str]:
    """The names that lead from an object to a service in it."""
    return _names(service)[len(_names(obj)):]


# --- registrations -----------------------------------------------------------

def _register_anew(service: TaskService, left: Any, gone: bool = False
                   ) -> None:
    """Take a service out of the registries of sites that it has left.

    A registry refers to the service itself, and so needs no more where both
    are moved.
    Arguments: ``left``, the folder that the service, or what it is in, was
    in; ``gone``: it is in none now.
    """
    around = () if gone else [one.getSiteManager() for one in parents(service)
                              if ISite.providedBy(one)]
    for site in parents(left):
        if not ISite.providedBy(site):
            continue
        manager = site.getSiteManager()
        if manager in around:
            continue
        for name in _registered(manager, service):
            manager.unregisterUtility(service, ITaskService, name)
            if not gone:
                _take_in(service, name)


def _registered(manager: Any, service: TaskService) -> list[str]:
    """The names by which a registry itself has a service."""
    return [one.name for one in manager.registeredUtilities()
            if one.provided is ITaskService and one.component is service]


def _take_in(service: TaskService, name: str) -> None:
    """Register a service that has left its site where it is now."""
    folder = service.__parent__
    if ISite.providedBy(folder):
        manager = folder.getSiteManager()
        if all(one.provided is not ITaskService or one.name != name
               for one in manager.registeredUtilities()):
            manager.registerUtility(service, ITaskService, name)
            return
    log.warning(
        'service %s has left its site and is registered as %r no more: '
        'register it where it is to be found', show(_names(service)), name)
