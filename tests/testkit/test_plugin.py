"""The fixtures that pytest finds wherever this package is installed."""

import subprocess
import sys
from pathlib import Path

import transaction
from zope.component import getGlobalSiteManager
from zope.component import getUtility

from lovely.remotetask import pytest_plugin
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.testing import drain


def test_a_service(remotetask_service, remotetask_register):
    remotetask_register(len)
    assert getUtility(ITaskService, 'tasks') is remotetask_service
    jobid = remotetask_service.add('len', 'four')
    transaction.commit()
    drain(remotetask_service)
    assert remotetask_service.getResult(jobid) == 4


def test_a_stub(remotetask_stub, remotetask_register):
    @remotetask_register
    def double(input):
        return input * 2

    assert type(remotetask_stub) is TaskServiceStub
    assert getUtility(ITaskService, 'tasks') is remotetask_stub
    jobid = remotetask_stub.add('double', 4)
    remotetask_stub.process()
    assert remotetask_stub.getResult(jobid) == 8


def test_nothing_is_left_of_the_tests_before():
    assert list(getGlobalSiteManager().registeredUtilities()) == []


USER = '''
import pytest
from zope.component import getUtility, queryUtility, provideUtility
from lovely.remotetask.interfaces import ITask, ITaskService
from lovely.remotetask.task import EchoTask
from lovely.remotetask.service import TaskService

real = TaskService()

@pytest.fixture
def remotetask_name():
    return ''

@pytest.fixture(scope='module', autouse=True)
def application():
    provideUtility(real, ITaskService)
    provideUtility(EchoTask(), ITask, 'echo')

def test_stub(remotetask_stub, remotetask_register):
    remotetask_register(lambda input: 'stand-in', 'echo')
    stub = getUtility(ITaskService)
    assert stub is remotetask_stub
    jobid = stub.add('echo')
    stub.process()
    assert stub.getResult(jobid) == 'stand-in'

def test_service(remotetask_service):
    assert getUtility(ITaskService) is remotetask_service
    assert remotetask_service.add('echo')

def test_undone():
    assert getUtility(ITaskService) is real
    assert type(getUtility(ITask, 'echo')) is EchoTask
'''


def test_an_application_of_its_own(tmp_path):
    """Its conftest names another service, and has real ones registered."""
    (tmp_path / 'test_user.py').write_text(USER)
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
         'test_user.py'], cwd=tmp_path, text=True, capture_output=True,
        timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '3 passed' in done.stdout


def test_the_plugin_costs_next_to_nothing():
    """pytest imports it at each start, before coverage is measured."""
    said = subprocess.run(
        [sys.executable, '-c', 'import sys, pytest\n'
         'import lovely.remotetask.pytest_plugin\n'
         'print([name for name in sys.modules if name.split(".")[0] in '
         '("ZODB", "BTrees", "persistent", "transaction")\n'
         ' or name.startswith("lovely.")])'],
        text=True, capture_output=True, check=True).stdout
    assert said.strip() == str(
        ['lovely.remotetask', 'lovely.remotetask.pytest_plugin'])


def test_each_fixture_is_on_the_page_of_the_reference():
    page = (Path(__file__).parents[2] / 'docs' / 'reference' / 'testing.rst'
            ).read_text(encoding='utf-8')
    fixtures = [name for name in vars(pytest_plugin)
                if name.startswith('remotetask_')]
    assert len(fixtures) == 5
    for name in fixtures:
        assert f'\n``{name}``\n' in page
