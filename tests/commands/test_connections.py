"""Clients and programs that mean no good, by real sockets."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lovely.remotetask.web.guard import proof

DEADLINE = 60

#: What a client that means no good has sent so far.
HALF_OPEN = {
    'nothing': b'',
    'half a header': b'GET /tasks HTTP/1.1\r\nHost: 127.0',
    'half a body': b'POST /tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n'
                   b'Content-Length: 1000\r\n\r\nabc'}


@contextlib.contextmanager
def half_open(port, count, data=b'', source='127.0.0.1'):
    """Connections from an address on which no request is complete."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(
                ('127.0.0.1', port), DEADLINE, (source, 0)))
            peer.sendall(data)
            peers.append(peer)
        yield peers


@pytest.mark.parametrize('data', HALF_OPEN.values(), ids=HALF_OPEN)
@pytest.mark.parametrize('count', [100, 300])
def test_a_server_hears_beside_half_open_connections(
        server, remotetask, count, data):
    with half_open(server.port, count, data):
        run = remotetask('add', 'double', '21', '--wait', '--url', server.url)
    assert (run.stdout, run.stderr) == ('42\n', '')


#: A server with other limits; it prints its port.
LISTENER = '''
import json, signal, sys
from lovely.remotetask.cli.connections import Limits, Listener

def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]

def stop(*arguments):
    raise SystemExit

listener = Listener(application, '127.0.0.1', 0,
                    Limits(**json.loads(sys.argv[1])))
print(listener.port, flush=True)
signal.signal(signal.SIGTERM, stop)
listener.run()
listener.close()
print('ended', flush=True)
'''


@pytest.fixture
def listen():
    """``listen(**limits)`` starts a server; its port."""
    processes = []

    def start(**limits):
        process = subprocess.Popen(
            [sys.executable, '-c', LISTENER, json.dumps(limits)],
            stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return int(process.stdout.readline())

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=DEADLINE)[0] == 'ended\n'
        assert process.returncode == 0


def echo(port, connection=None):
    """The answer to a request, and the connection that it came by."""
    if connection is None:
        connection = http.client.HTTPConnection('127.0.0.1', port, DEADLINE)
    connection.request('POST', '/', b'hello')
    return connection.getresponse().read(), connection


def is_closed(peer):
    """Has the other end closed it?"""
    with contextlib.suppress(ConnectionResetError):
        return not peer.recv(1)
    return True


@pytest.mark.parametrize('data', HALF_OPEN.values(), ids=HALF_OPEN)
def test_a_request_has_its_time(listen, data):
    port = listen(header_seconds=0.1, body_seconds=0.3)
    with half_open(port, 1, data) as (peer,):
        assert is_closed(peer)
    # A client that is quick is answered.
    assert echo(port)[0] == b'hello'


def test_a_byte_now_and_then_gets_no_more_time(listen):
    port = listen(header_seconds=0.5)
    with half_open(port, 1, b'GET / HTTP/1.1\r\nX: ') as (peer,):
        peer.settimeout(0.05)
        until = time.monotonic() + DEADLINE
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < until:
                # The pause between two bytes.
                with contextlib.suppress(TimeoutError):
                    if not peer.recv(1):
                        break
                peer.sendall(b'x')
        assert time.monotonic() < until


def test_a_body_has_more_time_than_a_header(listen):
    port = listen(header_seconds=0.1, body_seconds=1000)
    head = (b'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5'
            b'\r\n\r\nhel')
    with half_open(port, 1, head) as (slow,), half_open(port, 1) as (gone,):
        assert is_closed(gone)
        slow.sendall(b'lo')
        assert slow.recv(1000).startswith(b'HTTP/1.1 200 OK')


def test_the_oldest_that_waits_makes_room(listen):
    port = listen(connections=2)
    with (half_open(port, 1) as (first,), half_open(port, 1) as (second,),
          half_open(port, 1) as (third,)):
        assert is_closed(first)
        for peer in (second, third):
            peer.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
            assert peer.recv(1000).startswith(b'HTTP/1.1 200 OK')


