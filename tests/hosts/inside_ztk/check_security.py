"""What code behind security proxies may do with a service and its jobs."""

import re
import sys
import types
from pathlib import Path

import pytest
import zope.component
from zope.configuration import xmlconfig
from zope.container.contained import Contained
from zope.interface.interfaces import IMethod
from zope.security.checker import CheckerPublic
from zope.security.checker import getCheckerForInstancesOf
from zope.security.interfaces import ForbiddenAttribute
from zope.security.interfaces import IPermission
from zope.security.interfaces import Unauthorized
from zope.security.proxy import ProxyFactory
from zope.security.proxy import removeSecurityProxy

from lovely.remotetask import TaskService
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.interfaces import ICronJob
from lovely.remotetask.interfaces import IJob
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job

REFERENCE = Path(__file__).parents[3] / 'docs' / 'reference' / 'ztk.rst'

READING = {'getAvailableTasks', 'getStatus', 'getResult', 'getError',
           'hasJobsWaiting', 'isProcessing', 'listJobs', 'listWorkers',
           'stats', 'waitFor', 'jobs', 'taskInterface', 'history',
           'historyOfTasks', 'getProgress', 'getGroup', 'listGroups',
           'getRetention', 'listLimits', 'listQueues'}
#: Its place is no secret of a visitor who sees the container.
PLACE = {'__parent__', '__name__'}
ADDING = {'add', 'addChain', 'addGroup', 'addMany', 'cancel', 'cancelGroup',
          'cancelMany', 'startJob', 'startNow'}


@pytest.fixture
def manager(driver):
    return driver.world.users[0]


@pytest.fixture
def adder(driver):
    return driver.world.users[1]


def wanted(name):
    return ('zope.View' if name in PLACE else VIEW if name in READING
            else ADD if name in ADDING else MANAGE)


def attributes(obj):
    """Everything that an object has, its class's privates included."""
    return {name for name in (*dir(type(obj)), *vars(obj))
            if not (name.startswith('__') and name.endswith('__'))
            }


def test_the_permissions_are_there(driver):
    for name in (VIEW, ADD, MANAGE):
        assert zope.component.getUtility(IPermission, name).title


def test_each_name_of_the_service_has_its_permission(driver):
    checker = getCheckerForInstancesOf(TaskService)
    assert checker.get_permissions == {
        name: wanted(name) for name in ITaskService}
    assert not checker.set_permissions


def test_each_name_of_jobs_has_its_permission(driver):
    for class_, schema in ((Job, IJob), (CronJob, ICronJob)):
        checker = getCheckerForInstancesOf(class_)
        assert checker.get_permissions == {
            name: MANAGE if name == 'update' else VIEW for name in schema}
        assert checker.set_permissions == {
            name: MANAGE for name in schema
            if not IMethod.providedBy(schema[name])
            # What is no field cannot be set.
            and not getattr(schema[name], 'readonly', True)}


@pytest.mark.parametrize('who, may', [
    ('zope.anybody', {'zope.View'}),
    ('zope.guest', {'zope.View', VIEW}),
    ('zope.jane', {'zope.View', VIEW, ADD}),
    ('zope.mgr', {'zope.View', VIEW, ADD, MANAGE})])
def test_untrusted_access_to_every_attribute(driver, who, may):
    looked = 0
    with driver.world.acting(who) as service:
        bare = removeSecurityProxy(service)
        for name in attributes(bare) | {'__parent__', '__name__'}:
            looked += 1
            if name not in ITaskService:
                with pytest.raises(ForbiddenAttribute):
                    getattr(service, name)
            elif wanted(name) in may:
                getattr(service, name)
            else:
                with pytest.raises(Unauthorized):
                    getattr(service, name)
            with pytest.raises((ForbiddenAttribute, Unauthorized)):
                setattr(service, name, None)
    assert looked > 50


@pytest.mark.parametrize('class_', [Job, CronJob])
def test_untrusted_access_to_every_attribute_of_a_job(
        driver, class_, adder, manager):
    made = class_(1, 'echo', 'x')
    schema = ICronJob if class_ is CronJob else IJob
    with driver.world.acting(adder) as service:
        made.__parent__ = removeSecurityProxy(service)
        job = ProxyFactory(made)
        for name in attributes(made) - set(schema):
            with pytest.raises(ForbiddenAttribute):
                getattr(job, name)
        for name in schema:
            if name == 'update':
                with pytest.raises(Unauthorized):
                    job.update()
                continue
            getattr(job, name)
            with pytest.raises((ForbiddenAttribute, Unauthorized)):
                setattr(job, name, None)
    with driver.world.acting(manager) as service:
        job.status = 'cancelled'
        with pytest.raises(ForbiddenAttribute):
            job.submitter = manager
    assert made.status == 'cancelled'


def test_views_can_show_what_there_is(driver, adder, manager):
    def fail(input):
        raise ValueError('broken')

    driver.task('fail', fail, retry=None)
    jobid = driver.add(adder, 'fail', 'x')
    with driver.world.acting(manager) as service:
        service.process()
        job = service.jobs[jobid]
        assert str(job.error) == 'broken'
        assert 'broken' in job.error.traceback
        assert [*service.jobs] == [*service.jobs.keys()] == [jobid]
        assert [one.id for one in service.jobs.values()] == [jobid]
        assert len(service.jobs) == 1 and jobid in service.jobs
        (listed,), cursor = service.listJobs()
        assert (listed.id, cursor) == (jobid, None)
        with pytest.raises(ForbiddenAttribute):
            service.jobs.clear()
        with pytest.raises(ForbiddenAttribute):
            del service.jobs[jobid]
    with driver.world.acting(driver.world.guest) as service:
        assert service.getError(jobid) == 'broken'
        with pytest.raises(Unauthorized):
            service.add('fail')
    assert driver.count() == 1


def test_inputs_behind_security_proxies_are_refused(driver, adder):
    # callsites.md: 0.5.2 failed at commit, far from the call.
    driver.task('take', lambda input: None)
    with driver.world.acting(adder) as service:
        for input in (service, {'context': [service]},
                      ProxyFactory(Contained())):
            with pytest.raises(InputRejected) as caught:
                service.add('take', input)
            assert str(caught.value) == (
                "the input for task 'take' contains a security proxy: pass "
                'the bare object (zope.security.proxy.removeSecurityProxy); '
                'permissions are checked again when the job runs as its '
                'submitter')
    assert driver.count() == 0
    with driver.world.acting(adder) as service:
        service.add('take', removeSecurityProxy(service))
    assert driver.count() == 1


def test_a_class_of_an_application_is_protected_alike(driver, monkeypatch):
    # As the reference shows it.
    text = REFERENCE.read_text(encoding='utf-8')
    directive, = re.findall(
        r'    :caption: configure.zcml\n\n((?:    .*\n)+)', text)
    shop = types.ModuleType('shop')
    shop.ShopService = type('ShopService', (TaskService,), {})
    monkeypatch.setitem(sys.modules, 'shop', shop)
    xmlconfig.string(
        f'''<configure xmlns="http://namespaces.zope.org/zope">
          <include package="zope.security" file="meta.zcml" />
          {directive}
        </configure>''')
    assert getCheckerForInstancesOf(shop.ShopService).get_permissions == (
        getCheckerForInstancesOf(TaskService).get_permissions)


def test_public_is_a_permission_nobody_has_here(driver):
    for class_ in (TaskService, Job, CronJob):
        checker = getCheckerForInstancesOf(class_)
        assert CheckerPublic not in checker.get_permissions.values()
        assert CheckerPublic not in checker.set_permissions.values()
