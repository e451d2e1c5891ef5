"""What Zope's host does besides what all hosts do alike."""

import xmlrpc.client
from types import SimpleNamespace

import pytest
import transaction
import ZPublisher.xmlrpc
from AccessControl import Unauthorized
from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.users import UnrestrictedUser
from AccessControl.users import nobody
from Acquisition import aq_base
from Acquisition import aq_parent
from App.config import getConfiguration
from persistent.mapping import PersistentMapping
from Testing.makerequest import makerequest
from zExceptions import BadRequest
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.globalrequest import clearRequest
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.interface import Invalid
from zope.schema.interfaces import RequiredMissing
from zope.security.management import checkPermission
from zope.security.management import getInteraction

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.host.interaction import in_site
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.processor import ProcessorRequest
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.startup import bootStrapSubscriber
from lovely.remotetask.zope import publish
from lovely.remotetask.zope import sites
from lovely.remotetask.zope.service import add_service


@pytest.fixture
def seen(driver):
    """What the task ``see`` was called with, described while it runs."""
    described = []

    def describe(doc):
        user = getSecurityManager().getUser()
        return {
            'url': doc.absolute_url(), 'parent': aq_parent(doc).getId(),
            'roles': sorted(user.getRolesInContext(doc)),
            'request': doc.REQUEST is getRequest(),
            'wrapped': aq_base(doc) is not doc}

    def see(service, jobid, input):
        described.append(describe(input['doc'][0][0])
                         if isinstance(input, dict) else describe(input))

    driver.task('see', see)
    with driver.world.acting() as service:
        site = aq_parent(service)
        site.manage_addFolder('folder')
        site.folder.manage_addFolder('doc')
        site.folder.doc.manage_setLocalRoles('jane', ['Owner'])
    return described


def doc_of(service):
    return aq_parent(service).folder.doc


@pytest.mark.parametrize('put', [
    lambda doc: doc, lambda doc: {'doc': [(doc,)], 'n': 1}])
def test_wrapped_inputs_come_back_wrapped(driver, people, seen, put):
    """Callsites: the normal case of an input in Zope and Plone."""
    with driver.world.acting(people[1]) as service:
        jobid = service.add('see', put(doc_of(service)))
    driver.run()
    assert driver.job(jobid)['error'] == 'None'
    assert seen == [{
        'url': 'https://www.example.org/pub/folder/doc', 'parent': 'folder',
        'roles': ['Authenticated', 'Owner', 'Worker'], 'request': True,
        'wrapped': True}]


def test_many_wrapped_inputs(driver, people, seen):
    with driver.world.acting(people[1]) as service:
        ids = service.addMany('see', [doc_of(service)] * 3)
    driver.run()
    assert len(ids) == len(seen) == 3


def move(folder):
    folder.getPhysicalRoot().site.manage_pasteObjects(
        folder.manage_cutObjects(['doc']))


def replace(folder):
    folder.manage_delObjects(['doc'])
    folder.manage_addFolder('doc')


@pytest.mark.parametrize('change', [
    lambda folder: folder.manage_delObjects(['doc']),
    lambda folder: aq_parent(folder).manage_delObjects(['folder']),
    lambda folder: folder.manage_renameObject('doc', 'other'),
    # Then traversal acquires it, from where it is now.
    move, replace])
def test_an_input_that_is_gone_is_a_clear_error(driver, seen, change):
    with driver.world.acting() as service:
        jobid = service.add('see', {'doc': [[doc_of(service)]]})
    with driver.world.acting() as service:
        folder = makerequest(service.getPhysicalRoot()).site.folder
        newSecurityManager(None, UnrestrictedUser('x', '', [], []))
        try:
            change(folder)
        finally:
            noSecurityManager()
    driver.run()
    job = driver.job(jobid)
    assert job['status'] == 'error'
    assert '/site/folder/doc, an input of this job' in job['error']
    assert not seen


def test_what_is_not_stored_yet_needs_a_savepoint(driver, seen):
    with driver.world.acting() as service:
        folder = aq_parent(service).folder
        folder.manage_addFolder('new')
        with pytest.raises(InputRejected, match='/site/folder/new .*'
                                                r'transaction\.savepoint\(\)'):
            service.add('see', folder.new)
        transaction.savepoint()
        jobid = service.add('see', folder.new)
    driver.run()
    assert driver.job(jobid)['error'] == 'None'
    assert seen[0]['url'].endswith('/folder/new')


class Holder:

    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize('take', [
    lambda doc: doc.REQUEST, lambda doc: {'r': doc.REQUEST},
    lambda doc: [doc.REQUEST.response],
    lambda doc: Holder(doc.REQUEST)])
