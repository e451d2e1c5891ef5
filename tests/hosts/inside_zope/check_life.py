"""A service whose site is renamed, moved, copied or deleted, or which is.

The same in Zope and in Plone.  What a *running* process sees is asked on a
connection that has looked before; what a *fresh* one does, in a database that
was opened anew.
"""

from contextlib import contextmanager

import pytest
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.users import UnrestrictedUser
from Acquisition import aq_base
from five.localsitemanager import make_objectmanager_site
from five.localsitemanager.registry import ComponentPathWrapper
from Testing.makerequest import makerequest
from transaction import TransactionManager
from waiting import wait_until
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import queryUtility
from zope.component.hooks import setSite
from zope.globalrequest import clearRequest
from zope.globalrequest import setRequest
from zope.interface.registry import Components

from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.zope import sites
from lovely.remotetask.zope.service import add_service


@contextmanager
def managing(driver, site='site'):
    """The application, in a request of its manager; commits."""
    connection = driver.world.database.open()
    app = makerequest(connection.root()['Application'])
    setRequest(app.REQUEST)
    newSecurityManager(None, UnrestrictedUser(
        'boss', '', ['Manager'], []).__of__(app.acl_users))
    setSite(app.unrestrictedTraverse(site) if site else None)
    try:
        yield app
        transaction.commit()
    finally:
        transaction.abort()
        noSecurityManager()
        setSite(None)
        clearRequest()
        app.REQUEST.close()
        connection.close()


def cut(container, name, target):
    return target.manage_pasteObjects(container.manage_cutObjects([name]))


def copy(container, name, target):
    result, = target.manage_pasteObjects(container.manage_copyObjects([name]))
    return result['new_id']


def found_in(app, site, name='tasks'):
    """Where the utility of a site is: its path, or None."""
    setSite(app.unrestrictedTraverse(site))
    try:
        found = queryUtility(ITaskService, name)
        return None if found is None else '/'.join(found.getPhysicalPath())
    finally:
        setSite(None)


@pytest.fixture
def ask(driver):
    """``ask(site, name)``: what a running and a fresh process find there."""
    manager = TransactionManager()
    running = driver.world.database.open(manager)
    app = makerequest(running.root()['Application'])
    assert found_in(app, 'site') == '/site/tasks'

    def ask(site, name='tasks'):
        manager.begin()
        seen = found_in(makerequest(running.root()['Application']), site,
                        name)
        file = driver.world.database.storage.getName()
        database = DB(FileStorage(file, read_only=True))
        connection = database.open(TransactionManager())
        fresh = found_in(makerequest(connection.root()['Application']), site,
                         name)
        connection.close()
        database.close()
        assert seen == fresh
        return seen

    yield ask
    app.REQUEST.close()
    manager.abort()
    running.close()


# --- the site ----------------------------------------------------------------

def test_a_site_is_renamed(driver, ask):
    with managing(driver) as app:
        app.manage_renameObject('site', 'other')
    assert ask('other') == '/other/tasks'


def test_a_site_is_cut_and_pasted(driver, ask):
    with managing(driver) as app:
        app.manage_addFolder('fold')
        cut(app, 'site', app.fold)
    assert ask('fold/site') == '/fold/site/tasks'
    with managing(driver, 'fold/site') as app:
        app.manage_renameObject('fold', 'deep')
    assert ask('deep/site') == '/deep/site/tasks'


def test_a_site_is_copied(driver, ask):
    with managing(driver) as app:
        name = copy(app, 'site', app)
    assert ask('site') == '/site/tasks'
    assert ask(name) == f'/{name}/tasks'
    with managing(driver, name) as app:
        app[name].tasks.add('echo')
        assert len(app.site.tasks.jobs) == 0
    with managing(driver) as app:
        app.manage_delObjects(['site'])
    assert ask(name) == f'/{name}/tasks'


# --- the service -------------------------------------------------------------

def test_a_service_is_renamed(driver, ask):
    """It keeps the name under which it is registered: code asks for that."""
    with managing(driver) as app:
        app.site.manage_renameObject('tasks', 'queue')
    assert ask('site') == '/site/queue'
    assert ask('site', 'queue') is None


def test_a_service_is_cut_and_pasted(driver, ask, caplog):
    with managing(driver) as app:
        app.manage_addFolder('plain')
        app.manage_addFolder('second')
        make_objectmanager_site(app.second)
        cut(app.site, 'tasks', app.second)
    assert ask('site') is None
    assert ask('second') == '/second/tasks'
    with managing(driver, 'second') as app:
        cut(app.second, 'tasks', app.plain)
    assert ask('second') is None
    assert '/plain/tasks has left its site' in caplog.text


