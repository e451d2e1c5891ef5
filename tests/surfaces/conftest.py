"""A real service in a real database, with the real WSGI application."""

import base64
import datetime
import json
import urllib.parse
import xmlrpc.client

import pytest
import webob
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.MappingStorage import MappingStorage
from zope.component import getGlobalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db
from lovely.remotetask.host import current
from lovely.remotetask.host import visit
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.web import app
from lovely.remotetask.web import guard
from lovely.remotetask.web import surface
from lovely.remotetask.web.csrf import DailyTokens
from lovely.remotetask.web.requests import Request

TOKEN = 'a-token-for-tests'


class Hidden(EchoTask):
    """A task that nobody may add from outside."""

    remote = False


def fail(input):
    raise TaskError('An error occurred.')


@pytest.fixture
def tasks():
    """Registers tasks by name; they are gone after the test."""
    registry = getGlobalSiteManager()
    added = []

    def register(name, task):
        registry.registerUtility(task, ITask, name=name)
        added.append((name, task))

    register('echo', EchoTask())
    register('error', SimpleTask(fail))
    register('hidden', Hidden())
    yield register
    for name, task in added:
        registry.unregisterUtility(task, ITask, name=name)


@pytest.fixture
def database():
    """A database with an empty service at /tasks."""
    database = ZODB.DB(MappingStorage())

    def make(connection):
        folder = connection.root()['Application'] = PersistentMapping()
        service = folder['tasks'] = TaskService()
        service.__parent__ = folder
        service.__name__ = 'tasks'

    db.write(database, make)
    yield database
    database.close()


@pytest.fixture
def service(database):
    """``service(function)`` calls it with the service, and commits."""
    def call(function):
        return db.write(database, lambda connection: function(
            connection.root()['Application']['tasks']))

    return call


class Web:
    """A client of the WSGI application: no network in between."""

    def __init__(self, database):
        self.application = app.Application(
            database, guard.TokenCheck(TOKEN), guard.HostCheck('127.0.0.1'))

    def request(self, method, path, body=b'', content_type=None,
                token=TOKEN, **headers):
        request = webob.Request.blank(path, base_url='http://127.0.0.1:8080')
        request.method = method
        if token is not None:
            request.headers['Authorization'] = f'Bearer {token}'
        if method == 'POST':
            request.body = body
            request.content_type = content_type
        for name, value in headers.items():
            if value is None:
                request.headers.pop(name, None)
            else:
                request.headers[name] = value
        return request.get_response(self.application)

    def get(self, path, **options):
        return self.request('GET', path, **options)

    def post(self, path, data, **options):
        return self.request('POST', path, json.dumps(data).encode(),
                            'application/json', **options)

    def xml(self, body, **options):
        response = self.request('POST', '/tasks', body, 'text/xml',
                                **options)
        assert response.status_int == 200, response.text
        return response.body

    def call(self, method, *arguments):
        """Call over XML-RPC; Faults are raised."""
        body = xmlrpc.client.dumps(arguments, method, allow_none=True)
        (result,), _ = xmlrpc.client.loads(
            self.xml(body.encode()), use_builtin_types=True)
        return result

    def fault(self, body):
        """The message of the Fault that a body gets."""
        with pytest.raises(xmlrpc.client.Fault) as caught:
            xmlrpc.client.loads(self.xml(body))
        return caught.value.faultString


@pytest.fixture
def web(database, tasks):
    return Web(database)


@pytest.fixture
def basic():
    def header(user, password):
        pair = f'{user}:{password}'.encode()
        return 'Basic ' + base64.b64encode(pair).decode()

    return header


class Today:
    """A calendar that a test turns."""

    def __init__(self):
        self.date = datetime.date(2026, 11, 30)

    def __call__(self):
        return self.date


class Site:
    """A host of the surface: who asks, and with which permissions."""

    base = '/admin/tasks'
    origin = 'http://127.0.0.1:8080'
    user = 'jane'

    def __init__(self, database):
        self.database = database
        self.today = Today()
        self.csrf = DailyTokens(lambda: b'secret', 'jane', self.today)
        self.writes = []

    def run(self, function, writes):
        self.writes.append(writes)
        return visit(self.database, ('tasks',), current(),
                     function, writes)

    def ask(self, method, path, form=None, may=(VIEW, ADD, MANAGE),
            content_type=None, body=None, **headers):
        if form is not None:
            body = urllib.parse.urlencode(form, doseq=True).encode()
            content_type = (content_type
                            or 'application/x-www-form-urlencoded')
        return surface.respond(self.request(
            method, path, may, content_type, body, **headers))

    def request(self, method, path, may=(VIEW, ADD, MANAGE),
                content_type=None, body=None, **headers):
        path, _, query = path.partition('?')
        return Request(
            method, path, dict(urllib.parse.parse_qsl(
                query, keep_blank_values=True)),
            {name.replace('_', '-'): value
             for name, value in headers.items()},
            content_type or '', lambda: body or b'', self.base, self.origin,
            self.user, lambda permission: permission in may, self.csrf,
            self.run,
            lambda function, writes=True: self.run(function, writes),
            '10.0.0.4',
            place=(self.database, 'tasks'))

    def get(self, path, **options):
        return self.ask('GET', path, **options)

    def text(self, path, **options):
        answer = self.get(path, **options)
        assert answer.status == 200, answer.body.decode()
        return answer.body.decode()

    def post(self, path, token=None, **fields):
        """Send a form of ours, as a browser does."""
        form = {**fields, 'csrf': self.csrf.token() if token is None
                else token}
        return self.ask('POST', path, form, sec_fetch_site='same-origin')


@pytest.fixture
def site_of(tasks):
    """``site_of(database)``: the surface of a service in another database."""
    return Site


@pytest.fixture
def site(database, tasks):
    """The surface of the service, in a host of the tests."""
    return Site(database)


@pytest.fixture
def loads(monkeypatch):
    """The oids that were loaded, and those asked for ahead: two lists."""
    loaded, asked = [], []
    load = ZODB.Connection.Connection.setstate
    ask = ZODB.Connection.Connection.prefetch

    def setstate(self, obj):
        loaded.append(obj._p_oid)
        load(self, obj)

    def prefetch(self, *parts):
        asked.extend(obj._p_oid for part in parts for obj in part)
        ask(self, *parts)

    monkeypatch.setattr(ZODB.Connection.Connection, 'setstate', setstate)
    monkeypatch.setattr(ZODB.Connection.Connection, 'prefetch', prefetch)
    return loaded, asked