def test_the_request_is_refused(driver, people, seen, take):
    with driver.world.acting(people[0]) as service:
        with pytest.raises(InputRejected) as caught:
            service.add('see', take(doc_of(service)))
        assert 'request' in str(caught.value).lower()
        assert len(service.jobs) == 0


@pytest.mark.parametrize('hide', [
    Holder, lambda doc: {doc}, lambda doc: {doc: 1},
    lambda doc: PersistentMapping(doc=doc),
    lambda doc: [Holder([doc])]])
def test_hidden_wrapped_objects_are_refused(driver, seen, hide):
    with driver.world.acting() as service:
        with pytest.raises(InputRejected, match='acquisition-wrapped'):
            service.add('see', hide(doc_of(service)))
        assert len(service.jobs) == 0


def test_wrapped_objects_without_a_place_are_refused(driver, seen):
    from Acquisition import Implicit

    class Brain(Implicit):
        pass

    with driver.world.acting() as service:
        with pytest.raises(InputRejected, match='no path leads to'):
            service.add('see', Brain().__of__(doc_of(service)))
        # Of a tree that does not lead to the application.
        folder = aq_base(aq_parent(service).folder)
        with pytest.raises(InputRejected, match='no path leads to'):
            service.add('see', folder.doc)


@pytest.mark.parametrize('give', [
    lambda doc: doc, lambda doc: [doc], Holder])
def test_a_wrapped_result_is_refused(driver, seen, give):
    driver.task('give', lambda service, jobid, input: give(doc_of(service)))
    jobid = driver.add(None, 'give')
    driver.run()
    job = driver.job(jobid)
    assert job['status'] == 'error'
    assert 'aq_base' in job['error']


def test_a_bare_object_stays_a_plain_reference(driver, seen):
    driver.task('bare', lambda input: aq_base(input) is input and input.id)
    with driver.world.acting() as service:
        jobid = service.add('bare', aq_base(doc_of(service)))
    driver.run()
    assert driver.job(jobid)['output'] == 'doc'


def test_what_a_submitter_may_not_do_ends_the_job(driver, people):
    """Not tried again, and not done by the system."""
    tried = []

    def forbidden(service, jobid, input):
        tried.append(1)
        service.restrictedTraverse('manage_access')

    driver.task('forbidden', forbidden)
    jobid = driver.add(people[1], 'forbidden')
    driver.run()
    job = driver.job(jobid)
    assert job['status'] == 'error' and len(tried) == 1
    assert people[1] in job['error'] and 'not allowed' in job['error']

    system = driver.add(None, 'forbidden')
    driver.run()
    assert driver.job(system)['status'] == 'completed'


class Title(Invalid):
    """An application's own, of a schema."""


@pytest.mark.parametrize('error, options, configured, status', [
    (Unauthorized('x'), {}, None, 'error'),
    (BadRequest('The id "a" is invalid - it is already in use.'), {}, None,
     'error'),
    (Title('too long'), {}, None, 'error'),
    (RequiredMissing('title'), {}, None, 'error'),
    (ValueError('x'), {}, None, 'queued'),
    (BadRequest('x'), {}, '', 'queued'),
    (ValueError('x'), {}, 'zExceptions.BadRequest builtins.ArithmeticError',
     'queued'),
    (ZeroDivisionError('x'), {},
     'zExceptions.BadRequest, builtins.ArithmeticError', 'error'),
    (BadRequest('x'), {'retry': RetryPolicy(retries=2)}, None, 'queued'),
], ids=repr)
def test_errors_that_cannot_heal_are_final(
        driver, monkeypatch, error, options, configured, status):
    section = {} if configured is None else {'final-errors': configured}
    monkeypatch.setattr(getConfiguration(), 'product_config', {
        'lovely.remotetask': section})

    def fails(input):
        raise error

    driver.task('fails', fails, **options)
    jobid = driver.add(None, 'fails')
    driver.run()
    # A job that is queued waits for its next attempt.
    assert driver.job(jobid)['status'] == status


def test_an_id_that_is_in_use(driver):
    driver.task('make', lambda service, jobid, input: aq_parent(
        service).manage_addFolder('tasks'))
    jobid = driver.add(None, 'make')
    driver.run()
    assert driver.job(jobid)['status'] == 'error'
    assert 'already in use' in driver.job(jobid)['error']


