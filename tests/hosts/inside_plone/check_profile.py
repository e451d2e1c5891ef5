"""What the profiles do to a site; what a job in a site is to Plone's eyes."""

import pytest
import transaction
from Acquisition import aq_base
from Acquisition import aq_parent
from OFS.Folder import Folder
from plone import api
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import setSite
from zope.globalrequest import getRequest
from zope.interface.registry import Components

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.zope import sites
from lovely.remotetask.zope.service import TaskService
from lovely.remotetask.zope.service import add_service


@pytest.fixture
def site(driver):
    """The site of the world, which has the add-on, for its manager."""
    with driver.world._manager() as app:
        setSite(app.site)
        yield app.site
        transaction.abort()


def install(site):
    site.portal_setup.runAllImportStepsFromProfile(
        'profile-lovely.remotetask:default')


def uninstall(site):
    site.portal_setup.runAllImportStepsFromProfile(
        'profile-lovely.remotetask:uninstall')


def utilities(site):
    return [registration.component for registration
            in site.getSiteManager().registeredUtilities()
            if registration.provided is ITaskService]


def test_installing_again_changes_nothing(site):
    service = site.tasks
    job = service.add('echo')
    service.manage_permission('Remote tasks: View', ['Member'], 0)
    transaction.savepoint()
    install(site)
    assert site.tasks._p_oid == service._p_oid
    assert job in site.tasks.jobs
    assert [role['name'] for role in site.tasks.rolesOfPermission(
        'Remote tasks: View') if role['selected']] == ['Member']
    assert len(utilities(site)) == 1


def test_who_may_do_what_by_default(site):
    def roles(permission, obj=site):
        return {role['name'] for role in obj.rolesOfPermission(permission)
                if role['selected']}

    managers = {'Manager', 'Site Administrator'}
    assert roles('Remote tasks: Manage') == managers
    assert roles('Remote tasks: Add services') == managers
    # The world lets members add jobs, too.
    assert roles('Remote tasks: Add jobs') >= {'Member'}
    assert roles('Remote tasks: View') == managers


def test_an_item_of_that_id_is_left_alone(site):
    uninstall(site)
    site._setObject('tasks', Folder('tasks'))
    with pytest.raises(ConfigurationError, match='rename the item'):
        install(site)


def test_a_service_that_was_there_is_taken(site):
    uninstall(site)
    mine = add_service(site, 'tasks', 'mine')
    install(site)
    assert site.tasks.title == 'mine'
    assert getUtility(ITaskService, 'tasks')._p_oid == mine._p_oid
    assert isinstance(utilities(site)[0], TaskService)


def test_another_registration_of_that_name_stays(site):
    uninstall(site)
    other = add_service(site, 'others')
    site.getSiteManager().registerUtility(other, ITaskService, 'tasks')
    install(site)
    assert getUtility(ITaskService, 'tasks').getId() == 'others'
    uninstall(site)
    assert getUtility(ITaskService, 'tasks').getId() == 'others'
    assert 'tasks' not in site.objectIds()


@pytest.mark.parametrize('options, named', [
    ({}, '1 queued'), ({'startLater': True}, '1 start later'),
    ({'delay': 60}, '1 scheduled'),
])
def test_jobs_that_are_still_to_run_keep_the_service(site, options, named):
    job = site.tasks.add('echo', **options)
    with pytest.raises(ConfigurationError, match=named):
        uninstall(site)
    assert job in site.tasks.jobs and utilities(site)
    site.tasks.cancel(job)
    uninstall(site)
    assert 'tasks' not in site.objectIds() and not utilities(site)
    assert queryUtility(ITaskService, 'tasks') is None


def test_uninstalled_and_installed_once_more(site):
    uninstall(site)
    uninstall(site)
    install(site)
    assert 'echo' in getUtility(ITaskService, 'tasks').getAvailableTasks()


def test_the_upgrade_from_version_1(site):
    """It registered the service by path, and knew no permission to look."""
    manager = site.getSiteManager()
    manager.unregisterUtility(provided=ITaskService, name='tasks')
    manager.registerUtility(site.tasks, ITaskService, 'tasks')
    site.manage_permission('Remote tasks: View', ['Manager'], 1)
    profile = 'lovely.remotetask:default'
    setup = site.portal_setup
    setup.setLastVersionForProfile(profile, '1')
    setup.upgradeProfile(profile)
    assert setup.getLastVersionForProfile(profile) == ('3',)
    assert sites.registered(manager) == {'tasks': aq_base(site.tasks)}
    stored, = (one.component for one
               in Components.registeredUtilities(aq_base(manager))
               if one.provided is ITaskService)
    assert stored is aq_base(site.tasks)
    assert 'Site Administrator' in [
        role['name'] for role in site.rolesOfPermission('Remote tasks: View')
        if role['selected']]


def entries(site):
    """What the add-on has in Site Setup: {id: address}."""
    return {entry.getId(): entry.getActionExpression()
            for entry in site.portal_controlpanel.listActions()
            if entry.getAppId() == 'lovely.remotetask'}


def test_the_upgrade_from_version_2(site):
    """Its jobs were in no list of Site Setup."""
    site.portal_controlpanel.unregisterConfiglet('remotetasks')
    assert entries(site) == {}
    profile = 'lovely.remotetask:default'
    setup = site.portal_setup
    setup.setLastVersionForProfile(profile, '2')
    setup.upgradeProfile(profile)
    assert setup.getLastVersionForProfile(profile) == ('3',)
    assert entries(site) == {
        'remotetasks': 'string:${portal_url}/tasks/dashboard/'}


def test_the_entry_in_site_setup(site):
    assert len(entries(site)) == 1
    install(site)
    assert len(entries(site)) == 1
    uninstall(site)
    assert entries(site) == {}


def test_each_job_has_a_request_of_its_own(driver, people):
    """What plone.memoize keeps with a request does not go on to the next."""
    seen = []

    def look(input):
        request = getRequest()
        seen.append((request, hasattr(request, 'kept'),
                     request.get('LANGUAGE'), api.portal.get().getId(),
                     api.user.get_current().getId()))
        request.kept = True

    driver.task('remember', look)
    for user in people:
        driver.add(user, 'remember')
    driver.run()
    assert [one[1:] for one in seen] == [
        (False, 'en', 'site', 'chief'), (False, 'en', 'site', 'jane')]
    assert seen[0][0] is not seen[1][0]


def test_a_transition_that_is_not_there_is_final(driver):
    def publish(service, jobid, input):
        site = aq_parent(service)
        site.portal_workflow.doActionFor(site, 'no such transition')

    driver.task('publish', publish)
    jobid = driver.add(None, 'publish')
    driver.run()
    job = driver.job(jobid)
    assert job['status'] == 'error', job
    assert 'workflow' in job['error'].lower()
