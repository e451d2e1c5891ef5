"""Sites in folders, and services that come and go while the server runs."""

import threading
import time

import pytest
import transaction
from ZODB import DB
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask import settings
from lovely.remotetask.interfaces import ITaskService

DEADLINE = 20


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(settings, 'SERVICES_SECONDS', 0.05)


def add(site, name):
    service = site[name] = TaskService()
    site.getSiteManager().registerUtility(service, ITaskService, name)
    transaction.commit()
    return service


@pytest.fixture
def deep(root):
    """A site in a site in a folder; both have services."""
    folder = root['fold'] = Folder()
    for parent, name in ((folder, 'outer'), (folder, 'deep')):
        site = parent[name] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        add(site, 'tasks')
    inner = folder['deep']['inner'] = Folder()
    inner.setSiteManager(LocalSiteManager(inner))
    add(inner, 'own')
    return folder['deep']


def until(running, *names):
    wait_for(lambda: running() == [f'remotetasks.{name}' for name in names])


def wait_for(condition):
    deadline, pause = time.monotonic() + DEADLINE, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


@pytest.mark.parametrize(('text', 'names', 'records'), [
    ('fold/deep@tasks', ['fold.deep.tasks'],
     ['INFO service tasks on site fold/deep started']),
    ('/fold/deep/inner@own', ['fold.deep.inner.own'],
     ['INFO service own on site /fold/deep/inner started']),
    # Its own, not those of the sites around it.
    ('fold/deep/inner@*', ['fold.deep.inner.own'],
     ['INFO service own on site fold/deep/inner started']),
    ('fold/missing@tasks', [], ['ERROR site fold/missing not found']),
    ('rootTasks/deep@tasks', [], ['ERROR site rootTasks/deep not found']),
    ('fold/deep@missing', [],
     ['ERROR service missing on site fold/deep not found']),
])
def test_a_site_at_any_depth(deep, start, running, text, names, records):
    assert start(text) == records
    assert running() == [f'remotetasks.{name}' for name in names]


@pytest.mark.parametrize('text', ['fold/deep@late', 'fold/deep@*'])
def test_a_service_that_is_added_later(deep, soon, start, running, log, text):
    start(text)
    before = [name.removeprefix('remotetasks.') for name in running()]
    add(deep, 'late')
    until(running, 'fold.deep.late', *before)
    wait_for(lambda: (
        'INFO service late on site fold/deep started' in log))
    # What is still missing is told once, at the start.
    assert len([line for line in log if line.startswith('ERROR')]) == (
        text == 'fold/deep@late')


def test_a_site_that_is_added_later(root, soon, start, running):
    start('*@one')
    site = root['site3'] = Folder()
    site.setSiteManager(LocalSiteManager(site))
    add(site, 'one')
    until(running, 'site1.one', 'site2.one', 'site3.one')


def test_one_that_was_stopped_stays_so(root, soon, start, running):
    start('*@one')
    root['site1']['one'].stopProcessing(wait=None)
    add(root, 'one')        # a later look has been made once this runs
    until(running, 'one', 'site2.one')


def test_one_that_comes_back(root, soon, start, running, monkeypatch, log):
    monkeypatch.setattr(settings, 'SAFETY_SECONDS', 0.05)
    start('@rootTasks, @new')
    service = root['rootTasks']
    jobid = service.add('echo')
    transaction.commit()
    service.waitFor(jobid, DEADLINE)    # its processor has found it
    transaction.abort()
    del root['rootTasks']
    transaction.commit()
    until(running)
    add(root, 'new')        # a look has been made once this runs
    until(running, 'new')
    root['rootTasks'] = service
    transaction.commit()
    until(running, 'new', 'rootTasks')
    assert not [line for line in log if 'could not be started' in line]


def test_no_look_at_a_database_that_is_closed(application, root, soon, start,
                                              log):
    start('@rootTasks')
    root['rootTasks'].stopProcessing(wait=None)
    del log[:]
    transaction.abort()
    application.connection.close()
    application.db.close()
    for thread in threading.enumerate():
        if thread.name == 'remotetask-lookout':
            thread.join(DEADLINE)
    assert 'remotetask-lookout' not in [
        thread.name for thread in threading.enumerate()]
    assert not [line for line in log if 'looked for' in line]
    application.db = DB(None)
    application.connection = application.db.open()
