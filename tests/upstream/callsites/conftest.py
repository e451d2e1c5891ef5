"""Applications that used lovely.remotetask 0.5.2, as far as tests need them.

Each docstring names who relied on what; the applications are known from
their public code.
"""

import pytest
import transaction
import zope.component
from zope.interface import Interface
from zope.interface import alsoProvides
from zope.interface.interfaces import IComponentLookup
from zope.location.interfaces import ILocationInfo
from zope.location.interfaces import IRoot
from zope.location.traversing import LocationPhysicallyLocatable
from zope.site.site import LocalSiteManager
from zope.site.site import SiteManagerAdapter

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import SimpleTask


@pytest.fixture
def cms(application):
    """A site with a service straight in its site manager."""
    root = application.root
    # As zope.location's own ZCML: sites look for the site above by it.
    zope.component.provideAdapter(
        LocationPhysicallyLocatable, (None,), ILocationInfo)
    # ... and as zope.site's, for lookups with a context.
    zope.component.provideAdapter(
        SiteManagerAdapter, (Interface,), IComponentLookup)
    alsoProvides(root, IRoot)
    root.setSiteManager(LocalSiteManager(root))
    site = application.site('cms')
    add_service(site, 'general')
    transaction.commit()
    return site


def add_service(site, name):
    manager = site.getSiteManager()
    service = manager[f'tasks.{name}'] = TaskService()
    manager.registerUtility(service, ITaskService, name)
    return service


@pytest.fixture
def general(cms):
    return cms.getSiteManager()['tasks.general']


@pytest.fixture
def work(application):
    """Commits, and lets a processor run all jobs of a service."""
    def work(service):
        transaction.commit()
        processor = SimpleProcessor(
            application.db, service.host.path_of(service))
        while processor.processNext():
            pass
        transaction.begin()

    return work


@pytest.fixture
def task(components):
    """Registers ``f(service, jobid, input)`` as a task."""
    def task(function):
        class Whole(SimpleTask):
            def __call__(self, service, jobid, input):
                return self.func(service, jobid, input)

        made = Whole(function)
        zope.component.provideUtility(made, ITask, function.__name__)
        return made

    return task
