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
from typing import NamedTuple

import webob
from transaction.interfaces import TransientError

from lovely.remotetask.edge.log import web
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.host import current as current_host
from lovely.remotetask.host import visit
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import csrf
from lovely.remotetask.web import surface
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web import xmlrpc_faults as faults
from lovely.remotetask.web.csrf import DailyTokens
from lovely.remotetask.web.guard import ALL
from lovely.remotetask.web.guard import LOOK
from lovely.remotetask.web.guard import HostCheck
from lovely.remotetask.web.guard import Logins
from lovely.remotetask.web.guard import TokenCheck
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.public import Public
from lovely.remotetask.web.requests import DEFAULT_LIMIT
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.webob_answers import as_json
from lovely.remotetask.web.webob_answers import query_of
from lovely.remotetask.web.webob_answers import refusal
from lovely.remotetask.web.webob_answers import sent

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.service import TaskService

#: Below the service's URL: where a server proves that it knows the token.
PROOF = '/api/v1/proof'

_CHALLENGE_LENGTH = 200

# Everybody gets these: supervisors, and browsers that are to log in yet.
_OPEN = ('/static/', '/openapi.json', '/healthz', '/readyz')

_BUSY = 'the service is busy with changes to the same data; try again'
_BROKEN = "the server failed; its log has the reason"


class _User(NamedTuple):
    """Who asks.

    Attributes: ``name``, which forms are for; ``role``, see Logins;
    ``is_program``: by a token, and no browser's cookie.
    """

    name: str
    role: str
    is_program: bool

    def may(self, permission: str) -> bool:
        return self.role == ALL or permission == VIEW


