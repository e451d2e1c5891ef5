"""Starts the services that the host's product configuration names.

::

    <product-config lovely.remotetask>
      autostart site1@tasks, @rootTasks, fold/deep@tasks, *@mail
    </product-config>

An entry is ``site@service``.  An empty site is the root, a path leads to a
site at any depth; ``*`` on either side means all.  A service is found as a
utility of the site, or as an object in it; an empty name is that of a utility
that was registered without one.  A service that is added later is started,
too: every SERVICES_SECONDS a thread looks for new ones.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from typing import Any

from zope.component import getGlobalSiteManager
from zope.component.interfaces import ISite

from lovely.remotetask.edge import db
from lovely.remotetask.edge.closing import call_on_close
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.host import current
from lovely.remotetask.host.interaction import in_site
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.run.lookout import Lookout

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

# Set to 0 in the environment, this keeps services from being started:
# maintenance scripts fire the same event as a server, and would be workers.
_SWITCH = 'LOVELY_REMOTETASK_AUTOSTART'

_Key = tuple[bytes | str | None, ...]

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

    And later those that are new.
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
            starter = _Starter(names, current())
            with db.snapshot(event.database) as connection:
                starter.look(connection)
            _look_out(event.database, starter)
    except Exception:
        log.exception('no further services are started: the start-up failed')


# Those that look for services which are added later.
_lookouts: weakref.WeakKeyDictionary[DB, Lookout] = (
    weakref.WeakKeyDictionary())


def is_looking_out() -> bool:
    """May services be started in this process later?"""
    return bool(_lookouts)


def _look_out(database: DB, starter: _Starter) -> None:
    earlier = _lookouts.get(database)
    if earlier is not None:
        earlier.stop()
    lookout = _lookouts[database] = Lookout(
        database, starter.look, lambda nothing: None)
    # First: it uses what else belongs to the database.
    call_on_close(database, _stop, first=True)
    lookout.start()


def _stop(database: DB) -> None:
    lookout = _lookouts.pop(database, None)
    if lookout is not None:
        lookout.stop()


class _Starter:
    """Starts the services that some directives name, once they are there.

    One that was stopped, or does not start, is not tried again as long as it
    stays where it is.
    Arguments: ``directives``, as written; ``host`` (IHost).
    """

    def __init__(self, directives: list[str], host: IHost) -> None:
        self._directives, self._host = directives, host
        # Only at the first look it is a mistake that something is not there.
        self._is_first = True
        # Those of the latest look, and those of this one.
        self._present: set[_Key] = set()
        self._seen: set[_Key] = set()
        self._told: set[str] = set()

    def look(self, connection: Connection) -> None:
        """Start the services that were not there at the last look."""
        self._seen = set()
        root = next(self._host.roots(connection))
        for directive in self._directives:
            self._follow(root, directive)
        self._present, self._is_first = self._seen, False

    def _follow(self, root: Any, directive: str) -> None:
        site_name, separator, service_name = directive.partition('@')
        if not separator or '@' in service_name:
            self._warn('autostart: %r is not of the form site@service, where '
                       'an empty site is the root and * means all; it is '
                       'ignored', directive)
            return
        started = 0
        several = '*' in (site_name, service_name)
        try:
            for site, label in self._sites(root, site_name, service_name):
                # Zope finds local utilities from the current site.
                with in_site(site if ISite.providedBy(site) else None):
                    for name, service in _services(root, site, site_name,
                                                   service_name):
                        if service is not None:
                            started += self._start(name, service, label)
                        elif not several:
                            self._warn('service %s on site %s not found',
                                       name, label)
        except Exception as error:
            # Once, not at each look.
            told = f'{directive} {describe(error)}'
            if told not in self._told:
                log.exception('autostart: %s failed', directive)
            self._told.add(told)
            # A look that has failed says nothing of those that are gone.
            self._seen |= self._present
        if several and not started and self._is_first:
            log.warning('no services started by directive %s', directive)

    def _warn(self, *message: str) -> None:
        if self._is_first:
            log.error(*message)

    def _start(self, name: str, service: TaskService, label: str) -> bool:
        if service.__parent__ is None and not self._is_first:
            return False    # deleted, and its registration is left
        try:
            key = (service._p_oid, *self._host.path_of(service))
            self._seen.add(key)
            if key in self._present or service.isProcessing():
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

    def _sites(self, root: Any, site_name: str,
               service_name: str) -> Iterator[tuple[Any, str]]:
        """The sites of a directive, each with its name for the log."""
        if site_name in ('', '*'):
            yield root, 'root'
        if site_name == '*':
            for site in root.values():
                if ISite.providedBy(site):
                    yield site, site.__name__
        elif site_name:
            site = _below(root, site_name)
            if ISite.providedBy(site) or _contained(site, service_name):
                yield site, site_name
            else:
                self._warn('site %s not found', site_name)


def _below(root: Any, path: str) -> Any:
    """What is at a path below the root; None: nothing."""
    found = root
    for name in path.split('/'):
        get = getattr(found, 'get', None)
        found = get(name) if name and get is not None else found
        if found is None or get is None:
            return None
    return found


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
        # A site finds the services of the sites around it, too; they are not
        # its own.
        around = [found for above in (_manager(root), *manager.__bases__)
                  for found in above.getUtilitiesFor(ITaskService)]
        # Not ``is``: in Zope each lookup wraps a service anew.
        services = [found for found in services if found not in around]
    return services


def _contained(site: Any, name: str) -> TaskService | None:
    """A service in a folder, registered or not; None: there is none."""
    get = getattr(site, 'get', None)
    found = None if get is None else get(name)
    return found if ITaskService.providedBy(found) else None


def _manager(site: Any) -> Any:
    return (site.getSiteManager() if ISite.providedBy(site)
            else getGlobalSiteManager())
