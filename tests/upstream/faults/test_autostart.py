"""Start-up faults: entries that crashed it, a connection never closed.

All rules of the autostart are tested in tests/upstream/startup.
"""

import pytest
import transaction
import zope.component
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.service import bootStrapSubscriber
from lovely.remotetask.task import EchoTask


@pytest.fixture
def root(application):
    root = application.root
    root.setSiteManager(LocalSiteManager(root))
    service = root['rootTasks'] = TaskService()
    root.getSiteManager().registerUtility(
        service, ITaskService, 'rootTasks')
    # A worker without any task says so, in its own thread: amid the log.
    zope.component.provideUtility(EchoTask(), ITask, 'echo')
    transaction.commit()
    return root


@pytest.fixture
def start(application, root, autostart):
    def start(text):
        autostart(text)
        bootStrapSubscriber(DatabaseOpenedWithRoot(application.db))

    return start


@pytest.mark.parametrize('entry', ['rootTasks', 'a@b@c'])
def test_autostart_entries_without_at_crashed_the_startup(
        entry, root, start, log):
    start(f'{entry}, @rootTasks')
    assert root['rootTasks'].isProcessing() is True
    (wrong,) = (line for line in log if line.startswith('ERROR'))
    assert repr(entry) in wrong and 'site@service' in wrong
    assert log[-1] == 'INFO service rootTasks on site root started'


def test_missing_at_star_raised_unboundlocalerror(root, start, log):
    start('missing@*, @rootTasks')
    assert log == [
        'INFO handling event IStartRemoteTasksEvent',
        'ERROR site missing not found',
        'WARNING no services started by directive missing@*',
        'INFO service rootTasks on site root started']


def test_the_startup_connection_was_never_closed(
        application, root, start):
    def opened():
        return [info for info in application.db.connectionDebugInfo()
                if info['opened'] is not None]

    before = len(opened())
    start('missing@*, @missing, nonsense')
    assert len(opened()) == before
