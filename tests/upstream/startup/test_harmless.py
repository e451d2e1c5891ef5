"""The start-up harms nothing: the caller, the database, the application."""

import pytest
import transaction
from transaction.interfaces import NoTransaction
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.processlifetime import DatabaseOpenedWithRoot

from lovely.remotetask import TaskService
from lovely.remotetask import service as service_module
from lovely.remotetask.run import startup


@pytest.mark.parametrize('entry', [
    'noat', 'a@b@c', '*', '@@', 'site1 one'])
def test_malformed_entries_are_logged_with_what_is_wrong(
        entry, start, running):
    found = start(f'{entry}, @rootTasks')
    (wrong,) = (line for line in found if line.startswith('ERROR'))
    assert repr(entry) in wrong and 'form site@service' in wrong
    assert running() == ['remotetasks.rootTasks']


@pytest.mark.parametrize('value, starts', [
    ('0', False), (' 0 ', False), ('1', True), ('', True)])
def test_the_off_switch(value, starts, start, running, monkeypatch):
    monkeypatch.setenv('LOVELY_REMOTETASK_AUTOSTART', value)
    start('@rootTasks')
    assert running() == (['remotetasks.rootTasks'] if starts else [])


def test_switched_off_it_says_nothing(start, log, monkeypatch):
    monkeypatch.setenv('LOVELY_REMOTETASK_AUTOSTART', '0')
    assert start('@rootTasks') == [] and log == []


def opened(db):
    return [info for info in db.connectionDebugInfo()
            if info['opened'] is not None]


def test_connections_are_closed(application, root, start, monkeypatch):
    # The threads would have connections of their own.
    monkeypatch.setattr(TaskService, 'startProcessing', lambda self: None)
    before = len(opened(application.db))
    for text in ('@rootTasks', '*@*', 'missing@*', 'noat', ''):
        start(text)
        assert len(opened(application.db)) == before, text


def test_connections_are_closed_after_a_failure(
        application, root, start, monkeypatch):
    def broken(self):
        raise RuntimeError('broken')

    monkeypatch.setattr(TaskService, 'isProcessing', broken)
    before = len(opened(application.db))
    start('*@*')
    assert len(opened(application.db)) == before


def test_the_calling_thread_s_transaction_is_untouched(
        application, root, start):
    transaction.begin()
    root['pending'] = type(root)()
    current = transaction.get()
    joined = list(current._resources)
    start('*@*, missing@*, noat')
    assert transaction.get() is current
    assert current._resources == joined
    assert current.status == 'Active'
    assert 'pending' in root
    transaction.commit()
    again, close = application.fresh(root)
    assert 'pending' in again
    close()


def test_no_transaction_is_begun_in_explicit_mode(root, start):
    transaction.abort()
    transaction.manager.explicit = True
    try:
        start('@rootTasks')
        with pytest.raises(NoTransaction):
            transaction.manager.get()
    finally:
        transaction.manager.explicit = False


def test_nothing_is_written(application, root, start, monkeypatch):
    monkeypatch.setattr(TaskService, 'startProcessing', lambda self: None)
    before = application.db.lastTransaction()
    start('*@*')
    assert application.db.lastTransaction() == before


def test_a_broken_service_does_not_keep_others_from_starting(
        root, start, running, monkeypatch):
    original = TaskService.startProcessing

    def start_processing(self):
        if self.__name__ == 'shared':
            raise RuntimeError('broken')
        original(self)

    monkeypatch.setattr(TaskService, 'startProcessing', start_processing)
    found = start('@shared, site1@one, *@*')
    assert 'remotetasks.site1.one' in running()
    # One broken service of a star takes only itself.
    assert 'remotetasks.rootTasks' in running()
    assert 'remotetasks.site2.one' in running()
    assert [line for line in found if line.startswith('ERROR')]


def test_a_factory_that_fails_is_no_crash(root, start, running):
    root['rootTasks'].processorArguments = {'nonsense': 1}
    transaction.commit()
    found = start('@rootTasks, site1@one')
    assert [line for line in found if line.startswith('ERROR')]
    assert running() == ['remotetasks.site1.one']


@pytest.mark.parametrize('text', ['@tasks', '*@*', 'site@*', 'site@x'])
def test_a_database_without_an_application(
        text, components, autostart, log):
    db = DB(MappingStorage())
    autostart(text)
    startup.bootStrapSubscriber(DatabaseOpenedWithRoot(db))
    assert opened(db) == []
    assert 'Traceback' not in ''.join(log)
    db.close()


def test_the_names_of_0_5_2():
    """ZCML files and set-ups name them in the module of the service."""
    for name in ('bootStrapSubscriber', 'getAutostartServiceNames'):
        assert getattr(service_module, name) is getattr(startup, name)
