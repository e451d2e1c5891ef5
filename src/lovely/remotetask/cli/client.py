"""A client of the JSON API, made of the standard library alone."""

import base64
import http.client
import ipaddress
import json
import os
import secrets
import ssl
import urllib.parse
from contextlib import suppress
from typing import Any

from lovely.remotetask.cli import tokens
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.web.guard import proof

DEFAULT_URL = 'http://127.0.0.1:8080'

#: Where a server of ``remotetask serve`` proves that it knows its token.
PROOF = '/tasks/api/v1/proof'

#: Seconds that a server may take for one answer.
TIMEOUT = 60


class Client:
    """Answers from the server at a URL.  See backends.Backend

    Arguments: ``url``, the server's or the service's own; ``user``,
    ``NAME:PASSWORD`` or None: then REMOTETASK_TOKEN, REMOTETASK_USER with
    REMOTETASK_PASSWORD, or the token that a server of this user wrote.
    """

    def __init__(self, url: str = DEFAULT_URL, user: str | None = None
                 ) -> None:
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            raise Failure(f'{url} names no usable port',
                          f'give an address like {DEFAULT_URL}') from None
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise Failure(f'{url} is no http address',
                          f'give an address like {DEFAULT_URL}')
        self.url = url
        self._secure = parts.scheme == 'https'
        self._host = parts.hostname
        self._port = port or (443 if self._secure else 80)
        self._base = parts.path.rstrip('/') or '/tasks'
        self._authorization = self._credentials(user)
        self.renew()

    def renew(self) -> None:
        """See Backend"""
        # The file says that a server of this user listens on this machine: no
        # other machine may see the token.
        self._left = (tokens.find(self._port)
                      if self._authorization is None
                      and is_loopback(self._host) else None)

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """See Backend"""
        if query:
            path += '?' + urllib.parse.urlencode(query)
        return self._request('GET', path, None)

    def post(self, path: str, data: object) -> Any:
        """See Backend"""
        return self._request('POST', path, json.dumps(data).encode())

    def put(self, path: str, data: object) -> Any:
        """See Backend"""
        return self._request('PUT', path, json.dumps(data).encode())

    def check_waiting(self) -> None:
        """See Backend: a server has workers."""

    def is_live(self) -> bool:
        """See Backend"""
        return True

    def _request(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {'Accept': 'application/json'}
        if body is not None:
            headers['Content-Type'] = 'application/json'
        if self._authorization:
            headers['Authorization'] = self._authorization
        # Plain http.client: it follows no redirect and asks no proxy, so the
        # token goes to this address or nowhere.
        kind = (http.client.HTTPSConnection if self._secure
                else http.client.HTTPConnection)
        connection = kind(self._host, self._port, timeout=TIMEOUT)
        try:
            connection.connect()
            if self._left is not None:
                self._ask_for_proof(connection, self._left)
                headers['Authorization'] = f'Bearer {self._left.text}'
            # A server that refuses a large body answers, and reads no more.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f'{self._base}/api/v1/{path}',
                                   body, headers)
            response = connection.getresponse()
            content = response.read()
        except OSError as error:
            raise self._unreachable(error) from error
        except http.client.HTTPException as error:
            raise Failure(
                f'the program at {self.url} speaks no HTTP '
                f'({describe(error)})', 'correct --url') from error
        finally:
            connection.close()
        return self._read(response.status, content)

    def _ask_for_proof(self, connection: http.client.HTTPConnection,
                       token: tokens.Token) -> None:
        """Raise Failure unless the other end knows the token.

        Its server may have ended without taking the file along, and another
        user's program may listen there now.
        """
        # The token goes to the same end as the challenge: a new connection
        # might have another.
        connection.auto_open = 0
        challenge = secrets.token_hex()
        proved = False
        if token.is_of(connection.sock.getpeername()[0]):
            connection.request('GET', f'{PROOF}?challenge={challenge}')
            response = connection.getresponse()
            # Read to its end, so that the connection goes on; never endlessly.
            if response.length is not None and response.length < 1000:
                expected = {'proof': proof(token.text, challenge)}
                proved = _json_of(response.read()) == expected
        if not proved:
            raise Failure(
                f'the program at {self.url} is not the server that left its '
                f'token for port {self._port}: that one has ended, or listens '
                f'on another address; the token was not sent',
                'correct --url, start the server again, or set '
                'REMOTETASK_TOKEN to the token of the program at that '
                'address')

    def _read(self, status: int, content: bytes) -> Any:
        if status == 401:
            raise self._unauthorized()
        if status == 413:
            # waitress, and a proxy, say it in words of their own.
            raise Failure(
                f'the input is too large for the server at {self.url} (HTTP '
                f'status 413)', 'store it in a file or a database, and give '
                                'the task its place')
        answer = _json_of(content)
        if status in (502, 503, 504) and answer is None:
            raise Failure(
                f'the proxy at {self.url} does not reach its server (HTTP '
                f'status {status})', 'start the server: remotetask serve')
        # 201: a job was added.
        if status in (200, 201) and answer is not None:
            return answer
        if isinstance(answer, dict) and 'error' in answer:
            raise Failure(str(answer['error']))
        raise Failure(f'the program at {self.url} is no remotetask server '
                      f'(HTTP status {status})', 'correct --url')

    def _unreachable(self, error: OSError) -> Failure:
        if isinstance(error, ssl.SSLError):
            return Failure(f'no secure connection to {self.url}: '
                           f'{reason(error)}', 'correct --url')
        if isinstance(error, TimeoutError):
            return Failure(f'the server at {self.url} does not answer',
                           'look at its log, or start it again')
        if not is_loopback(self._host):
            return Failure(f'no server answers at {self.url} '
                           f'({reason(error)})', 'correct --url')
        option = '' if self._port == 8080 else f' --port {self._port}'
        return Failure(
            f'no server answers at {self.url} ({reason(error)})',
            f'start one with: remotetask serve{option}')

    def _unauthorized(self) -> Failure:
        if self._authorization:
            return Failure(
                f'the server at {self.url} refuses the token or password',
                'correct --user or REMOTETASK_TOKEN; its token lies in its '
                'data directory')
        return Failure(
            f'the server at {self.url} asks for its token, and this user has '
            f'none for port {self._port}',
            'set REMOTETASK_TOKEN to the content of the file "token" in its '
            'data directory')

    def _credentials(self, user: str | None) -> str | None:
        environ = os.environ
        if user is None and environ.get('REMOTETASK_TOKEN'):
            return f'Bearer {_header_safe(environ["REMOTETASK_TOKEN"])}'
        if user is None and environ.get('REMOTETASK_PASSWORD'):
            user = (f'{environ.get("REMOTETASK_USER", "")}:'
                    f'{environ["REMOTETASK_PASSWORD"]}')
        if user is not None:
            encoded = base64.b64encode(user.encode()).decode('ascii')
            return f'Basic {encoded}'
        return None


def is_loopback(host: str) -> bool:
    """Is this name or address this machine's own loopback?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def _json_of(content: bytes) -> object:
    try:
        return json.loads(content)
    # The last one: it is nested too deeply.
    except (ValueError, RecursionError):
        return None


def _header_safe(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable():
        raise Failure('REMOTETASK_TOKEN holds characters that no token has',
                      "set it to the content of the server's token file")
    return token
