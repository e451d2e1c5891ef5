"""All forms of a directive, and what each starts and logs."""

import threading

import pytest
import transaction
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.service import getAutostartServiceNames
from lovely.remotetask.task import SimpleTask

DEADLINE = 20

DEFAULT = 'remotetasks.site1.++etc++site.default'


def info(service, site):
    return f'INFO service {service} on site {site} started'


def check(found, records):
    """Are these the records?  Those of a set may come in any order."""
    if isinstance(records, set):
        assert set(found) == records and len(found) == len(records)
    else:
        assert found == records


@pytest.mark.parametrize('text, threads, records', [
    ('@rootTasks', ['rootTasks'], [info('rootTasks', 'root')]),
    ('site1@one', ['site1.one'], [info('one', 'site1')]),
    ('site1@two', ['site1.++etc++site.default.two'],
     [info('two', 'site1')]),
    # Found from the site, though it is the root's.
    ('site1@rootTasks', ['rootTasks'], [info('rootTasks', 'site1')]),
    # The site's own comes first.
    ('site1@shared', ['site1.shared'], [info('shared', 'site1')]),
    # The site's own, but not what the root has.
    ('site1@*',
     ['site1.++etc++site.default.two', 'site1.one', 'site1.shared'],
     {info('one', 'site1'), info('two', 'site1'),
      info('shared', 'site1')}),
    ('site2@*', ['site2.one'], [info('one', 'site2')]),
    ('@*', ['rootTasks', 'shared'],
     {info('rootTasks', 'root'), info('shared', 'root')}),
    # The root first, then the sites in order; what runs already, silently
    # not again.
    ('*@one', ['site1.one', 'site2.one'],
     [info('one', 'site1'), info('one', 'site2')]),
    ('*@rootTasks', ['rootTasks'], [info('rootTasks', 'root')]),
    ('*@shared', ['shared', 'site1.shared'],
     [info('shared', 'root'), info('shared', 'site1')]),
    ('*@*', ['rootTasks', 'shared', 'site1.++etc++site.default.two',
             'site1.one', 'site1.shared', 'site2.one'],
     {info('rootTasks', 'root'), info('shared', 'root'),
      info('one', 'site1'), info('two', 'site1'), info('shared', 'site1'),
      info('one', 'site2')}),
    ('site1@one, @rootTasks', ['rootTasks', 'site1.one'],
     [info('one', 'site1'), info('rootTasks', 'root')]),
    ('', [], []),
    (' , ', [], []),
    # Not found.
    ('missing@one', [], ['ERROR site missing not found']),
    ('@missing', [], ['ERROR service missing on site root not found']),
    ('site1@missing', [],
     ['ERROR service missing on site site1 not found']),
    ('*@missing', [],
     ['WARNING no services started by directive *@missing']),
    ('missing@*', [],
     ['ERROR site missing not found',
      'WARNING no services started by directive missing@*']),
])
def test_directive(text, threads, records, start, running):
    found = start(text)
    assert running() == [f'remotetasks.{name}' for name in threads]
    check(found, records)


@pytest.mark.parametrize('text, threads, records', [
    # 0.5.2 asked for the utility of this name, and the name was ''.
    ('@', ['mail'], [info('', 'root')]),
    ('site1@', ['mail'], [info('', 'site1')]),
    ('site2@', ['site2.own'], [info('', 'site2')]),
    ('*@', ['mail', 'site2.own'], [info('', 'root'), info('', 'site2')]),
    ('site2@*', ['site2.one', 'site2.own'],
     {info('one', 'site2'), info('', 'site2')}),
])
def test_services_that_are_registered_without_a_name(
        text, threads, records, root, start, running):
    for site, name in ((root, 'mail'), (root['site2'], 'own')):
        service = site[name] = TaskService()
        site.getSiteManager().registerUtility(service, ITaskService)
    transaction.commit()
    found = start(text)
    assert running() == [f'remotetasks.{name}' for name in threads]
    check(found, records)


@pytest.mark.parametrize('text, record', [
    ('@', 'ERROR service  on site root not found'),
    ('site1@', 'ERROR service  on site site1 not found'),
    ('missing@', 'ERROR site missing not found'),
    ('*@', 'WARNING no services started by directive *@'),
])
def test_no_service_is_registered_without_a_name(
        text, record, start, running):
    assert start(text) == [record]
    assert running() == []


def test_star_star_visits_the_root_first_and_the_sites_in_order(start):
    sites = [line.split(' on site ')[1].split()[0] for line in start('*@*')]
    assert sites == sorted(sites, key=['root', 'site1', 'site2'].index)


def test_running_services_are_skipped_silently_under_star(start, running):
    start('site1@one')
    assert start('*@one') == [info('one', 'site2')]
    # Only a star that started nothing warns.
    assert start() == ['WARNING no services started by directive *@one']
    assert running() == ['remotetasks.site1.one', 'remotetasks.site2.one']


def test_a_running_service_that_is_named_is_not_started_twice(
        start, running):
    start('site1@one')
    assert info('one', 'site1') not in start()
    assert running() == ['remotetasks.site1.one']


def test_the_names_as_they_are_written(autostart):
    autostart(' site1@one,@two , *@* ')
    assert getAutostartServiceNames() == ['site1@one', '@two', '*@*']


def test_no_section_no_names():
    assert getAutostartServiceNames() == []


def test_started_services_run_jobs(root, start, wait_for):
    ran = threading.Event()
    site = root['site1']
    # A task that only this site knows.
    site.getSiteManager().registerUtility(
        SimpleTask(note_site), ITask, 'note')
    transaction.commit()
    from zope.component.hooks import setSite

    start('site1@two')
    service = site.getSiteManager()['default']['two']
    setSite(site)
    jobid = service.add('note')
    setSite(None)
    transaction.commit()
    wait_for(service, jobid, 'completed')
    assert service.getResult(jobid) == 'site1'
    assert not ran.is_set()


def note_site(input):
    """Stored with its task, so it has to be found by its name."""
    from zope.component.hooks import getSite

    return getSite().__name__


def test_a_root_that_is_no_site_uses_the_global_registry(
        application, autostart, running):
    from zope.processlifetime import DatabaseOpenedWithRoot

    from lovely.remotetask.service import bootStrapSubscriber

    application.service('tasks')
    autostart('@tasks')
    bootStrapSubscriber(DatabaseOpenedWithRoot(application.db))
    assert running() == ['remotetasks.tasks']


def test_an_unlocated_service_is_not_started(application, root, start):
    site = application.site('site3')
    service = TaskService()
    site.getSiteManager().registerUtility(service, ITaskService, 'lost')
    transaction.commit()
    error, warning = start('site3@*')
    assert error.startswith('ERROR service lost on site site3 could not be '
                            'started: this service has no place')
    assert warning == 'WARNING no services started by directive site3@*'
    with pytest.raises(ConfigurationError, match='has no place'):
        service.startProcessing()
    assert service.isProcessing() is False


def test_stopprocessing_of_a_never_started_service_does_nothing(root, log):
    assert root['rootTasks'].stopProcessing() is None
    assert TaskService().stopProcessing() is None
    assert log == []


def test_a_site_whose_manager_is_new(application, root, start):
    """Sites are found where they are, not by what they are called."""
    site = root['plain']
    assert start('plain@*') == [
        'ERROR site plain not found',
        'WARNING no services started by directive plain@*']
    site.setSiteManager(LocalSiteManager(site))
    transaction.commit()
    assert start() == ['WARNING no services started by directive plain@*']
