"""The web surface as it answers on a real socket: sizes and nonsense."""

import http.client
import re
import socket
import xmlrpc.client

import pytest

DEADLINE = 60
LIMIT = 1_000_000


@pytest.fixture
def token(server):
    return (server.data / 'token').read_text().strip()


@pytest.fixture
def say(server, token):
    """Sends bytes as they are and reads the status of the answer."""
    def send(head, body=b'', **options):
        head = (f'{head}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}'
                f'\r\nContent-Type: text/xml\r\n')
        with socket.create_connection(('127.0.0.1', server.port),
                                      DEADLINE) as peer:
            peer.settimeout(DEADLINE)
            peer.sendall(head.encode() + body)
            answer = b''
            # The status line is all that matters; the server may close the
            # connection behind it.
            while b'\r\n' not in answer:
                block = peer.recv(65536)
                if not block:
                    break
                answer += block
        found = re.match(rb'HTTP/1\.[01] (\d{3})', answer)
        assert found, answer
        return int(found[1])

    return send


def still_alive(server, token):
    connection = http.client.HTTPConnection('127.0.0.1', server.port,
                                            timeout=DEADLINE)
    connection.request('GET', '/tasks/api/v1/tasks', headers={
        'Authorization': f'Bearer {token}'})
    answer = connection.getresponse()
    connection.close()
    return answer.status == 200


def test_a_body_over_the_limit_is_refused_by_its_declared_length(
        say, server, token):
    # Nothing of it is sent, so nothing of it can have been read.
    status = say(f'POST /tasks HTTP/1.1\r\nContent-Length: {LIMIT + 1}',
                 b'\r\n')
    assert status == 413
    assert say('POST /tasks HTTP/1.1\r\nContent-Length: 99999999999999999999',
               b'\r\n') in (400, 413)
    assert still_alive(server, token)


def test_a_chunked_body_is_cut_off_at_the_limit(say, server, token):
    chunk = b'ffff\r\n' + b' ' * 0xffff + b'\r\n'
    # Just over the limit and without an end: who waits for it waits for ever.
    body = b'Transfer-Encoding: chunked\r\n\r\n' + chunk * 16
    assert say('POST /tasks HTTP/1.1', body) == 413
    assert still_alive(server, token)


def test_a_chunked_call_within_the_limit_works(say):
    call = xmlrpc.client.dumps((), 'listMethods').encode()
    body = (b'Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n'
            % (len(call), call))
    assert say('POST /tasks HTTP/1.1', body) == 200


@pytest.mark.parametrize('length', ['-1', 'x', '1_0', '+5', '5, 6', ''])
def test_a_length_that_is_none(say, server, token, length):
    status = say(f'POST /tasks HTTP/1.1\r\nContent-Length: {length}',
                 b'\r\nhello')
    assert 400 <= status < 500 or (status == 200 and length == '')
    assert still_alive(server, token)


def test_a_length_that_is_too_small_runs_no_smuggled_call(say, server,
                                                          token):
    call = xmlrpc.client.dumps(('echo', 'smuggled'), 'add').encode()
    # The server reads five bytes of it: no well-formed call, hence a Fault.
    status = say('POST /tasks HTTP/1.1\r\nContent-Length: 5',
                 b'\r\n' + call)
    assert status == 200
    assert still_alive(server, token)
    connection = http.client.HTTPConnection('127.0.0.1', server.port,
                                            timeout=DEADLINE)
    connection.request('GET', '/tasks/api/v1/jobs?limit=1000', headers={
        'Authorization': f'Bearer {token}'})
    answer = connection.getresponse().read()
    connection.close()
    assert b'smuggled' not in answer


def test_both_lengths_at_once(say, server, token):
    status = say('POST /tasks HTTP/1.1\r\nContent-Length: 5\r\n'
                 'Transfer-Encoding: chunked', b'\r\n0\r\n\r\n')
    assert status in (200, 400)
    assert still_alive(server, token)


def test_exactly_the_limit_is_taken(server, token):
    call = xmlrpc.client.dumps((), 'listMethods').encode()
    body = call + b' ' * (LIMIT - len(call))
    for extra, wanted in ((b'', 200), (b' ', 413)):
        connection = http.client.HTTPConnection('127.0.0.1', server.port,
                                                timeout=DEADLINE)
        connection.putrequest('POST', '/tasks')
        connection.putheader('Authorization', f'Bearer {token}')
        connection.putheader('Content-Type', 'text/xml')
        connection.putheader('Content-Length', str(len(body + extra)))
        connection.endheaders()
        if wanted == 200:
            connection.send(body)
        assert connection.getresponse().status == wanted
        connection.close()


def test_nonsense_instead_of_http(server, token):
    for nonsense in (b'\x16\x03\x01\x02\x00\x01', b'GET\r\n\r\n',
                     b'GET / HTTP/9.9\r\n\r\n', b'\r\n' * 100):
        with socket.create_connection(('127.0.0.1', server.port),
                                      DEADLINE) as peer:
            peer.sendall(nonsense)
            peer.shutdown(socket.SHUT_WR)
    assert still_alive(server, token)


def test_pythons_own_client_as_applications_use_it(server, token):
    proxy = xmlrpc.client.ServerProxy(
        f'http://any:{token}@127.0.0.1:{server.port}/tasks', allow_none=True)
    assert proxy.system.listMethods() == proxy.listMethods()
    jobid = proxy.add('echo', {'foo': 'bär'})
    assert proxy.cancel(jobid) is True
    with pytest.raises(xmlrpc.client.Fault,
                       match='ValueError: Task does not exist'):
        proxy.add('nonsense', {})
    proxy('close')()
