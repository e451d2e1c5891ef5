"""A service whose site is renamed, moved, copied or deleted, or which is.

The same in Zope and in Plone.  What a *running* process sees is asked on a
connection that has looked before; what a *fresh* one does, in a database that
was opened anew.
"""

import re
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.users import UnrestrictedUser
from Acquisition import aq_base
from App.Undo import UndoSupport
from five.localsitemanager import make_objectmanager_site
from five.localsitemanager.registry import ComponentPathWrapper
from OFS.Folder import Folder
from OFS.ObjectManager import ObjectManager
from Testing.makerequest import makerequest
from transaction import TransactionManager
from waiting import wait_until
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import load_current
from zope.component import queryUtility
from zope.component.hooks import setSite
from zope.globalrequest import clearRequest
from zope.globalrequest import setRequest
from zope.interface.registry import Components

from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.web import presenter
from lovely.remotetask.zope import sites
from lovely.remotetask.zope.copies import keeping_jobs
from lovely.remotetask.zope.service import add_service

HOW_TO = (Path(__file__).parents[3] / 'docs' / 'howto'
          / 'copy-move-and-delete-a-site.rst')


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


# --- copies and exports ------------------------------------------------------

def add_of_each_kind(driver):
    """A job of each status; returns: status -> id."""
    def fail(input):
        raise TaskError('broken')

    driver.task('fail', fail)
    ids = {'completed': driver.add(None, 'echo', 'x'),
           'error': driver.add(None, 'fail')}
    driver.run()
    with driver.world.acting() as service:
        ids |= {'queued': service.add('echo', 'q', key='a'),
                'delayed': service.add('echo', delay=600),
                'start later': service.add('echo', startLater=True),
                'cronjob': service.addCronJob('echo', minute=(0,))}
        ids['processing'] = service.add('echo', priority=3)
    with driver.world.acting() as service:
        assert service.claimNextJob() == ids['processing']
    return ids


def statuses(service, ids):
    return {status: service.getStatus(jobid) for status, jobid in ids.items()}


def check_copy(service, ids):
    over = {'completed': 'completed', 'error': 'error'}
    assert statuses(service, ids) == {
        status: over.get(status, 'cancelled') for status in ids}
    stats = service.stats()
    assert stats['paused'] and stats['workers'] == 0
    for status, jobid in ids.items():
        if status not in over:
            job = service.jobs[jobid]
            assert job.error.type == 'copied' and not job.errors
            assert f'job {jobid} was not over when' in service.getError(jobid)
    assert service.getError(ids['error']) == 'broken'
    # It is a service like any other.
    service.resume()
    service.retryJob(ids['queued'])
    assert service.add('echo', key='a') == ids['queued']
    service.process()
    assert service.getStatus(ids['queued']) == 'completed'
    assert service.getError(ids['queued']) == 'None'
    service.retryJob(ids['cronjob'])
    assert service.getStatus(ids['cronjob']) == 'cronjob'


@pytest.mark.parametrize('what', ['site', 'service'])
def test_a_copy_runs_nothing_by_itself(driver, what, caplog):
    """Each effect would come twice."""
    ids = add_of_each_kind(driver)
    with managing(driver) as app:
        name = (copy(app, 'site', app) if what == 'site'
                else copy(app.site, 'tasks', app.site))
    path = f'{name}/tasks' if what == 'site' else f'site/{name}'
    assert f'/{path} is a copy: it is paused, and 5 jobs' in caplog.text
    with managing(driver) as app:
        assert statuses(app.site.tasks, ids) == {one: one for one in ids}
        assert not app.site.tasks.stats()['paused']
        check_copy(app.unrestrictedTraverse(path), ids)


def export(service):
    file = service._p_jar.exportFile(service._p_oid)
    file.seek(0)
    return file.read()


def test_an_import_runs_nothing_by_itself(driver, tmp_path):
    ids = add_of_each_kind(driver)
    file = tmp_path / 'tasks.zexp'
    with managing(driver) as app:
        file.write_bytes(export(app.site.tasks))
        app._setObject('fold', Folder('fold'))
        app.fold._importObjectFromFile(str(file), verify=0)
    with managing(driver) as app:
        check_copy(app.fold.tasks, ids)


def test_an_importer_who_says_otherwise(driver):
    ids = add_of_each_kind(driver)
    with managing(driver) as app, keeping_jobs():
        name = copy(app.site, 'tasks', app.site)
    with managing(driver) as app:
        service = app.site[name]
        assert service.stats()['paused']
        # What ran has no worker here, and is run again.
        assert statuses(service, ids) == {
            one: 'queued' if one == 'processing' else one for one in ids}


def test_what_is_moved_by_hand_is_no_copy(driver):
    """By removing it and adding it again, as scripts do."""
    with managing(driver) as app:
        jobid = app.site.tasks.add('echo')
        transaction.commit()
        service = aq_base(app.site.tasks)
        app.site._delObject('tasks')
        app.site._setObject('tasks', service)
    with managing(driver) as app:
        assert app.site.tasks.getStatus(jobid) == 'queued'
        assert not app.site.tasks.stats()['paused']


