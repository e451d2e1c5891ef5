"""What the commands say: of mistakes, of large inputs, of what tasks give."""

import http.server
import threading

import pytest


@pytest.fixture
def ask(remotetask, server):
    return lambda *arguments, **more: remotetask(
        *arguments, '--url', server.url, **more)


@pytest.mark.parametrize('wrong, right', [
    ('lst', "there is no command 'lst': did you mean 'list'?"),
    ('worekr', "did you mean 'worker'?"),
    ('nonsense', "there is no command 'nonsense'; remotetask --help lists")])
def test_a_command_that_is_none(remotetask, wrong, right):
    run = remotetask(wrong)
    assert run.returncode == 2
    assert right in run.stderr


@pytest.mark.parametrize('arguments, right', [
    (['list', '--staus', 'queued'], '--status'),
    (['worker', '--thread', '5'], '--threads'),
    (['--debugg', 'list'], '--debug')])
def test_an_option_that_is_none(remotetask, arguments, right):
    run = remotetask(*arguments)
    assert run.returncode == 2
    assert right in run.stderr.splitlines()[-1]


def test_a_task_that_is_none(ask):
    run = ask('add', 'duoble', '1')
    assert run.returncode == 1
    assert "not exist: 'duoble': did you mean 'double'?" in run.stderr
    assert 'did you mean' not in ask('add', 'x').stderr


@pytest.mark.parametrize('size', [1_000_001, 30_000_000])
def test_an_input_that_is_too_large(ask, size):
    run = ask('add', 'echo', '-', input=f'"{"x" * size}"')
    assert run.returncode == 1
    line, = run.stderr.splitlines()
    assert 'the input is too large for the server' in line
    assert '413' in line and 'give the task its place' in line


def test_a_proxy_whose_server_is_gone(remotetask):
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(502)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(('127.0.0.1', 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            run = remotetask(
                'list', '--url', f'http://127.0.0.1:{proxy.server_port}')
        finally:
            proxy.shutdown()
            thread.join()
    assert run.returncode == 1
    assert 'does not reach its server (HTTP status 502)' in run.stderr


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion(remotetask, shell):
    """As docs/reference/commandline.rst says."""
    run = remotetask(_REMOTETASK_COMPLETE=f'{shell}_source')
    assert run.returncode == 0, run.stderr
    assert '_REMOTETASK_COMPLETE' in run.stdout
    run = remotetask(_REMOTETASK_COMPLETE=f'{shell}_complete',
                     COMP_WORDS='remotetask wor', COMP_CWORD='wor'
                     if shell == 'fish' else '1')
    assert 'worker' in run.stdout, run.stderr
    run = remotetask(_REMOTETASK_COMPLETE=f'{shell}_complete',
                     COMP_WORDS='remotetask list --status f',
                     COMP_CWORD='f' if shell == 'fish' else '3')
    assert 'failed' in run.stdout, run.stderr