def test_one_address_does_not_crowd_out_another(listen):
    port = listen(connections=10)
    answer, early = echo(port)
    assert answer == b'hello'
    with half_open(port, 50, source='127.0.0.2'):
        # The same connection: it is the oldest, of another address.
        early.auto_open = 0
        assert echo(port, early)[0] == b'hello'
    early.close()


# --- a token that outlived its server ----------------------------------------

class Impostor:
    """A program on a port; keeps all that it is sent.

    Arguments: ``place``, where it listens; ``answer``, what it says to each
    request, made of the request's bytes.
    """

    def __init__(self, place, answer):
        self.heard = b''
        self._answer = answer
        self._socket = socket.create_server(place)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with peer:
                    while block := peer.recv(65536):
                        self.heard += block
                        peer.sendall(self._answer(block))

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self._socket.close()


def http_answer(text):
    return (f'HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}'
            ).encode()


ANSWERS = {
    'lists': lambda block: http_answer('{"tasks": []}'),
    'proves nothing': lambda block: http_answer('{"proof": ""}'),
    'repeats the challenge': lambda block: http_answer(json.dumps(
        {'proof': block.partition(b'=')[2].partition(b' ')[0].decode()})),
    'never ends': lambda block: http_answer('x' * 100_000),
    'nests': lambda block: http_answer('[' * 900),
    'closes': lambda block: b'HTTP/1.0 200 OK\r\n\r\n{"proof": "1"}',
}


@pytest.mark.parametrize('answer', ANSWERS.values(), ids=ANSWERS)
def test_a_token_that_outlived_its_server_is_not_sent(
        serve, remotetask, environ, tmp_path, answer):
    server = serve('--port', '0').ready()
    token = (tmp_path / 'remotetask-data' / 'token').read_text().strip()
    server.stop(signal.SIGKILL)
    left = Path(environ['XDG_RUNTIME_DIR'], 'remotetask',
                f'{server.port}.token')
    assert token in left.read_text()
    impostor = Impostor(('127.0.0.1', server.port), answer)
    run = remotetask('add', 'echo', '"my secret"', '--url', server.url)
    impostor.close()
    assert impostor.heard
    for secret in (token, 'my secret'):
        assert secret.encode() not in impostor.heard
    assert run.returncode == 1 and run.stdout == ''
    assert 'the token was not sent' in run.stderr
    assert run.stderr.count('\n') == 1
    left.unlink()


def test_a_proof_that_is_passed_on_does_not_count(
        serve, remotetask, tmp_path):
    server = serve('--port', '0').ready()
    token = (tmp_path / 'remotetask-data' / 'token').read_text().strip()

    def pass_on(block):
        with socket.create_connection(('127.0.0.1', server.port)) as peer:
            peer.sendall(block)
            return peer.recv(65536)

    # Another user may listen on another address of this machine.
    impostor = Impostor(('127.0.0.2', server.port), pass_on)
    run = remotetask('tasks', '--url', f'http://127.0.0.2:{server.port}')
    impostor.close()
    assert token.encode() not in impostor.heard
    assert 'the token was not sent' in run.stderr
    assert server.stop() == 0


def test_a_token_that_is_given_is_sent_as_before(serve, remotetask):
    server = serve('--port', '0').ready()
    server.stop(signal.SIGKILL)
    impostor = Impostor(('127.0.0.1', server.port), ANSWERS['lists'])
    run = remotetask('tasks', '--url', server.url, REMOTETASK_TOKEN='given')
    impostor.close()
    assert b'Bearer given' in impostor.heard
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(('query', 'status'), [
    ('', 400), ('?challenge=', 400), ('?challenge=' + 'x' * 201, 400),
    ('?challenge=a&challenge=b', 400), ('?challenge=%ff', 400),
    ('?challenge=x', 200)])
def test_a_proof_shows_no_token(server, query, status):
    connection = http.client.HTTPConnection('127.0.0.1', server.port, DEADLINE)
    connection.request('GET', f'/tasks/api/v1/proof{query}')
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == status, answer
    token = (server.data / 'token').read_text().strip()
    assert token not in str(answer)
    if status == 200:
        assert answer == {'proof': proof(token, 'x')}
        assert answer != {'proof': proof(token, 'y')}
        assert answer != {'proof': proof('other', 'x')}
