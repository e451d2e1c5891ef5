"""Starts the services that the host's product configuration names.

::

    <product-config lovely.remotetask>
      autostart site1@tasks, @rootTasks, *@mail
    </product-config>

An entry is ``site@service``.  An empty site is the root; ``*`` on either side
means all.  A service is found as a utility of the site, or as an object in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from typing import Any

from zope.component import getGlobalSiteManager
from zope.component.interfaces import ISite

from lovely.remotetask import processor
from lovely.remotetask.edge import db
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.host import current
from lovely.remotetask.host.interaction import in_site
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.log import log

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

# Set to 0 in the environment, this keeps services from being started:
# maintenance scripts fire the same event as a server, and would be workers.
_SWITCH = 'LOVELY_REMOTETASK_AUTOSTART'

_wanted: ContextVar[bool] = ContextVar('wanted', default=True)


def starts_services() -> bool:
    """May an application that starts up now start its services?"""
    return _wanted.get() and os.environ.get(_SWITCH, '').strip() != '0'


@contextmanager
def not_starting() -> Iterator[None]:
    """Within the block, applications start none of their services.

    Those that this thread starts; ``startProcessing()`` itself still works.
    """
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)


def getAutostartServiceNames() -> list[str]:
    """The entries of the configuration, as written.

    Returns: a list of str, ``site@service``.
    Source: 0.5.2.
    """
    config = current().product_configuration('lovely.remotetask')
    if config is None:
        return []
    return [name.strip() for name in config.get('autostart', '').split(',')]


def bootStrapSubscriber(event: Any) -> None:
    """Start the configured services when the database is open.

    Never raises: a wrong entry must not keep an application from starting.
    Arguments: ``event.database`` (ZODB.DB).
    Txn: neither begins nor ends one of the calling thread.
    Source: 0.5.2.
    """
    if not starts_services():
        return
    log.info('handling event IStartRemoteTasksEvent')
    try:
        names = [name for name in getAutostartServiceNames() if name]
        if names:
            with db.snapshot(event.database) as connection:
                root = next(current().roots(connection))
                for name in names:
                    _start(root, name)
    except Exception:
        log.exception('no further services are started: the start-up failed')


def _start(root: Any, directive: str) -> None:
    site_name, separator, service_name = directive.partition('@')
    if not separator or '@' in service_name or not service_name:
        log.error('autostart: %r is not of the form site@service, where an '
                  'empty site is the root and * means all; it is ignored',
                  directive)
        return
    started = 0
    several = '*' in (site_name, service_name)
    try:
        for site, label in _sites(root, site_name, service_name):
            # Zope finds local utilities from the current site.
            with in_site(site if ISite.providedBy(site) else None):
                for name, service in _services(root, site, site_name,
                                               service_name):
                    if service is not None:
                        started += _start_service(name, service, label)
                    elif not several:
                        log.error('service %s on site %s not found', name,
                                  label)
    except Exception:
        log.exception('autostart: %s failed', directive)
    if several and not started:
        log.warning('no services started by directive %s', directive)


def _start_service(name: str, service: TaskService, label: str) -> bool:
    try:
        if service.isProcessing():
            return False
        service.startProcessing()
        # The class of an application may decide not to.
        if not service.isProcessing():
            return False
    # Logged and not raised, so that the other services are started.
    except ConfigurationError as error:
        log.error('service %s on site %s could not be started: %s', name,
                  label, error)
        return False
    except Exception:
        log.exception('service %s on site %s could not be started', name,
                      label)
        return False
    log.info('service %s on site %s started', name, label)
    return True


def _sites(root: Any, site_name: str,
           service_name: str) -> Iterator[tuple[Any, str]]:
    """The sites that a directive names, each with its name for the log."""
    if site_name in ('', '*'):
        yield root, 'root'
    if site_name == '*':
        for site in root.values():
            if ISite.providedBy(site):
                yield site, site.__name__
    elif site_name:
        site = root.get(site_name)
        if ISite.providedBy(site) or _contained(site, service_name):
            yield site, getattr(site, '__name__', None) or site_name
        else:
            log.error('site %s not found', site_name)


def _services(root: Any, site: Any, site_name: str,
              service_name: str) -> list[tuple[str, TaskService | None]]:
    """The services that a directive names on one site, each with its name.

    A service is None where it was not found.
    """
    manager = _manager(site)
    if service_name != '*':
        service = None
        # The global utilities do not belong to a folder that is no site.
        if site is root or ISite.providedBy(site):
            service = manager.queryUtility(ITaskService, name=service_name)
        if service is None:
            service = _contained(site, service_name)
        return [(service_name, service)]
    services = list(manager.getUtilitiesFor(ITaskService))
    if site_name not in ('', '*'):
        # A site finds the services of the root, too; they are not its own.
        roots = {name: service for name, service
                 in _manager(root).getUtilitiesFor(ITaskService)}
        # Not ``is``: in Zope each lookup wraps a service anew.
        services = [(name, service) for name, service in services
                    if roots.get(name) != service]
    return services


def _contained(site: Any, name: str) -> TaskService | None:
    """A service in a folder, registered or not; None: there is none."""
    get = getattr(site, 'get', None)
    found = None if get is None else get(name)
    return found if ITaskService.providedBy(found) else None


def _manager(site: Any) -> Any:
    return (site.getSiteManager() if ISite.providedBy(site)
            else getGlobalSiteManager())


def set_threads(service: TaskService, count: int) -> None:
    """Let a service run so many jobs at once, from its next start on.

    Txn: the caller's; it writes nothing where that is so already.
    """
    factory: Any = (processor.SimpleProcessor if count == 1
                    else processor.MultiProcessor)
    arguments: dict[str, Any] = {'waitTime': 1.0}
    if count > 1:
        arguments['maxThreads'] = count
    if service.processorFactory is not factory \
            or service.processorArguments != arguments:
        service.processorFactory = factory
        service.processorArguments = arguments
