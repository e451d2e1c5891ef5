"""Registers a service as a utility of the site that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Acquisition import aq_inner
from Acquisition import aq_parent
from zope.component.interfaces import ISite

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITaskService

if TYPE_CHECKING:
    from lovely.remotetask.zope.service import TaskService as ZopeTaskService

try:
    from five.localsitemanager import make_objectmanager_site
    from five.localsitemanager.registry import PersistentComponents
except ImportError:
    make_objectmanager_site = PersistentComponents = None


def register(service: ZopeTaskService, name: str | None = None) -> None:
    """Let a service be found by ``getUtility(ITaskService, name)``.

    It becomes a utility of the folder that it is in, which becomes a site
    if it is none.
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
    manager.registerUtility(
        service, ITaskService, service.getId() if name is None else name)
