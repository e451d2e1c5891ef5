"""Content of Plone as the input of a stub's job, and of real ones."""

import pytest
import transaction
from plone import api
from zope.component.hooks import getSite
from zope.component.hooks import setSite

from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.testing import assert_added
from lovely.remotetask.testing import drain
from lovely.remotetask.testing import inline
from lovely.remotetask.testing import run_job
from lovely.remotetask.testing import stand_in


@pytest.fixture
def site(driver):
    """The site, with Plone's own types of content, for its manager."""
    with driver.world._manager() as app:
        setSite(app.site)
        app.site.portal_setup.runAllImportStepsFromProfile(
            'profile-plone.app.contenttypes:default')
        transaction.commit()
        before = getSite()
        yield app.site
        # The thread is as before.
        assert getSite() is before
        assert api.user.get_current().getId() == 'chief'
        transaction.abort()


@pytest.fixture
def publish():
    def publish(document):
        document.title = 'published'
        document.reindexObject()
        return document.absolute_url(), api.user.get_current().getId()

    with stand_in(publish):
        yield


def titles(site):
    return [brain.Title for brain in api.content.find(site, id='news')]


@pytest.fixture
def news(site):
    return api.content.create(site, 'Folder', 'news', title='draft')


def test_a_stub(site, news, publish):
    stub = TaskServiceStub()
    stub.raiseErrors = True
    jobid = stub.add('publish', news)
    assert_added(stub, 'publish', input=news, count=1)
    stub.process()
    assert stub.getResult(jobid) == ('http://nohost/site/news', 'chief')
    assert news.title == 'published' and titles(site) == ['published']


def test_one_job_in_the_transaction_of_the_test(site, news, publish):
    service = site.tasks
    job = run_job(service, service.add('publish', news))
    # base-url counts, as it does for a worker.
    assert job.output == ('https://www.example.org/pub/news', 'chief')
    assert titles(site) == ['published']


@pytest.mark.parametrize('how', ['drain', 'inline'])
def test_as_a_worker_does(site, news, publish, how):
    transaction.commit()
    service = site.tasks
    jobid = service.add('publish', news)
    if how == 'drain':
        transaction.commit()
        assert drain(service) == 1
    else:
        with inline(service):
            transaction.commit()
    assert service.getStatus(jobid) == 'completed'
    assert service.getResult(jobid)[1] == 'chief'
    assert news.title == 'published' and titles(site) == ['published']