class Application:
    """The web surface of one service, as a WSGI application.

    Arguments: ``database`` (ZODB.DB); ``token_check`` and ``host_check``,
    which get the Authorization and the Host header and decide whether the
    request is answered (see ``guard``); ``path``, the names that lead to the
    service; ``limit``, how many bytes the body of a request may have;
    ``logins``, see there; None: browsers have to send the token;
    ``view_check``, as ``token_check``, of a token that lets look alone;
    ``public``, the address by which browsers know the service, None: as they
    ask for it.
    Txn: one per request, retried on conflicts.
    """

    def __init__(self, database: DB, token_check: TokenCheck,
                 host_check: HostCheck, path: Sequence[str] = ('tasks',),
                 limit: int = DEFAULT_LIMIT,
                 logins: Logins | None = None,
                 view_check: TokenCheck | None = None,
                 public: Public | None = None) -> None:
        self._database = database
        self._token_check = token_check
        self._view_check = view_check
        self._host_check = host_check
        self._path = tuple(path)
        self._url = show(path)
        self._public = public
        #: The path by which browsers know the service.
        self._base = self._url if public is None else public.path
        # A proxy may pass on the path that browsers know, or ours.  At the
        # root, only ours: '/tasks' is one of the pages there.
        self._mounts = sorted({self._url, self._base or self._url}, key=len,
                              reverse=True)
        self._limit = limit
        self._logins = logins
        # For the tokens of forms: those of an earlier server are void.
        self._secret = secrets.token_bytes(32)

    def __call__(self, environ: dict[str, Any],
                 start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = environ.get('HTTP_HOST')
        if self._public is not None:
            environ = self._public.seen_in(environ)
        request = webob.Request(environ)
        try:
            response = self._respond(request, host)
        except Refused as refused:
            response = refusal(refused)
        except TransientError:
            response = refusal(Refused(503, _BUSY))
        except Exception:
            # Into the log, and not into the answer: a traceback would tell a
            # stranger about the inside of the server.
            web.exception('%s %.200s failed', request.method, environ.get(
                'PATH_INFO'))
            response = refusal(Refused(500, _BROKEN))
        response.headers['X-Content-Type-Options'] = 'nosniff'
        response.headers.setdefault('Cache-Control', 'no-store')
        return response(environ, start_response)

    def _respond(self, request: webob.Request, host: str | None
                 ) -> webob.Response:
        # First of all: the status alone would tell a page whose name was
        # rebound to this server (see guard).
        if not self._host_check(host):
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
            if not user.is_program:
                self._check_own(request)
            return self._program(method, path, request, user)
        if path == '':
            return webob.Response(status=303, location=f'{self._base}/')
        return self._page(request, path, user)

    def _elsewhere(self, method: str, request: webob.Request,
                   user: _User | None) -> webob.Response:
        """Answer outside of the service's own address."""
        if method == 'GET' and request.path_info == '/':
            return webob.Response(status=303, location=f'{self._base}/')
        if method == 'GET' and request.path_info == '/favicon.ico':
            # Browsers ask for it where an answer names no icon.
            return webob.Response(status=204)
        if user is None:
            raise _no_token()
        raise Refused(
            404, f'there is nothing here; the service is at {self._url}')

    def _program(self, method: str, path: str, request: webob.Request,
                 user: _User) -> webob.Response:
        """Answer a program: by XML-RPC or JSON."""
        if path in ('', '/'):
            return self._xmlrpc(method, request, user)
        if path == '/api/v1/login' and self._logins is not None:
            return self._new_link(method, request, user)
        if path.startswith('/api/v1/'):
            return self._page(request, path, user)
        raise Refused(404, f'there is nothing at {request.path:.80}')

    # -- browsers -------------------------------------------------------------

    def _user(self, request: webob.Request) -> _User | None:
        """Who asks: a program with a token, a browser's cookie, or None."""
        header = request.environ.get('HTTP_AUTHORIZATION')
        if self._token_check(header):
            return _User('token', ALL, True)
        if self._view_check is not None and self._view_check(header):
            return _User('token-view', LOOK, True)
        if self._logins is None:
            return None
        cookie = request.cookies.get(_cookie_name(request))
        role = self._logins.role(cookie)
        return None if role is None else _User(str(cookie), role, False)

    def _page(self, request: webob.Request, path: str, user: _User | None
              ) -> webob.Response:
        return sent(surface.respond(self._request(request, path, user)))

    def _request(self, request: webob.Request, path: str, user: _User | None
                 ) -> Request:
        content_type = request.content_type
        return Request(
            request.method, path.removeprefix('/'), query_of(request),
            {name.lower(): value for name, value in request.headers.items()},
            content_type, lambda: self._body(request, content_type),
            self._base, request.host_url, '',
            lambda permission: user is not None and user.may(permission),
            DailyTokens(lambda: self._secret, user.name if user else ''),
            self._run,
            self._transact, request.client_addr or '',
            place=(self._database, self._path))

    def _log_in_first(self, request: webob.Request) -> webob.Response:
        return sent(frame.refusal(self._request(request, '', None), Refused(
            401, 'Log in with the link that the server printed when it '
                 'started, or run "remotetask login" for a fresh one.')))

    def _login(self, method: str, request: webob.Request) -> webob.Response:
        assert self._logins is not None
        if method != 'GET':
            raise Refused(405, 'a link is followed by GET', 'GET')
        cookie = self._logins.redeem(query_of(request).get('code', ''))
        if cookie is None:
            return sent(frame.refusal(
                self._request(request, '', None), Refused(
                    401, 'This link has been used, or is older than ten '
                         'minutes. Run "remotetask login" for a fresh one.')))
        response = webob.Response(status=303, location=f'{self._base}/')
        response.set_cookie(
            _cookie_name(request), cookie, max_age=Logins.COOKIE_SECONDS,
            path=self._base or '/', httponly=True, samesite='Lax',
            secure=request.scheme == 'https')
        return response

    def _new_link(self, method: str, request: webob.Request, user: _User
                  ) -> webob.Response:
        if method != 'POST':
            raise Refused(405, 'a link is made by POST', 'POST')
        role = user.role if _wants_all(
            self._body(request, 'application/json')) else LOOK
        path = self.login_path(role)
        known = {} if self._public is None else {
            'url': f'{request.host_url}{path}'}
        return as_json(200, {'path': path, **known})

    def login_path(self, role: str = ALL) -> str:
        """The path of a link by which one browser can log in, once."""
        assert self._logins is not None
        return f'{self._base}/login?code={self._logins.new_code(role)}'

    def _check_own(self, request: webob.Request) -> None:
        """Refuse a program's call that a foreign page makes by our cookie."""
        csrf.check_origin(self._request(request, '', None))

    # -- programs -------------------------------------------------------------

    def _proof(self, request: webob.Request) -> webob.Response:
        challenge = query_of(request).get('challenge', '')
        if not 0 < len(challenge) <= _CHALLENGE_LENGTH:
            raise Refused(
                400, f'challenge has to be a text of at most '
                     f'{_CHALLENGE_LENGTH} characters')
        return as_json(200, {'proof': self._token_check.proof(challenge)})

    def _xmlrpc(self, method: str, request: webob.Request, user: _User
                ) -> webob.Response:
        if method != 'POST':
            raise Refused(
                405, 'this is the address of XML-RPC, by POST, and of the '
                     'pages, by GET; for JSON see api/v1/jobs below it',
                'GET, POST')
        body = self._body(request, 'text/xml')

        def run(function: Callable[[TaskService], object], writes: bool
                ) -> object:
            if writes and user.role != ALL:
                raise Refused(403, 'this token lets look, and not do this')
            return self._run(function, writes)

        try:
            answer = xmlrpc_calls.respond(body, run)
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
        for mount in self._mounts:
            if path == mount or path.startswith(mount + '/'):
                return path.removeprefix(mount)
        return None

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


def _wants_all(body: bytes) -> bool:
    """Is a link to be made for all that the caller may do, as it says?"""
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    if not isinstance(data, dict) or type(data.get('view', False)) is not (
            bool) or data.keys() - {'view'}:
        raise Refused(400, 'the body has to be {} or {"view": true}')
    return not data.get('view', False)


def _cookie_name(request: webob.Request) -> str:
    # Browsers send the cookies of one port to all others of a host.
    return f'remotetask-{request.environ.get("SERVER_PORT", "")}'
