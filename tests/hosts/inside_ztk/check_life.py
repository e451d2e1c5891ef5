"""A service whose site is renamed, moved, copied or deleted, or which is."""

import re
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
import transaction
from transaction import TransactionManager
from waiting import wait_until
from zope.copypastemove.interfaces import IContainerItemRenamer
from zope.copypastemove.interfaces import IObjectCopier
from zope.copypastemove.interfaces import IObjectMover
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.peers import wakeup
from lovely.remotetask.run import threads
from lovely.remotetask.task import TaskError

HOW_TO = (Path(__file__).parents[3] / 'docs' / 'howto'
          / 'copy-move-and-delete-a-site.rst')


@contextmanager
def managing(driver):
    """The root folder; commits."""
    connection = driver.world.database.open()
    try:
        yield connection.root()['Application']
        transaction.commit()
    finally:
        transaction.abort()
        connection.close()


def copy(obj, target, name):
    return target[IObjectCopier(obj).copyTo(target, name)]


def make_site(container, name):
    site = container[name] = Folder()
    site.setSiteManager(LocalSiteManager(site))
    return site


def found_in(root, *path):
    """Where the utility of a site is: its path, or None."""
    site = root
    for name in path:
        site = site[name]
    found = site.getSiteManager().queryUtility(ITaskService, 'tasks')
    return None if found is None else '/'.join(found.host.path_of(found))


@pytest.fixture
def ask(driver):
    """``ask(*site)``: what a process finds there that has looked before."""
    manager = TransactionManager()
    running = driver.world.database.open(manager)
    assert found_in(running.root()['Application'], 'site') == 'site/tasks'

    def ask(*site):
        manager.begin()
        return found_in(running.root()['Application'], *site)

    yield ask
    manager.abort()
    running.close()


# --- where it is found -------------------------------------------------------

def test_a_site_is_renamed(driver, ask):
    with managing(driver) as root:
        IContainerItemRenamer(root).renameItem('site', 'other')
    assert ask('other') == 'other/tasks'


def test_a_site_is_moved(driver, ask):
    with managing(driver) as root:
        root['fold'] = Folder()
        IObjectMover(root['site']).moveTo(root['fold'])
    assert ask('fold', 'site') == 'fold/site/tasks'


def test_a_site_is_copied(driver, ask):
    with managing(driver) as root:
        copy(root['site'], root, 'second')
    assert ask('site') == 'site/tasks'
    assert ask('second') == 'second/tasks'
    with managing(driver) as root:
        root['second']['tasks'].add('echo')
        assert len(root['site']['tasks'].jobs) == 0
        del root['site']
    assert ask('second') == 'second/tasks'


def test_a_service_is_renamed(driver, ask):
    """It keeps the name under which it is registered: code asks for that."""
    with managing(driver) as root:
        IContainerItemRenamer(root['site']).renameItem('tasks', 'queue')
    assert ask('site') == 'site/queue'


def test_a_service_leaves_its_site(driver, ask, caplog):
    with managing(driver) as root:
        make_site(root, 'second')
        root['plain'] = Folder()
        IObjectMover(root['site']['tasks']).moveTo(root['second'])
    assert ask('site') is None
    assert ask('second') == 'second/tasks'
    with managing(driver) as root:
        IObjectMover(root['second']['tasks']).moveTo(root['plain'])
    assert ask('second') is None
    assert '/plain/tasks has left its site' in caplog.text


def test_a_service_does_not_take_the_place_of_another(driver, ask):
    with managing(driver) as root:
        second = make_site(root, 'second')
        second['mine'] = TaskService()
        second.getSiteManager().registerUtility(
            second['mine'], ITaskService, 'tasks')
        IObjectMover(root['site']['tasks']).moveTo(second)
    assert ask('second') == 'second/mine'
    assert ask('site') is None


def test_a_service_is_copied(driver, ask):
    with managing(driver) as root:
        copy(root['site']['tasks'], root['site'], 'second')
    assert ask('site') == 'site/tasks'


def test_a_service_is_deleted(driver, ask):
    with managing(driver) as root:
        del root['site']['tasks']
    assert ask('site') is None


# --- copies ------------------------------------------------------------------

def add_of_each_kind(driver):
    """A job of each status; returns: status -> id."""
    def fail(input):
        raise TaskError('broken')

    driver.task('fail', fail)
    ids = {'completed': driver.add(None, 'echo', 'x'),
           'error': driver.add(None, 'fail')}
    driver.run()
    with driver.world.acting() as service:
        ids |= {'queued': service.add('echo', 'q' * 5000, key='a'),
                'delayed': service.add('echo', delay=600),
                'start later': service.add('echo', startLater=True),
                'cronjob': service.addCronJob('echo', minute=(0,))}
        ids['processing'] = service.add('echo', priority=3)
    with driver.world.acting() as service:
        assert service.claimNextJob() == ids['processing']
    return ids


def statuses(service, ids):
    return {status: service.getStatus(jobid) for status, jobid in ids.items()}