def test_an_export_does_not_take_along_what_was_the_input_of_a_job(driver):
    with managing(driver) as app:
        app.site._setObject('doc', Folder('doc'))
        app.site.doc.text = 'x' * 1_000_000
    driver.task('path', lambda doc: '/'.join(doc.getPhysicalPath()))

    def fail(doc):
        raise TaskError('broken')

    driver.task('fail', fail)
    with managing(driver) as app:
        ids = [app.site.tasks.add('path', app.site),
               app.site.tasks.add('path', {'docs': [app.site.doc]}, delay=60),
               app.site.tasks.add('fail', app.site.doc)]
    driver.run()
    with managing(driver) as app:
        service = app.site.tasks
        assert [service.getStatus(one) for one in ids] == [
            'completed', 'delayed', 'error']
        size = len(export(service))
        assert size < 100_000, size
        # What is shown of a job says what it was about.
        assert presenter.job(service, ids[1])['input'] == {
            'docs': ['/site/doc (OFS.Folder.Folder)']}


def test_a_job_that_failed_still_has_its_input(driver):
    with managing(driver) as app:
        app.site._setObject('doc', Folder('doc'))
    broken = [1]

    def path(doc):
        if broken:
            raise TaskError('not yet')
        return '/'.join(doc.getPhysicalPath())

    driver.task('path', path)
    with managing(driver) as app:
        jobid = app.site.tasks.add('path', app.site.doc)
    driver.run()
    assert driver.job(jobid)['status'] == 'error'
    broken.clear()
    with managing(driver) as app:
        app.site.tasks.retryJob(jobid)
    driver.run()
    assert driver.job(jobid)['output'] == '/site/doc'


def test_deleted_content_can_be_packed_away(driver):
    with managing(driver) as app:
        app.site._setObject('doc', Folder('doc'))
        transaction.savepoint()
        oid = app.site.doc._p_oid
        app.site.tasks.add('echo', app.site.doc)
    with managing(driver) as app:
        app.site.manage_delObjects(['doc'])
    database = driver.world.database
    database.pack(time.time() + 1)
    with pytest.raises(POSKeyError):
        load_current(database.storage, oid)


def test_the_how_to(driver, tmp_path, monkeypatch):
    """A site moves to another database, and an earlier one is upgraded."""
    blocks = [textwrap.dedent(block) for block in re.findall(
        r'\.\. code-block:: python\n\n((?:   .*\n|\n)+)',
        HOW_TO.read_text())]
    # The one between is for the ZTK.
    move, _, upgrade = blocks
    folder = tmp_path / 'import'
    folder.mkdir()
    # Zope's folder for imports belongs to all tests.
    monkeypatch.setattr(ObjectManager, '_getImportPaths',
                        lambda self: [str(tmp_path)])
    with managing(driver) as app:
        jobid = app.site.tasks.add('echo')
        by_path(app.site, app.site.tasks)
        exec(upgrade, {'app': app})
    with managing(driver) as app:
        app.manage_renameObject('site', 'Plone')
    with managing(driver, 'Plone') as app:
        with open(folder / 'Plone.zexp', 'wb') as file:
            app._p_jar.exportFile(app.Plone._p_oid, file)
        app.manage_delObjects(['Plone'])
    with managing(driver, None) as app:
        exec(move, {'app': app})
    with managing(driver, 'Plone') as app:
        assert app.Plone.tasks.getStatus(jobid) == 'queued'
        assert not app.Plone.tasks.stats()['paused']
        assert found_in(app, 'Plone') == '/Plone/tasks'


# --- the Undo page -----------------------------------------------------------

def test_the_undo_page(driver, people):
    """What workers do has a name there, and the user of the job."""
    def listed():
        with managing(driver, None) as app:
            return {one['id'].split()[0]: one for one
                    in UndoSupport.undoable_transactions(app, 0, 1000, 20)}

    known = listed()
    with driver.world.acting(people[1]) as service:
        jobid = service.add('echo')
        transaction.get().note('a request')
    driver.run()
    new = [(one['description'], one['user_name'])
           for tid, one in listed().items() if tid not in known]
    assert ('remotetask claim', '') in new
    assert (f'echo job {jobid}', people[1]) in new
    assert all(description for description, _ in new)


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


def test_nothing_is_loaded_once_the_move_is_committed(driver, processing):
    """What is loaded then may be newer, and belongs to no transaction."""
    with managing(driver) as app:
        connection, service = app._p_jar, aq_base(app.site.tasks)
        # Before the hook of the move.
        transaction.get().addAfterCommitHook(
            lambda success: connection.cacheMinimize())
        app.manage_renameObject('site', 'other')
        transaction.commit()
        assert service._p_changed is None
    assert processing('other/tasks')


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
