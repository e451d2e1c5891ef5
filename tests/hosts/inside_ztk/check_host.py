"""The ZTK's principals and sites, beyond what the kit asks of each host."""

import pytest
import transaction
import zope.component
from zope.authentication.interfaces import IAuthentication
from zope.pluggableauth import PluggableAuthentication
from zope.pluggableauth.interfaces import IAuthenticatorPlugin
from zope.pluggableauth.plugins.principalfolder import InternalPrincipal
from zope.pluggableauth.plugins.principalfolder import PrincipalFolder
from zope.security.interfaces import Unauthorized
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import queryInteraction
from zope.security.management import system_user

from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.processor import ProcessorRequest


def test_who_is_acting(driver):
    host = driver.world.host
    assert host.submitter() is None
    with driver.world.acting('zope.jane'):
        assert host.submitter() == 'zope.jane'
    for principal in (None, system_user):
        request = ProcessorRequest()
        request.setPrincipal(principal)
        newInteraction(request)
        try:
            assert host.submitter() is None
            assert host.permits(None, 'lovely.remotetask.Manage')
        finally:
            endInteraction()


def test_a_task_sees_a_request_of_a_processor(driver):
    # gocept.async: "am I in a job?", and a principal put in by hand.
    def look(input):
        participation, = queryInteraction().participations
        return isinstance(participation, ProcessorRequest)

    driver.task('look', look)
    jobid = driver.add('zope.jane', 'look')
    driver.run()
    assert driver.job(jobid)['output'] is True


@pytest.fixture
def local_people(driver):
    """An authentication utility in the site, with a user of its own."""
    with driver.world.acting() as service:
        manager = service.__parent__.getSiteManager()
        auth = manager['auth'] = PluggableAuthentication('site.')
        manager.registerUtility(auth, IAuthentication)
        folder = auth['people'] = PrincipalFolder('p.')
        folder['bob'] = InternalPrincipal('bob', 'pw', 'Bob')
        manager.registerUtility(folder, IAuthenticatorPlugin, 'people')
        auth.authenticatorPlugins = ('people',)
    return 'site.p.bob'


def test_a_principal_of_the_site(driver, local_people):
    driver.task('look', lambda service, jobid, input: driver.world.seen(
        service))
    ids = [driver.add('zope.mgr', 'look', runAs=who)
           for who in (local_people, 'zope.jane')]
    driver.run()
    assert [driver.job(jobid)['output']['principal'] for jobid in ids] == [
        local_people, 'zope.jane']
    gone = driver.add('zope.mgr', 'look', runAs=local_people)
    with driver.world.acting() as service:
        auth = service.__parent__.getSiteManager()['auth']
        del auth['people']['bob']
    driver.run()
    assert driver.job(gone)['status'] == 'error'
    assert local_people in driver.job(gone)['error']


def test_anybody_is_somebody(driver):
    # Where a service is open, those who have not logged in may add, too.
    driver.task('look', lambda service, jobid, input: driver.world.seen(
        service))
    jobid = driver.add(None, 'look', runAs='zope.anybody')
    driver.run()
    assert driver.job(jobid)['output']['principal'] == 'zope.anybody'


def test_who_may_not_any_more_has_a_final_end(driver):
    def forbidden(input):
        tries.append(input)
        raise Unauthorized('delete')

    tries = []
    driver.task('forbidden', forbidden)
    jobid = driver.add('zope.jane', 'forbidden', 1)
    system = driver.add('zope.mgr', 'forbidden', 2, runAs=SYSTEM)
    driver.run()
    job = driver.job(jobid)
    assert job['status'] == 'error'
    assert 'zope.jane' in job['error'] and 'delete' in job['error']
    # The system's own is a failure like any other: it is tried again.
    assert driver.job(system)['status'] == 'queued'
    # The wait before that is random, and may be next to nothing.
    assert tries[:2] == [1, 2] and tries.count(1) == 1


def test_the_undo_log_names_the_principal(driver):
    driver.task('write', lambda service, jobid, input: setattr(
        service, 'note', input))
    driver.add('zope.jane', 'write', 1)
    driver.run()
    entries = driver.world.database.undoLog(0, 20)
    assert any('zope.jane' in str(entry['user_name'])
               and 'write job' in str(entry['description'])
               for entry in entries), entries


def test_an_application_without_authentication(driver, caplog):
    # Never as the system instead.
    registry = zope.component.getGlobalSiteManager()
    authentication = registry.getUtility(IAuthentication)
    driver.task('look', lambda input: 'ran')
    jobid = driver.add('zope.jane', 'look')
    registry.unregisterUtility(authentication, IAuthentication)
    try:
        driver.processor.processNext()
        assert driver.job(jobid)['status'] == 'queued'
        assert 'IAuthentication' in caplog.text
    finally:
        registry.registerUtility(authentication, IAuthentication)
        transaction.abort()