@pytest.mark.parametrize('what', ['site', 'service'])
def test_a_copy_runs_nothing_by_itself(driver, what, caplog):
    """Each effect would come twice."""
    ids = add_of_each_kind(driver)
    with managing(driver) as root:
        if what == 'site':
            copy(root['site'], root, 'second')
        else:
            copy(root['site']['tasks'], root['site'], 'second')
    assert 'a copy of service /site/tasks is paused, and 5 jobs' in caplog.text
    over = {'completed': 'completed', 'error': 'error'}
    with managing(driver) as root:
        original = root['site']['tasks']
        assert statuses(original, ids) == {one: one for one in ids}
        assert not original.stats()['paused']
        assert original.stats()['workers'] == 2
        service = (root['second']['tasks'] if what == 'site'
                   else root['site']['second'])
        assert statuses(service, ids) == {
            one: over.get(one, 'cancelled') for one in ids}
        stats = service.stats()
        assert stats['paused'] and stats['workers'] == 0
        for status, jobid in ids.items():
            job = service.jobs[jobid]
            assert job is not original.jobs[jobid]
            if status not in over:
                assert job.error.type == 'copied' and not job.errors
        # It is a service like any other.
        service.resume()
        service.retryJob(ids['queued'])
        assert service.add('echo', key='a') == ids['queued']
        service.process()
        assert service.getStatus(ids['queued']) == 'completed'
        service.retryJob(ids['cronjob'])
        assert service.getStatus(ids['cronjob']) == 'cronjob'
    with managing(driver) as root:
        assert root['site']['tasks'].getStatus(ids['queued']) == 'queued'


def test_an_import_runs_nothing_by_itself(
        driver, caplog, tmp_path, monkeypatch):
    """No event tells of it.  As the how-to does it."""
    _, block, _ = re.findall(
        r'\.\. code-block:: python\n\n((?:   .*\n|\n)+)', HOW_TO.read_text())
    imports, resumes = textwrap.dedent(block).split('service.resume()')
    monkeypatch.chdir(tmp_path)
    ids = add_of_each_kind(driver)
    with managing(driver) as root:
        original = root['site']['tasks']
        original._p_jar.exportFile(original._p_oid, 'tasks.zexp')
        root['fold'] = Folder()
        # Its connection imports.
        transaction.savepoint()
        exec(imports, {'application': root['fold']})
    with managing(driver) as root:
        service = root['fold']['tasks']
        assert service.stats()['paused'] and not service.processNext()
        exec('service.resume()' + resumes,
             {'service': service, 'transaction': transaction})
    assert '/fold/tasks is an import: 5 jobs' in caplog.text
    over = {'completed': 'completed', 'error': 'error'}
    with managing(driver) as root:
        assert statuses(root['fold']['tasks'], ids) == {
            one: over.get(one, 'cancelled') for one in ids}
        assert statuses(root['site']['tasks'], ids) == {
            one: one for one in ids}
        assert not root['site']['tasks'].stats()['paused']


def test_what_is_moved_is_no_copy(driver):
    with driver.world.acting() as service:
        jobid = service.add('echo')
    with managing(driver) as root:
        IObjectMover(root['site']['tasks']).moveTo(root, 'tasks')
        assert root['tasks'].getStatus(jobid) == 'queued'
        assert not root['tasks'].stats()['paused']


# --- threads -----------------------------------------------------------------

@pytest.fixture
def processing(driver):
    """The service's thread runs; its threads end with the test."""
    with driver.world.acting() as service:
        service.processorArguments = {'waitTime': 0.05}
        transaction.commit()
        service.startProcessing()
        assert service.isProcessing()
    yield
    threads.end_all()


@pytest.mark.parametrize('how', ['rename', 'move'])
def test_threads_follow_a_site(driver, processing, how):
    with managing(driver) as root:
        if how == 'rename':
            IContainerItemRenamer(root).renameItem('site', 'other')
        else:
            root['fold'] = Folder()
            IObjectMover(root['site']).moveTo(root['fold'], 'other')

    def moved(root):
        return (root if how == 'rename' else root['fold'])['other']['tasks']

    with managing(driver) as root:
        assert moved(root).isProcessing()
        jobid = moved(root).add('echo', 'x')

    def done():
        with managing(driver) as root:
            return moved(root).getStatus(jobid) == 'completed'

    wait_until(done)


def test_threads_stay_where_a_move_is_undone(driver, processing):
    with managing(driver) as root:
        IContainerItemRenamer(root).renameItem('site', 'other')
        transaction.abort()
    with managing(driver) as root:
        assert root['site']['tasks'].isProcessing()


@pytest.mark.parametrize('how', ['delete', 'rename'])
def test_a_thread_that_looks_before_it_is_told_says_nothing(
        driver, processing, caplog, how):
    """Others see the commit a moment before it calls what waits for it."""
    (loop,) = threads.loops
    # One that has never been there is waited for.
    wait_until(lambda: loop.processor._seen)

    def look(success):
        wakeup.notify(driver.world.database)
        # In vain: it would end by what it has seen.
        loop.join(0.3)

    with managing(driver) as root:
        # In front of ours.
        transaction.get().addAfterCommitHook(look)
        if how == 'delete':
            del root['site']['tasks']
        else:
            IContainerItemRenamer(root).renameItem('site', 'other')
    loop.join(30)
    assert not loop.is_alive()
    assert 'there is no service' not in caplog.text
    with managing(driver) as root:
        assert how == 'delete' or root['other']['tasks'].isProcessing()


@pytest.mark.parametrize('what', ['site', 'service'])
def test_threads_end_with_their_service(driver, processing, caplog, what):
    running = list(threads.loops)
    with managing(driver) as root:
        if what == 'site':
            del root['site']
        else:
            del root['site']['tasks']
    assert running
    for thread in running:
        thread.join(30)
        assert not thread.is_alive()
    assert 'there is no service' not in caplog.text
