"""`remotetask serve --base-url` behind a proxy that passes another Host."""

import http.client
import http.server
import re
import stat
import threading
import urllib.parse

import pytest
from forked import DEADLINE


class Proxy(http.server.BaseHTTPRequestHandler):
    """As nginx with ``location /queue/ { proxy_pass http://…/tasks/; }``: the
    Host header is that of the server behind.
    """

    protocol_version = 'HTTP/1.1'
    upstream = None

    def _pass_on(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in ('host', 'connection')}
        connection = http.client.HTTPConnection('127.0.0.1', self.upstream,
                                                timeout=DEADLINE)
        connection.request(
            self.command, self.path.replace('/queue/', '/tasks/', 1), body,
            headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ('content-length', 'connection', 'date',
                                    'server', 'transfer-encoding'):
                self.send_header(name, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _pass_on

    def log_message(self, *arguments):
        pass


@pytest.fixture
def proxy():
    """A proxy whose ``upstream`` the test sets; its port."""
    handler = type('OwnProxy', (Proxy,), {})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, server.server_port
    server.shutdown()
    server.server_close()


class Browser:
    """Follows the addresses that it is told, and keeps its cookie."""

    def __init__(self):
        self.cookie = None

    def ask(self, url, body=None, **headers):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc,
                                                timeout=DEADLINE)
        if self.cookie:
            headers['Cookie'] = self.cookie
        if body is not None:
            headers |= {'Content-Type': 'application/x-www-form-urlencoded',
                        'Origin': f'http://{parts.netloc}'}
        connection.request('GET' if body is None else 'POST', url.removeprefix(
            f'http://{parts.netloc}'), body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.headers['Set-Cookie']:
            self.cookie = answer.headers['Set-Cookie'].partition(';')[0]
        connection.close()
        return answer, text


def test_all_works_through_a_proxy(serve, proxy, remotetask, tmp_path):
    handler, port = proxy
    base = f'http://127.0.0.1:{port}/queue'
    server = serve('--port', '0', '--base-url', base).ready()
    handler.upstream = server.port
    login = re.search(r'log in with (\S+)', server.lines.get(timeout=DEADLINE))
    assert login[1].startswith(f'{base}/login?code=')
    browser = Browser()
    answer, _ = browser.ask(login[1])
    assert (answer.status, answer.headers['Location']) == (303, f'{base}/')
    _, text = browser.ask(answer.headers['Location'])
    links = set(re.findall(r'(?:href|src|action|formaction)="([^"#]+)"', text))
    assert links and all(one.startswith('/queue/') for one in links), links
    for link in links:
        if not link.endswith(('/pause', '/resume', '/retention')):
            answer, _ = browser.ask(f'http://127.0.0.1:{port}{link}')
            assert answer.status == 200, link
    token = re.search(r'name="csrf" value="([^"]+)"', text)[1]
    answer, _ = browser.ask(f'{base}/pause', f'csrf={token}')
    assert (answer.status, answer.headers['Location']) == (
        303, f'{base}/?done=paused')
    # The command of the same user reaches the server itself, and prints what
    # a browser can open.
    run = remotetask('login', '--view', '--url', server.url)
    assert run.stdout.startswith(f'{base}/login?code='), run.stderr
    visitor = Browser()
    visitor.ask(run.stdout.strip())
    _, text = visitor.ask(f'{base}/')
    assert 'Paused' in text and 'formaction' not in text
    # And through the proxy, with a token that lets look.
    place = tmp_path / 'remotetask-data' / 'token-view'
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    look = {'REMOTETASK_TOKEN': place.read_text().strip()}
    run = remotetask('stats', '--url', base, **look)
    assert 'queued' in run.stdout, run.stderr
    run = remotetask('add', 'echo', '--url', base, **look)
    assert run.returncode == 1
    assert 'may look, and not do this' in run.stderr
    assert server.stop() == 0
    assert not place.exists()


@pytest.mark.parametrize('url', ['tasks.example.org', 'https://x/?a=b'])
def test_what_is_no_address(remotetask, url):
    run = remotetask('serve', '--base-url', url)
    assert run.returncode == 2
    assert 'is no address of pages' in run.stderr
