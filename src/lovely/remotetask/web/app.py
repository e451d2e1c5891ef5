"""The WSGI application of ``remotetask serve``.

``/tasks`` (POST) speaks XML-RPC, ``/tasks/api/v1/...`` JSON, and the pages are
below ``/tasks/``.  Each request has a connection and a transaction of its own.
"""

from __future__ import annotations

import json
import secrets
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
from lovely.remotetask.web import csrf
from lovely.remotetask.web import surface
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web import xmlrpc_faults as faults
from lovely.remotetask.web.csrf import DailyTokens
from lovely.remotetask.web.guard import HostCheck
from lovely.remotetask.web.guard import Logins
from lovely.remotetask.web.guard import TokenCheck
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.requests import DEFAULT_LIMIT
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.service import TaskService

#: Below the service's URL: where a server proves that it knows the token.
PROOF = '/api/v1/proof'

_CHALLENGE_LENGTH = 200

# Everybody gets these: supervisors, and browsers that are to log in yet.
_OPEN = ('/static/', '/openapi.json', '/healthz', '/readyz')

# The user of a request that has the token.
_BY_TOKEN = 'token'

_BUSY = 'the service is busy with changes to the same data; try again'
_BROKEN = "the server failed; its log has the reason"


class Application:
    """The web surface of one service, as a WSGI application.

    Arguments: ``database`` (ZODB.DB); ``token_check`` and ``host_check``,
    which get the Authorization and the Host header and decide whether the
    request is answered (see ``guard``); ``path``, the names that lead to the
    service; ``limit``, how many bytes the body of a request may have;
    ``logins``, see there; None: browsers have to send the token.
    Txn: one per request, retried on conflicts.
    """

    def __init__(self, database: DB, token_check: TokenCheck,
                 host_check: HostCheck, path: Sequence[str] = ('tasks',),
                 limit: int = DEFAULT_LIMIT,
                 logins: Logins | None = None) -> None:
        self._database = database
        self._token_check = token_check
        self._host_check = host_check
        self._path = tuple(path)
        self._url = show(path)
        self._limit = limit
        self._logins = logins
        # For the tokens of forms: those of an earlier server are void.
        self._secret = secrets.token_bytes(32)

    def __call__(self, environ: dict[str, Any],
                 start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = webob.Request(environ)
        try:
            response = self._respond(request)
        except Refused as refused:
            response = _refusal(refused)
        except TransientError:
            response = _refusal(Refused(503, _BUSY))
        except Exception:
            # Into the log, and not into the answer: a traceback would tell a
            # stranger about the inside of the server.
            web.exception('%s %.200s failed', request.method, environ.get(
                'PATH_INFO'))
            response = _refusal(Refused(500, _BROKEN))
        response.headers['X-Content-Type-Options'] = 'nosniff'
        response.headers.setdefault('Cache-Control', 'no-store')
        return response(environ, start_response)

    def _respond(self, request: webob.Request) -> webob.Response:
        # First of all: the status alone would tell a page whose name was
        # rebound to this server (see guard).
        if not self._host_check(request.environ.get('HTTP_HOST')):
            raise Refused(
                403, 'the Host header does not name this server; use its '
                     'address, or start it with --allow-host NAME')
        if request.environ.get('PATH_INFO') == f'{self._url}{PROOF}':
            return self._proof(request)
        path = self._path_below(request)
        method = 'GET' if request.method == 'HEAD' else request.method
        user = self._user(request)
        if path is None:
            return self._elsewhere(method, request, user)
        if path == '/login' and self._logins is not None:
            return self._login(method, request)
        if path.startswith(_OPEN):
            return self._page(request, path, user)
        is_program = f'{path}/'.startswith('/api/') or (
            path in ('', '/') and method != 'GET')
        if user is None:
            if is_program or self._logins is None:
                raise _no_token()
            return self._log_in_first(request)
        if is_program:
            if user != _BY_TOKEN:
                self._check_own(request)
            return self._program(method, path, request)
        if path == '':
            return webob.Response(status=303, location=f'{self._url}/')
        return self._page(request, path, user)

    def _elsewhere(self, method: str, request: webob.Request,
                   user: str | None) -> webob.Response:
        """Answer outside of the service's own address."""
        if method == 'GET' and request.path_info == '/':
            return webob.Response(status=303, location=f'{self._url}/')
        if method == 'GET' and request.path_info == '/favicon.ico':
            # Browsers ask for it where an answer names no icon.
            return webob.Response(status=204)
        if user is None:
            raise _no_token()
        raise Refused(
            404, f'there is nothing here; the service is at {self._url}')

    def _program(self, method: str, path: str, request: webob.Request
                 ) -> webob.Response:
        """Answer a program: by XML-RPC or JSON."""
        if path in ('', '/'):
            return self._xmlrpc(method, request)
        if path == '/api/v1/login' and self._logins is not None:
            return self._new_link(method, request)
        if path.startswith('/api/v1/'):
            return self._page(request, path, _BY_TOKEN)
        raise Refused(404, f'there is nothing at {request.path:.80}')

    # -- browsers -------------------------------------------------------------

    def _user(self, request: webob.Request) -> str | None:
        """Who asks: a program with the token, a browser's cookie, or None."""
        if self._token_check(request.environ.get('HTTP_AUTHORIZATION')):
            return _BY_TOKEN
        if self._logins is None:
            return None
        cookie = request.cookies.get(_cookie_name(request))
        return cookie if self._logins.is_valid(cookie) else None

    def _page(self, request: webob.Request, path: str, user: str | None
              ) -> webob.Response:
        return _sent(surface.respond(self._request(request, path, user)))

    def _request(self, request: webob.Request, path: str, user: str | None
                 ) -> Request:
        content_type = request.content_type
        return Request(
            request.method, path.removeprefix('/'), _query(request),
            {name.lower(): value for name, value in request.headers.items()},
            content_type, lambda: self._body(request, content_type),
            self._url, request.host_url, '', lambda _: user is not None,
            DailyTokens(lambda: self._secret, user or ''), self._run,
            self._transact, request.client_addr or '',
            place=(self._database, self._path))

    def _log_in_first(self, request: webob.Request) -> webob.Response:
        return _sent(frame.refusal(self._request(request, '', None), Refused(
            401, 'Log in with the link that the server printed when it '
                 'started, or run "remotetask login" for a fresh one.')))

    def _login(self, method: str, request: webob.Request) -> webob.Response:
        assert self._logins is not None
        if method != 'GET':
            raise Refused(405, 'a link is followed by GET', 'GET')
        cookie = self._logins.redeem(_query(request).get('code', ''))
        if cookie is None:
            return _sent(frame.refusal(
                self._request(request, '', None), Refused(
                    401, 'This link has been used, or is older than ten '
                         'minutes. Run "remotetask login" for a fresh one.')))
        response = webob.Response(status=303, location=f'{self._url}/')
        response.set_cookie(
            _cookie_name(request), cookie, max_age=Logins.COOKIE_SECONDS,
            path=self._url, httponly=True, samesite='Lax',
            secure=request.scheme == 'https')
        return response

    def _new_link(self, method: str, request: webob.Request
                  ) -> webob.Response:
        assert self._logins is not None
        if method != 'POST':
            raise Refused(405, 'a link is made by POST', 'POST')
        self._body(request, 'application/json')
        return _json(200, {'path': self.login_path()})

    def login_path(self) -> str:
        """The path of a link by which one browser can log in, once."""
        assert self._logins is not None
        return f'{self._url}/login?code={self._logins.new_code()}'

    def _check_own(self, request: webob.Request) -> None:
        """Refuse a program's call that a foreign page makes by our cookie."""
        csrf.check_origin(self._request(request, '', None))

    # -- programs -------------------------------------------------------------

    def _proof(self, request: webob.Request) -> webob.Response:
        challenge = _query(request).get('challenge', '')
        if not 0 < len(challenge) <= _CHALLENGE_LENGTH:
            raise Refused(
                400, f'challenge has to be a text of at most '
                     f'{_CHALLENGE_LENGTH} characters')
        return _json(200, {'proof': self._token_check.proof(challenge)})

    def _xmlrpc(self, method: str, request: webob.Request) -> webob.Response:
        if method != 'POST':
            raise Refused(
                405, 'this is the address of XML-RPC, by POST, and of the '
                     'pages, by GET; for JSON see api/v1/jobs below it',
                'GET, POST')
        body = self._body(request, 'text/xml')
        try:
            answer = xmlrpc_calls.respond(body, self._run)
        except TransientError:
            answer = faults.dump_fault(faults.APPLICATION_ERROR, _BUSY)
        except Refused as refused:
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
            raise Refused(
                503, f'the database holds no service at {self._url}'
                ) from None

    def _transact(self, function: Callable[[TaskService], Any],
                  writes: bool = True) -> Any:
        """See requests.Transacts"""
        return self._run(function, writes)

    def _path_below(self, request: webob.Request) -> str | None:
        """The path below the service's address, or None outside of it."""
        try:
            path = str(request.path_info)
        except UnicodeDecodeError:
            raise Refused(400, 'the path is not UTF-8') from None
        if path != self._url and not path.startswith(self._url + '/'):
            return None
        return path.removeprefix(self._url)

    def _body(self, request: webob.Request, content_type: str) -> bytes:
        # A form of a foreign page can send text/plain and the form types
        # only; for any other type the browser asks this server first.
        if request.content_type != content_type:
            raise Refused(
                415, f'the Content-Type has to be {content_type}')
        stream = request.environ['wsgi.input']
        length = request.content_length
        if length is None:
            if not request.environ.get('wsgi.input_terminated'):
                raise Refused(411, 'the Content-Length is missing')
            # Chunked: one byte more than allowed is read, and never the rest.
            body = stream.read(self._limit + 1)
            length = len(body)
        elif length <= self._limit:
            body = stream.read(length)
        if length > self._limit:
            raise Refused(
                413, f'the body is larger than {self._limit} bytes; store '
                     f'the data elsewhere and pass its place')
        if len(body) != length:
            raise Refused(400, 'the body ended early')
        return bytes(body)


def _no_token() -> Refused:
    return Refused(401, 'the token is missing or wrong; send it as Bearer '
                        'token, or as the Basic password of any user')


def _cookie_name(request: webob.Request) -> str:
    # Browsers send the cookies of one port to all others of a host.
    return f'remotetask-{request.environ.get("SERVER_PORT", "")}'


def _sent(response: Response) -> webob.Response:
    found = webob.Response(status=response.status, body=response.body)
    found.headers['Content-Type'] = response.content_type
    # Where nothing has changed there is no body, and no length of one.
    if response.status == 304:
        found.content_length = None
    found.headers.update(response.headers)
    return found


def _query(request: webob.Request) -> dict[str, str]:
    try:
        pairs = list(request.GET.items())
    except UnicodeDecodeError:
        raise Refused(400, 'the query is not UTF-8') from None
    query: dict[str, str] = {}
    for name, value in pairs:
        if name in query:
            raise Refused(
                400, f'the parameter {name!r:.80} is given twice')
        query[name] = value
    return query


def _json(status: int, data: object) -> webob.Response:
    return webob.Response(
        status=status, content_type='application/json', charset='utf-8',
        body=json.dumps(data, allow_nan=False).encode('ascii') + b'\n')


def _refusal(refused: Refused) -> webob.Response:
    response = _sent(api.refusal(refused))
    if refused.status == 401:
        response.headers.add('WWW-Authenticate', 'Bearer realm="remotetask"')
        response.headers.add('WWW-Authenticate', 'Basic realm="remotetask"')
    return response