def test_a_service_does_not_take_the_place_of_another(driver, ask):
    with managing(driver) as app:
        app.manage_addFolder('second')
        add_service(app.second, 'mine')
        sites.register(app.second.mine, 'tasks')
        cut(app.site, 'tasks', app.second)
    assert ask('second') == '/second/mine'


def test_a_service_is_copied(driver, ask):
    with managing(driver) as app:
        name = copy(app.site, 'tasks', app.site)
    assert ask('site') == '/site/tasks'
    assert ask('site', name) is None


def test_a_service_is_deleted(driver, ask):
    with managing(driver) as app:
        app.site.manage_delObjects(['tasks'])
    assert ask('site') is None
    with managing(driver) as app:
        sites.register(add_service(app.site, 'tasks'))
    assert ask('site') == '/site/tasks'


def test_a_site_is_deleted_with_its_service(driver, ask):
    with managing(driver) as app:
        app.manage_addFolder('outer')
        make_objectmanager_site(app.outer)
        app.outer.manage_addFolder('inner')
        inner = add_service(app.outer.inner)
        app.outer.getSiteManager().registerUtility(
            inner, ITaskService, 'inner')
    # In a folder of the site it has a path.
    assert ask('outer', 'inner') == '/outer/inner/tasks'
    with managing(driver) as app:
        app.manage_renameObject('outer', 'other')
    assert ask('other', 'inner') == '/other/inner/tasks'
    with managing(driver) as app:
        app.other.manage_delObjects(['inner'])
    assert ask('other', 'inner') is None


# --- what earlier versions have stored ---------------------------------------

def by_path(site, service, name='tasks'):
    """Register a service as version 1 did."""
    manager = site.getSiteManager()
    manager.unregisterUtility(provided=ITaskService, name=name)
    manager.registerUtility(service, ITaskService, name)
    stored = [one.component for one
              in Components.registeredUtilities(aq_base(manager))
              if (one.provided, one.name) == (ITaskService, name)]
    assert isinstance(stored[0], ComponentPathWrapper)
    return stored[0]


def test_the_upgrade(driver, ask):
    with managing(driver) as app:
        service = add_service(app.site, 'gone')
        gone = by_path(app.site, service, 'gone')
        # Renamed and deleted while a release ran that does not follow.
        by_path(app.site, app.site.tasks).path = ('', 'former', 'tasks')
        gone.component = aq_base(service)
        app.site._delOb('gone')
        app.site._objects = tuple(
            one for one in app.site._objects if one['id'] != 'gone'
            ) if '_objects' in aq_base(app.site).__dict__ else (
                app.site._objects)
        assert sites.upgrade(app.site) == ['tasks']
    assert ask('site') == '/site/tasks'
    assert ask('site', 'gone') is None
    with managing(driver) as app:
        app.manage_renameObject('site', 'other')
    assert ask('other') == '/other/tasks'


def test_the_upgrade_keeps_what_is_in_a_folder(driver, ask):
    with managing(driver) as app:
        app.manage_addFolder('second')
        make_objectmanager_site(app.second)
        app.second.manage_addFolder('inner')
        by_path(app.second, add_service(app.second.inner), 'inner')
        assert sites.upgrade(app.second) == ['inner']
        assert sites.upgrade(app.second) == ['inner']
    assert ask('second', 'inner') == '/second/inner/tasks'


# --- threads -----------------------------------------------------------------

@pytest.fixture
def processing(driver):
    """The service's thread runs; returns whether it does at a path."""
    with driver.world.acting() as service:
        service.processorArguments = {'waitTime': 0.05}
        transaction.commit()
        service.startProcessing()
        assert service.isProcessing()

    def processing(path):
        with managing(driver, None) as app:
            return app.unrestrictedTraverse(path).isProcessing()

    yield processing
    with managing(driver, None) as app:
        for site in ('site', 'other'):
            if site in app.objectIds() and 'tasks' in app[site].objectIds():
                app[site].tasks.stopProcessing(wait=None)


def test_threads_follow_a_site(driver, processing):
    with managing(driver) as app:
        app.manage_renameObject('site', 'other')
    assert processing('other/tasks')
    with managing(driver, 'other') as app:
        jobid = app.other.tasks.add('echo', 'x')

    def done():
        with managing(driver, 'other') as app:
            return app.other.tasks.getStatus(jobid) == 'completed'

    wait_until(done)


def test_threads_stay_where_a_move_is_undone(driver, processing):
    with managing(driver) as app:
        app.manage_renameObject('site', 'other')
        transaction.abort()
    assert processing('site/tasks')


def test_threads_end_with_their_service(driver, processing, caplog):
    from lovely.remotetask.run import threads

    with managing(driver) as app:
        running = list(threads.loops)
        app.site.manage_delObjects(['tasks'])
    assert running
    for thread in running:
        thread.join(30)
        assert not thread.is_alive()
    assert 'there is no service' not in caplog.text