def acting_as(driver, user, task='look'):
    """Add a job in a request of this user."""
    driver.task(task, lambda service, jobid, input: driver.world.seen(
        service)['principal'])
    with driver.world.acting() as service:
        app = makerequest(service.getPhysicalRoot())
        setRequest(app.REQUEST)
        newSecurityManager(app.REQUEST, user(app))
        try:
            return app.site.tasks.add(task)
        finally:
            noSecurityManager()
            clearRequest()


def test_anonymous_is_somebody(driver):
    """Never the system: nobody is logged in, but there is a request."""
    jobid = acting_as(driver, lambda app: nobody)
    driver.run()
    job = driver.job(jobid)
    assert (job['submitter'], job['output']) == (
        'Anonymous User', 'Anonymous User')


def test_a_user_of_no_folder_is_not_taken_for_another(driver):
    jobid = acting_as(driver, lambda app: app.acl_users.getUserById('chief'))
    driver.run()
    assert driver.job(jobid)['status'] == 'error'
    assert 'chief' in driver.job(jobid)['error']


def test_a_name_with_spaces_and_slashes(driver):
    name = 'cn=jo do/x y'
    with driver.world.acting() as service:
        folder = service.getPhysicalRoot().acl_users
        folder.userFolderAddUser(name, 'pw', ['Manager'], [])
    jobid = acting_as(
        driver, lambda app: app.acl_users.getUserById(name).__of__(
            app.acl_users))
    driver.run()
    assert driver.job(jobid)['output'] == f'/acl_users {name}'


def test_the_interaction_is_a_job_s_and_knows_zope_s_permissions(
        driver, people):
    """Callsites: participations[0] is a ProcessorRequest."""
    def ask(service, jobid, input):
        first = getInteraction().participations[0]
        return [isinstance(first, ProcessorRequest),
                checkPermission('zope2.View', service),
                checkPermission('lovely.remotetask.Manage', service)]

    driver.task('ask', ask)
    ids = [driver.add(user, 'ask') for user in people]
    driver.run()
    assert [driver.job(jobid)['output'] for jobid in ids] == [
        [True, True, True], [True, True, False]]


@pytest.mark.parametrize('text, path, url', [
    ('https://www.example.org', ('', 'site', 'doc'),
     'https://www.example.org/site/doc'),
    ('http://example.org:8080/a/b', ('', 'doc'),
     'http://example.org:8080/a/b/doc'),
    ('http://x, /site https://y/p', ('', 'site', 'doc'), 'https://y/p/doc'),
    ('http://x, /site https://y/p', ('', 'other'), 'http://x/other'),
    ('/site https://y', ('', 'sites', 'doc'), 'http://nohost/sites/doc'),
    ('ftp://y', ('', 'doc'), 'http://nohost/doc'),
    ('', ('', 'doc'), 'http://nohost/doc'),
])
def test_public_urls(driver, monkeypatch, text, path, url):
    from lovely.remotetask.zope import urls

    monkeypatch.setattr(getConfiguration(), 'product_config', {
        'lovely.remotetask': {'base-url': text} if text else {}})
    with driver.world.acting() as service:
        request = makerequest(service.getPhysicalRoot()).REQUEST
        app = service.getPhysicalRoot()
        parents = [app]
        for name in path[1:-1]:
            if name not in app.objectIds():
                app.manage_addFolder(name)
            parents.insert(0, app[name])
        request['PARENTS'] = parents
        urls.publish(request, path[:-1])
        assert request.physicalPathToURL(path) == url


def test_restricted_code_gets_nothing(driver, people):
    """hosts.md trap 2, for scripts and templates in the ZODB."""
    from AccessControl.ZopeGuards import guarded_getattr

    with driver.world.acting(people[0]) as service:
        for name in ('add', 'jobs', 'getStatus', 'host', 'stats'):
            with pytest.raises(Unauthorized):
                guarded_getattr(service, name)
            with pytest.raises(Unauthorized):
                service.restrictedTraverse(name)
        assert guarded_getattr(service, 'zmi_icon')


def test_the_name_of_the_class_in_databases(driver):
    """It is data: it must never change."""
    from ZODB.utils import load_current

    with driver.world.acting() as service:
        record, _ = load_current(service._p_jar.db().storage, service._p_oid)
    assert b'lovely.remotetask.zope.service\nTaskService' in record
    from lovely.remotetask.zope.inputs import Wrapped
    assert Wrapped.__module__ == 'lovely.remotetask.zope.inputs'


