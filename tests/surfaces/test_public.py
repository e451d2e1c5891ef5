"""The server behind a proxy, and what a token that lets look may do."""

import json
import xmlrpc.client

import pytest
import webob

from lovely.remotetask.web import app
from lovely.remotetask.web import guard
from lovely.remotetask.web.public import Public

TOKEN, VIEW_TOKEN = 'all', 'look'
PROXY = 'http://127.0.0.1:8080'


class Server:
    """The application, and what a proxy in front of it sends."""

    def __init__(self, database, base=None):
        public = None if base is None else Public.of(base)
        self.logins = guard.Logins(TOKEN, lambda: 1000.0)
        self.application = app.Application(
            database, guard.TokenCheck(TOKEN), guard.HostCheck(
                '127.0.0.1', (public.host,) if public else ()),
            logins=self.logins, view_check=guard.TokenCheck(VIEW_TOKEN),
            public=public)

    def ask(self, path, method='GET', token=None, host='127.0.0.1:8080',
            body=None, content_type='application/json', **headers):
        request = webob.Request.blank(path, base_url=PROXY, method=method)
        request.headers['Host'] = host
        if body is not None:
            request.body, request.content_type = body, content_type
        if token is not None:
            request.headers['Authorization'] = f'Bearer {token}'
        for name, value in headers.items():
            request.headers[name.replace('_', '-')] = value
        return request.get_response(self.application)

    def cookie(self, role=guard.ALL):
        path = self.application.login_path(role)
        # As a proxy passes it on.
        answer = self.ask(f'/tasks/login?{path.partition("?")[2]}')
        assert answer.status_int == 303
        self.answer = answer
        return answer.headers['Set-Cookie'].partition(';')[0]


@pytest.fixture
def server(database, tasks):
    return lambda base=None: Server(database, base)


# --- the address -------------------------------------------------------------

@pytest.mark.parametrize('base, path', [
    ('https://tasks.example.org/tasks', '/tasks'),
    ('https://example.org:8443/admin/queue/', '/admin/queue'),
    ('http://tasks.example.org', '')])
def test_all_that_leads_somewhere_has_the_public_address(server, base, path):
    found = server(base)
    origin = base.rstrip('/').removesuffix(path)
    cookie = found.cookie()
    answer = found.answer
    assert answer.headers['Location'] == f'{origin}{path}/'
    attributes = answer.headers['Set-Cookie'].split('; ')
    assert f'Path={path or "/"}' in attributes
    assert ('secure' in attributes) == origin.startswith('https')
    # The proxy passes our path, and its own Host header or ours.
    for host in '127.0.0.1:8080', origin.partition('//')[2]:
        text = found.ask('/tasks/', host=host, Cookie=cookie).text
        assert f'href="{path}/jobs"' in text
        assert f'action="{path}/"' in text
        assert '127.0.0.1' not in text
    token = text.partition('name="csrf" value="')[2].partition('"')[0]
    for sent, status in ((origin, 303), ('https://elsewhere.example', 403),
                         ('http://127.0.0.1:8080', 403)):
        answer = found.ask(
            '/tasks/pause', 'POST', Cookie=cookie, Origin=sent,
            body=f'csrf={token}'.encode(),
            content_type='application/x-www-form-urlencoded')
        assert answer.status_int == status, sent
    assert found.ask('/tasks', Cookie=cookie).headers['Location'] == (
        f'{origin}{path}/')
    answer = found.ask('/tasks/api/v1/login', 'POST', TOKEN, body=b'{}')
    assert answer.json['url'].startswith(f'{origin}{path}/login?code=')
    # Other names are as foreign as before.
    assert found.ask('/tasks/', host='evil.example').status_int == 403


def test_a_proxy_that_passes_the_path_of_the_browser(server):
    found = server('https://example.org/admin/queue')
    cookie = found.cookie()
    for path in ('/admin/queue/', '/tasks/', '/admin/queue/jobs'):
        assert found.ask(path, Cookie=cookie).status_int == 200, path
    assert found.ask('/admin/queues', Cookie=cookie).status_int == 404
    # The longer one comes first.
    found = server('https://example.org/tasks/here')
    cookie = found.cookie()
    assert '<h1>Jobs</h1>' in found.ask('/tasks/here/jobs',
                                        Cookie=cookie).text
    assert '<h1>Jobs</h1>' in found.ask('/tasks/jobs', Cookie=cookie).text


