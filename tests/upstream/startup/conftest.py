"""An application as zope.app made them: the root and two of three are sites.

==================  =====================================
root                rootTasks, shared
site1               one, two (in its site manager), shared
site2               one
plain               no site
==================  =====================================
"""

import threading

import pytest
import transaction
import zope.component
import zope.event
from zope.interface import alsoProvides
from zope.location.interfaces import ILocationInfo
from zope.location.interfaces import IRoot
from zope.location.traversing import LocationPhysicallyLocatable
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.processlifetime import IDatabaseOpenedWithRoot
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.service import bootStrapSubscriber
from lovely.remotetask.task import EchoTask


def register(site, name, container=None):
    service = TaskService()
    (site if container is None else container)[name] = service
    site.getSiteManager().registerUtility(service, ITaskService, name)
    return service


@pytest.fixture
def root(application):
    root = application.root
    # As zope.location's own ZCML: sites look for the site above them by it.
    zope.component.provideAdapter(
        LocationPhysicallyLocatable, (None,), ILocationInfo)
    alsoProvides(root, IRoot)
    root.setSiteManager(LocalSiteManager(root))
    register(root, 'rootTasks')
    register(root, 'shared')
    for name in ('site1', 'site2'):
        application.site(name)
        register(root[name], 'one')
    site1 = root['site1']
    register(site1, 'two', site1.getSiteManager()['default'])
    register(site1, 'shared')
    root['plain'] = Folder()
    # A worker without any task says so.
    zope.component.provideUtility(EchoTask(), ITask, 'echo')
    transaction.commit()
    return root


@pytest.fixture
def start(application, root, autostart, log):
    """Opens the application with a configuration; returns the log.

    ``start()`` does it with the configuration of before.
    """
    zope.component.provideHandler(
        bootStrapSubscriber, (IDatabaseOpenedWithRoot,))

    def start(text=None):
        del log[:]
        if text is not None:
            autostart(text)
        zope.event.notify(DatabaseOpenedWithRoot(application.db))
        # Switched off it does not even say that.
        assert log[:1] in ([], ['INFO handling event IStartRemoteTasksEvent'])
        return log[1:]

    return start


@pytest.fixture
def running():
    """The names of the threads that run services, sorted."""
    def running():
        return sorted(t.name for t in threading.enumerate()
                      if t.name.startswith('remotetasks.'))

    return running
