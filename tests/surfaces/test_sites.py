"""A service is visited in its own site, whose tasks are there over HTTP."""

import http.client
import json
import xmlrpc.client

import pytest
import transaction
from zope.component.hooks import getSite

from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.host import visit
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask

TOKEN = 'a-token-for-tests'


@pytest.fixture
def local(application):
    """A service in a site whose own registry alone knows the task ``local``.
    """
    site = application.site('cms')
    service = application.service(parent=site)
    site.getSiteManager().registerUtility(EchoTask(), ITask, 'local')
    transaction.commit()
    return service


@pytest.fixture
def address(application, local, serve):
    """``HOST:PORT`` of the real WSGI application of that service."""
    return serve(application.db, TOKEN, ('cms', 'tasks'))


@pytest.fixture
def ask(address):
    """``ask(method, path, data)`` talks JSON; gives what came back."""
    def ask(method, path, data=None):
        connection = http.client.HTTPConnection(address, timeout=20)
        try:
            connection.request(
                method, f'/cms/tasks/api/v1/{path}',
                None if data is None else json.dumps(data), {
                    'Authorization': f'Bearer {TOKEN}',
                    'Content-Type': 'application/json'})
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status in (200, 201), answer
            return answer
        finally:
            connection.close()

    return ask


def test_by_json(local, ask, wait_for):
    assert ask('GET', 'tasks')['tasks'] == ['local']
    jobid = ask('POST', 'jobs', {'task': 'local', 'input': {'n': 1}})['id']
    local.startProcessing()
    wait_for(local, jobid, 'completed')
    assert ask('GET', f'jobs/{jobid}')['output'] == {'n': 1}


def test_by_xmlrpc(address, local, wait_for):
    service = xmlrpc.client.ServerProxy(
        f'http://anybody:{TOKEN}@{address}/cms/tasks', allow_none=True)
    assert service.getAvailableTasks() == ['local']
    jobid = service.add('local', {'n': 1})
    local.startProcessing()
    wait_for(local, jobid, 'completed')
    assert service.getResult(jobid) == {'n': 1}


def test_a_visit_is_a_transaction_in_the_site(application, local):
    path = ('cms', 'tasks')

    def add(service):
        assert getSite().__name__ == 'cms'
        return service.add('local')

    assert getSite() is None
    looked = visit(application.db, path, PLAIN, add, writes=False)
    added = visit(application.db, path, PLAIN, add, writes=True)
    assert getSite() is None
    transaction.begin()
    assert looked not in local.jobs and added in local.jobs


def test_a_visit_to_no_service_names_the_path(application):
    with pytest.raises(ServiceNotFound, match='no service at /no/tasks'):
        visit(application.db, ('no', 'tasks'), PLAIN, len, writes=False)
