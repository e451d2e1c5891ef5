"""Installs and uninstalls the add-on of a Plone site: its service ``tasks``.
"""

from __future__ import annotations

from typing import Any

from Acquisition import aq_inner
from Acquisition import aq_parent
from plone.base.interfaces import INonInstallable
from Products.statusmessages.interfaces import IStatusMessage
from zope.interface import implementer

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.zope import sites
from lovely.remotetask.zope.service import TaskService
from lovely.remotetask.zope.service import add_service

NAME = 'tasks'

#: The names in ITaskService.stats of jobs whose effect is still to come.
_PENDING = ('queued', 'processing', 'scheduled', 'start later')


@implementer(INonInstallable)
class HiddenProfiles:
    """Hides the uninstall profile from the add-ons offered to new sites."""

    def getNonInstallableProfiles(self) -> list[str]:
        return ['lovely.remotetask:uninstall']


def install(tool: Any) -> None:
    """Give the site of a setup tool a service ``tasks``.

    A service, or a registration, that exists already is left as it is.
    Arguments: ``tool``, the site's portal_setup.
    Raises: ConfigurationError where an item of the site has that id.
    Txn: the caller commits.
    """
    site = _site(tool)
    if NAME not in site.objectIds():
        add_service(site, NAME)
    service = site[NAME]
    if not ITaskService.providedBy(service):
        raise ConfigurationError(
            f'{"/".join(service.getPhysicalPath())} is an item of the site, '
            f'and the task service is to have this id: rename the item, then '
            f'install the add-on again')
    if NAME not in sites.registered(site.getSiteManager()):
        sites.register(service, NAME)


def upgrade_to_2(tool: Any) -> None:
    """Renew what version 1 of the profile has made: see zope.sites.

    Txn: the caller commits.
    """
    tool.runImportStepFromProfile(
        'profile-lovely.remotetask:default', 'rolemap')
    sites.upgrade(_site(tool))


def upgrade_to_3(tool: Any) -> None:
    """Add the entry in Site Setup.

    Txn: the caller commits.
    """
    tool.runImportStepFromProfile(
        'profile-lovely.remotetask:default', 'controlpanel')


def refuse_while_pending(tool: Any) -> None:
    """Refuse to uninstall a service that still has jobs to run.

    It is called before the profile changes the site: the control panel
    commits all changes up to an exception.
    Raises: ConfigurationError.
    """
    service = _own_service(_site(tool))
    if service is None:
        return
    stats = service.stats()
    pending = {status: stats[status] for status in _PENDING if stats[status]}
    if pending:
        counts = ', '.join(f'{count} {status}'
                           for status, count in pending.items())
        reason = (f'{"/".join(service.getPhysicalPath())} still has jobs '
                  f'({counts}): let the workers run them or cancel them, '
                  f'then uninstall again')
        request = getattr(tool, 'REQUEST', None)
        if request is not None:
            # The control panel itself shows only that the uninstall failed.
            IStatusMessage(request).addStatusMessage(reason, type='error')
        raise ConfigurationError(reason)


def uninstall(tool: Any) -> None:
    """Remove the service ``tasks``, with its log of jobs that have ended."""
    site = _site(tool)
    if _own_service(site) is not None:
        # Its registration goes with it.
        site._delObject(NAME)


def _site(tool: Any) -> Any:
    return aq_parent(aq_inner(tool))


def _own_service(site: Any) -> TaskService | None:
    """The service that install() has added, or another in its place."""
    found = site[NAME] if NAME in site.objectIds() else None
    return found if ITaskService.providedBy(found) else None
