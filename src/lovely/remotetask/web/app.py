"""The WSGI application of ``remotetask serve``: HTTP in front of its API.

``/tasks`` (POST) speaks XML-RPC, ``/tasks/api/v1/...`` JSON.  Each request has
a connection and a transaction of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import webob
from transaction.interfaces import TransientError

from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.host import current as current_host
from lovely.remotetask.host import visit
from lovely.remotetask.host.paths import show
from lovely.remotetask.log import web
from lovely.remotetask.web import api
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web import xmlrpc_faults as faults
from lovely.remotetask.web.guard import HostCheck
from lovely.remotetask.web.guard import TokenCheck

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.service import TaskService

#: How many bytes the body of a request may have.
DEFAULT_LIMIT = 1_000_000

#: Below the service's URL: where a server proves that it knows the token.
PROOF = '/api/v1/proof'

_CHALLENGE_LENGTH = 200

_BUSY = 'the service is busy with changes to the same data; try again'
_BROKEN = "the server failed; its log has the reason"


class Application:
    """The web surface of one service, as a WSGI application.

    Arguments: ``database`` (ZODB.DB); ``token_check`` and ``host_check``,
    which get the Authorization and the Host header and decide whether the
    request is answered (see ``guard``); ``path``, the names that lead to the
    service; ``limit``, how many bytes the body of a request may have.
    Txn: one per request, retried on conflicts.
    """

    def __init__(self, database: DB, token_check: TokenCheck,
                 host_check: HostCheck, path: Sequence[str] = ('tasks',),
                 limit: int = DEFAULT_LIMIT) -> None:
        self._database = database
        self._token_check = token_check
        self._host_check = host_check
        self._path = tuple(path)
        self._url = show(path)
        self._limit = limit

    def __call__(self, environ: dict[str, Any],
                 start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = webob.Request(environ)
        try:
            response = self._respond(request)
        except api.Refused as refused:
            response = _refusal(refused)
        except TransientError:
            response = _refusal(api.Refused(503, _BUSY))
        except Exception:
            # Into the log, and not into the answer: a traceback would tell a
            # stranger about the inside of the server.
            web.exception('%s %.200s failed', request.method, environ.get(
                'PATH_INFO'))
            response = _refusal(api.Refused(500, _BROKEN))
        response.headers['X-Content-Type-Options'] = 'nosniff'
        response.headers['Cache-Control'] = 'no-store'
        return response(environ, start_response)

    def _respond(self, request: webob.Request) -> webob.Response:
        # First of all: the status alone would tell a page whose name was
        # rebound to this server (see guard).
        if not self._host_check(request.environ.get('HTTP_HOST')):
            raise api.Refused(
                403, 'the Host header does not name this server; use its '
                     'address, or start it with --allow-host NAME')
        if request.environ.get('PATH_INFO') == f'{self._url}{PROOF}':
            return self._proof(request)
        if not self._token_check(request.environ.get('HTTP_AUTHORIZATION')):
            raise api.Refused(
                401, 'the token is missing or wrong; send it as Bearer '
                     'token, or as the Basic password of any user')
        path = self._path_below(request)
        method = 'GET' if request.method == 'HEAD' else request.method
        if path in ('', '/'):
            return self._xmlrpc(method, request)
        if path.startswith('/api/v1/'):
            answer = api.respond(
                method, path.removeprefix('/api/v1/').removesuffix('/'),
                _query(request),
                lambda: self._body(request, 'application/json'), self._run)
            return _json(200, answer)
        raise api.Refused(404, f'there is nothing at {request.path:.80}')

    def _proof(self, request: webob.Request) -> webob.Response:
        challenge = _query(request).get('challenge', '')
        if not 0 < len(challenge) <= _CHALLENGE_LENGTH:
            raise api.Refused(
                400, f'challenge has to be a text of at most '
                     f'{_CHALLENGE_LENGTH} characters')
        return _json(200, {'proof': self._token_check.proof(challenge)})

    def _xmlrpc(self, method: str, request: webob.Request) -> webob.Response:
        if method != 'POST':
            raise api.Refused(
                405, 'this is an XML-RPC address: it takes POST only; for '
                     'JSON see api/v1/jobs below it', 'POST')
        body = self._body(request, 'text/xml')
        try:
            answer = xmlrpc_calls.respond(body, self._run)
        except TransientError:
            answer = faults.dump_fault(faults.APPLICATION_ERROR, _BUSY)
        except api.Refused as refused:
            answer = faults.dump_fault(faults.APPLICATION_ERROR,
                                       refused.message)
        except Exception:
            web.exception('an XML-RPC call failed')
            answer = faults.dump_fault(faults.INTERNAL_ERROR, _BROKEN)
        return webob.Response(body=answer, content_type='text/xml',
                              charset='utf-8')

    def _run(self, function: Callable[[TaskService], object],
             writes: bool) -> object:
        """See visit"""
        try:
            return visit(self._database, self._path, current_host(),
                         function, writes)
        except ServiceNotFound:
            raise api.Refused(
                503, f'the database holds no service at {self._url}'
                ) from None

    def _path_below(self, request: webob.Request) -> str:
        try:
            path = str(request.path_info)
        except UnicodeDecodeError:
            raise api.Refused(400, 'the path is not UTF-8') from None
        if path != self._url and not path.startswith(self._url + '/'):
            raise api.Refused(
                404, f'there is nothing here; the service is at {self._url}')
        return path.removeprefix(self._url)

    def _body(self, request: webob.Request, content_type: str) -> bytes:
        # A form of a foreign page can send text/plain and the form types
        # only; for any other type the browser asks this server first.
        if request.content_type != content_type:
            raise api.Refused(
                415, f'the Content-Type has to be {content_type}')
        stream = request.environ['wsgi.input']
        length = request.content_length
        if length is None:
            if not request.environ.get('wsgi.input_terminated'):
                raise api.Refused(411, 'the Content-Length is missing')
            # Chunked: one byte more than allowed is read, and never the rest.
            body = stream.read(self._limit + 1)
            length = len(body)
        elif length <= self._limit:
            body = stream.read(length)
        if length > self._limit:
            raise api.Refused(
                413, f'the body is larger than {self._limit} bytes; store '
                     f'the data elsewhere and pass its place')
        if len(body) != length:
            raise api.Refused(400, 'the body ended early')
        return bytes(body)


def _query(request: webob.Request) -> dict[str, str]:
    try:
        pairs = list(request.GET.items())
    except UnicodeDecodeError:
        raise api.Refused(400, 'the query is not UTF-8') from None
    query: dict[str, str] = {}
    for name, value in pairs:
        if name in query:
            raise api.Refused(
                400, f'the parameter {name!r:.80} is given twice')
        query[name] = value
    return query


def _json(status: int, data: object) -> webob.Response:
    return webob.Response(
        status=status, content_type='application/json', charset='utf-8',
        body=json.dumps(data, allow_nan=False).encode('ascii') + b'\n')


def _refusal(refused: api.Refused) -> webob.Response:
    response = _json(refused.status, {'error': refused.message})
    if refused.status == 401:
        response.headers.add('WWW-Authenticate', 'Bearer realm="remotetask"')
        response.headers.add('WWW-Authenticate', 'Basic realm="remotetask"')
    if refused.status == 503:
        response.headers['Retry-After'] = '1'
    if refused.allow:
        response.headers['Allow'] = refused.allow
    return response
