"""TaskServiceStub in Zope and Plone: the stub has no place, its inputs do."""

import pytest
import transaction
import zope.component
from Acquisition import aq_base
from Acquisition import aq_parent
from OFS.Folder import Folder
from zope.component.hooks import setSite
from zope.globalrequest import clearRequest
from zope.globalrequest import getRequest

from lovely.remotetask.service import TaskService
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.testing import run_job


def describe(doc):
    return {'path': '/'.join(doc.getPhysicalPath()),
            'url': doc.absolute_url(), 'parent': aq_parent(doc).getId(),
            'request': doc.REQUEST is getRequest(),
            'wrapped': aq_base(doc) is not doc}


@pytest.fixture
def see():
    """The task ``see``, for stubs and for services."""
    task = FunctionTask(lambda input: describe(
        input['doc'][0] if isinstance(input, dict) else input))
    zope.component.provideUtility(task, ITaskStub, 'see')
    yield
    zope.component.getGlobalSiteManager().unregisterUtility(
        task, ITaskStub, 'see')


@pytest.fixture
def site(driver):
    """The site of the world, in a request of its manager."""
    with driver.world.acting('/acl_users chief') as service:
        site = aq_parent(service)
        site._setObject('folder', Folder('folder'))
        site.folder._setObject('doc', Folder('doc'))
        transaction.savepoint()
        yield site
        transaction.abort()


SEEN = {'path': '/site/folder/doc', 'url': 'http://nohost/site/folder/doc',
        'parent': 'folder', 'request': True, 'wrapped': True}


# A plain service has no place either, as long as it is in no folder of Zope.
@pytest.mark.parametrize('factory', [TaskServiceStub, TaskService])
@pytest.mark.parametrize('pack', [lambda doc: doc,
                                  lambda doc: {'doc': [doc]}])
def test_content_as_input(site, see, factory, pack):
    service = factory()
    service.raiseErrors = True
    jobid = service.add('see', pack(site.folder.doc))
    service.process()
    assert service.getResult(jobid) == SEEN


def test_a_stub_in_the_database_of_the_site(site, see):
    site.stub = TaskServiceStub()
    transaction.savepoint()
    stub = site.stub
    stub.raiseErrors = True
    jobid = stub.add('see', site.folder.doc)
    stub.process()
    assert stub.getResult(jobid) == SEEN


def test_run_job(site, see):
    """The user who adds it is recorded, and a stub could not find them."""
    stub = TaskServiceStub()
    job = run_job(stub, stub.add('see', site.folder.doc))
    assert (job.output, job.submitter) == (SEEN, '/acl_users chief')


def test_without_a_site_and_a_request(site, see):
    doc = site.folder.doc
    setSite(None)
    clearRequest()
    stub = TaskServiceStub()
    stub.raiseErrors = True
    task = FunctionTask(lambda doc: '/'.join(doc.getPhysicalPath()))
    zope.component.provideUtility(task, ITaskStub, 'path')
    try:
        jobid = stub.add('path', doc)
        stub.process()
    finally:
        zope.component.getGlobalSiteManager().unregisterUtility(
            task, ITaskStub, 'path')
    assert stub.getResult(jobid) == '/site/folder/doc'


def test_content_that_is_gone(site, see):
    stub = TaskServiceStub()
    jobid = stub.add('see', site.folder.doc)
    site.folder._delObject('doc')
    stub.process()
    assert stub.getError(jobid).startswith(
        '/site/folder/doc, an input of this job, is not there any more')


def test_content_that_is_in_no_database_yet(site, see):
    site._setObject('new', Folder('new'))
    with pytest.raises(ValueError, match='transaction.savepoint'):
        TaskServiceStub().add('see', site.new)