@pytest.mark.parametrize('url', [
    '', 'tasks.example.org', 'ftp://x/tasks', 'https://', 'https://x/?a=b',
    'https://x/tasks#a', 'https://u:p@x/tasks', 'https://x:port/tasks',
    'https://x/a b', 'https://x/"><script>', 'https://x//tasks',
    'https://tä.example/'])
def test_what_is_no_address(url):
    with pytest.raises(ValueError):
        Public.of(url)


def test_an_address_as_browsers_write_it():
    assert Public.of('https://Example.ORG:443/Tasks/') == (
        'https', 'example.org', '/Tasks')
    assert Public.of('http://[::1]:80/').host == '::1'


# --- to look alone -----------------------------------------------------------

def test_a_token_that_lets_look(server, service):
    jobid = service(lambda service: service.add('echo', 1))
    found = server()
    for path in ('', 'jobs', f'jobs/{jobid}', 'metrics', 'api/v1/jobs',
                 'api/v1/stats'):
        assert found.ask(f'/tasks/{path}',
                         token=VIEW_TOKEN).status_int == 200, path
    assert found.ask('/tasks/readyz', token=VIEW_TOKEN).json['queued'] == 1
    text = found.ask(f'/tasks/jobs/{jobid}', token=VIEW_TOKEN).text
    assert 'formaction' not in text
    for method, path, body in (
            ('POST', 'api/v1/jobs', {'task': 'echo'}),
            ('POST', f'api/v1/jobs/{jobid}/cancel', {}),
            ('DELETE', f'api/v1/jobs/{jobid}', None),
            ('POST', 'api/v1/pause', {})):
        answer = found.ask(f'/tasks/{path}', method, VIEW_TOKEN,
                           body=json.dumps(body).encode())
        assert answer.status_int == 403, path
    for path in ('pause', 'jobs/cancel', 'jobs/all/cancel'):
        answer = found.ask(
            f'/tasks/{path}', 'POST', VIEW_TOKEN, body=b'status=queued',
            content_type='application/x-www-form-urlencoded')
        assert answer.status_int == 403, path
    assert service(lambda service: service.getStatus(jobid)) == 'queued'
    assert not service(lambda service: service.jobqueue.paused)


def test_the_same_over_xmlrpc(server, service):
    jobid = service(lambda service: service.add('echo', 1))
    found = server()

    def call(method, *arguments):
        answer = found.ask('/tasks', 'POST', VIEW_TOKEN, body=(
            xmlrpc.client.dumps(arguments, method)).encode(),
            content_type='text/xml')
        return xmlrpc.client.loads(answer.body)[0][0]

    assert call('getStatus', jobid) == 'queued'
    for method, arguments in (('add', ('echo', 1)), ('cancel', (jobid,))):
        with pytest.raises(xmlrpc.client.Fault, match='lets look, and not'):
            call(method, *arguments)
    assert service(lambda service: service.stats()['queued']) == 1


def test_a_link_that_lets_look(server):
    found = server()
    for token, body in ((VIEW_TOKEN, b'{}'), (VIEW_TOKEN, b'{"view": false}'),
                        (TOKEN, b'{"view": true}')):
        path = found.ask('/tasks/api/v1/login', 'POST', token,
                         body=body).json['path']
        cookie = found.ask(path).headers['Set-Cookie'].partition(';')[0]
        text = found.ask('/tasks/', Cookie=cookie).text
        assert '<h1>Overview</h1>' in text and 'formaction' not in text
        assert found.ask('/tasks/jobs/add', Cookie=cookie).status_int == 403
        # Not even the role in the cookie can be changed.
        forged = cookie.replace('.look.', '.all.')
        assert forged != cookie
        assert found.ask('/tasks/', Cookie=forged).status_int == 401
    for body in (b'', b'[]', b'{"view": 1}', b'{"role": "all"}', b'nonsense'):
        assert found.ask('/tasks/api/v1/login', 'POST', TOKEN,
                         body=body).status_int == 400
    text = found.ask('/tasks/', Cookie=found.cookie()).text
    assert 'formaction' in text