@pytest.fixture
def autostarted(driver, monkeypatch):
    """Start what a directive of zope.conf names."""
    def start(directive):
        monkeypatch.delenv('LOVELY_REMOTETASK_AUTOSTART', raising=False)
        monkeypatch.setattr(getConfiguration(), 'product_config', {
            'lovely.remotetask': {'autostart': directive}})
        bootStrapSubscriber(SimpleNamespace(database=driver.world.database))
        assert getSite() is None

    return start


@pytest.mark.parametrize('directive, starts', [
    ('site@tasks', True), ('*@tasks', True), ('*@*', True),
    ('site@*', True), ('@tasks', False), ('nothing@tasks', False)])
def test_autostart(driver, autostarted, caplog, directive, starts):
    """hosts.md traps 3 and 8: by Zope's configuration, and its paths."""
    autostarted(directive)
    with driver.world.acting() as service:
        assert service._threadName() == 'remotetasks.site.tasks'
        assert service.isProcessing() is starts
        service.stopProcessing(wait=None)
    assert ('not found' in caplog.text) is not starts


@pytest.mark.parametrize('where, directive', [
    ('', '@own'), ('plain', 'plain@own')])
@pytest.mark.parametrize('registered', [True, False])
def test_autostart_in_the_root_and_in_folders(
        driver, autostarted, where, directive, registered):
    with driver.world.acting() as service:
        root = service.getPhysicalRoot()
        if where:
            root.manage_addFolder(where)
        own = add_service(root[where] if where else root, 'own')
        if registered:
            sites.register(own)
    autostarted(directive)
    with driver.world.acting() as service:
        root = service.getPhysicalRoot()
        own = (root[where] if where else root).own
        assert own.isProcessing()
        own.stopProcessing(wait=None)
        assert not service.isProcessing()


def test_a_service_has_the_title_and_the_name_that_it_is_given(driver):
    with driver.world.acting() as service:
        site = aq_parent(service)
        own = add_service(site, 'own', 'Ours')
        sites.register(own, 'mail')
        assert own.title == 'Ours' and site.own.getId() == 'own'
        utilities = site.getSiteManager()
        with in_site(site):
            found = utilities.getUtility(ITaskService, 'mail')
            assert found.getId() == 'own'
            assert utilities.queryUtility(ITaskService, 'own') is None


def test_autostart_of_a_site_starts_none_of_the_root(driver, autostarted):
    """Each lookup wraps a service anew, so that it is not the same object."""
    with driver.world.acting() as service:
        sites.register(add_service(service.getPhysicalRoot(), 'own'))
        # A site knows the registry of the site that it is made in.
        root = service.getPhysicalRoot()
        root.manage_addFolder('second')
        sites.register(add_service(root.second, 'mine'))
    autostarted('second@*')
    with driver.world.acting() as service:
        root = service.getPhysicalRoot()
        assert root.second.mine.isProcessing()
        root.second.mine.stopProcessing(wait=None)
        started = root.own.isProcessing()
        root.own.stopProcessing(wait=None)
        assert not started


def test_registration_without_five_localsitemanager(driver, monkeypatch):
    monkeypatch.setattr(sites, 'PersistentComponents', None)
    with driver.world.acting() as service:
        with pytest.raises(ConfigurationError, match='pip install five'):
            sites.register(service)


def test_registration_in_a_site_of_another_kind(driver):
    from Products.Five.component import enableSite
    from zope.component.persistentregistry import PersistentComponents

    with driver.world.acting() as service:
        root = service.getPhysicalRoot()
        root.manage_addFolder('old')
        enableSite(root.old)
        root.old.setSiteManager(PersistentComponents())
        with pytest.raises(ConfigurationError, match='/old has a registry'):
            sites.register(add_service(root.old))


@pytest.mark.parametrize('error, raised', [
    (ConflictError, True), (Unauthorized, True), (RuntimeError, False)])
def test_errors_of_an_xmlrpc_call(
        driver, people, monkeypatch, error, raised):
    """The publisher tries conflicts again; hosts.md trap 7."""
    def fails(*arguments, **options):
        raise error('the secret reason')

    with driver.world.acting(people[0]) as service:
        request = service.REQUEST
        request['BODY'] = xmlrpc.client.dumps(('echo',), 'add').encode()
        request.response = ZPublisher.xmlrpc.Response(request.response)
        monkeypatch.setattr(type(aq_base(service)), 'add', fails)
        verb = publish.WritingVerb(service, request, 'add')
        if raised:
            with pytest.raises(error):
                verb()
        else:
            with pytest.raises(xmlrpc.client.Fault) as caught:
                xmlrpc.client.loads(verb()._real.body)
            assert 'secret' not in caught.value.faultString
        assert transaction.isDoomed()
        transaction.abort()
