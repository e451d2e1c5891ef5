"""The JSON API under ``api/v1/``: the verbs of the command line.

HTTP itself is read and written by the hosts; a command that opens the database
asks here without HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.edge.texts import with_notes
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import GroupNotFound
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import UnreadableRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.store import lost
from lovely.remotetask.store.records import is_damaged
from lovely.remotetask.web import csrf
from lovely.remotetask.web.api.calls import Answer
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.routes import ROUTES
from lovely.remotetask.web.api.routes import Route
from lovely.remotetask.web.presenter import Run
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response
from lovely.remotetask.web.routing import Table

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: Where the API is, below the mount point.
PREFIX = 'api/v1/'

_TABLE = Table(ROUTES, PREFIX)


def respond(method: str, path: str, query: Mapping[str, str],
            body: Callable[[], bytes], run: Run) -> object:
    """Answer one request of a command, without HTTP and permissions.

    Arguments: ``method``, HTTP's; ``path``, what follows ``api/v1/``; the
    others, see ``calls.Call``.
    Returns: the answer, fit for JSON.
    Raises: Refused; what ``run`` raises, except for errors of usage, and
    of records that are lost or damaged.
    """
    route, part = _TABLE.find(method, path)

    def transact(function: Callable[[TaskService], Any]) -> Any:
        return run(function, True)

    answer = call(route, Call(query, body, run, transact, part))
    return answer.data if isinstance(answer, Answer) else answer


def answer(request: Request) -> Response:
    """Answer one request over HTTP, for which its route has to be permitted.

    Raises: Refused; what ``request.run`` raises.
    """
    path = request.path.removeprefix(PREFIX).removesuffix('/')
    route, part = _TABLE.find(request.method, path)
    # Visitors without a login share one submitter: none of its jobs is theirs.
    if (route.own is not None and request.user
            and not request.may(route.permission)):
        route = route._replace(function=route.own)
    else:
        request.demand(route.permission)
    if request.method not in ('GET', 'HEAD') and not request.headers.get(
            'authorization', '').lower().startswith('bearer '):
        # A program sends neither header, and a foreign page cannot leave
        # them out.  Of its own accord no browser sends a Bearer token: a page
        # that does has it, or is let in by the host's rules of CORS.
        csrf.check_origin(request)

    def body() -> bytes:
        if request.content_type != 'application/json':
            raise Refused(415, 'the Content-Type has to be application/json')
        return request.body()

    found = call(route, Call(request.query, body, request.run,
                             request.transact, part, request.headers,
                             request.user, request.demand))
    if not isinstance(found, Answer):
        found = Answer(found)
    return _response(request, found)


def call(route: Route, call: Call) -> object:
    """Call the function of a route.

    Raises: Refused for what the caller can mend, and where a record is lost
    or damaged.
    """
    try:
        return route.function(call)
    except (JobNotFound, GroupNotFound) as error:
        raise Refused(404, str(error)) from None
    except (DuplicateJob, InvalidTransition, UnreadableRecord) as error:
        # The request is right, but the job has another status by now.
        raise Refused(409, str(error)) from None
    except (UsageError, ValueError) as error:
        raise Refused(400, with_notes(error)) from None
    except UNREADABLE as error:
        if not is_damaged(error):
            raise
        message = call.run(partial(lost.told, error=error), False)
        raise Refused(500, str(message)) from error


def refusal(refused: Refused) -> Response:
    """An answer that says why not, as RFC 9457 has it.

    ``error`` is what this API said before it followed that.
    """
    data = {'type': 'about:blank', 'title': HTTPStatus(refused.status).phrase,
            'status': refused.status, 'detail': refused.message,
            'error': refused.message}
    headers = {'Cache-Control': 'no-store',
               'X-Content-Type-Options': 'nosniff', **refused.headers()}
    return Response(refused.status, 'application/problem+json',
                    _bytes(data), headers)


def _response(request: Request, answer: Answer) -> Response:
    headers = {'Cache-Control': 'no-store',
               'X-Content-Type-Options': 'nosniff', **answer.headers}
    if answer.place:
        headers['Location'] = f'{request.base}/{PREFIX}{answer.place}'
    if answer.status == 204:
        return Response(204, 'application/json', b'', headers)
    body = answer.text.encode() if answer.text else _bytes(answer.data)
    if request.method in ('GET', 'HEAD') and not answer.text:
        # For those that ask again and again: see pages/static/status.js.
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers['ETag'] = tag
        if tag in request.headers.get('if-none-match', ''):
            return Response(304, 'application/json; charset=utf-8', b'',
                            headers)
    return Response(answer.status, f'{answer.content_type}; charset=utf-8',
                    body, headers)


def _bytes(data: object) -> bytes:
    return json.dumps(data, allow_nan=False).encode('ascii') + b'\n'
