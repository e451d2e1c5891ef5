"""What a supervisor asks: does this process answer, and can it do its work?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.peers.storages import innermost
from lovely.remotetask.web import presenter
from lovely.remotetask.web import roster
from lovely.remotetask.web.bounded import Bounded
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_HEADERS = {'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff'}


def alive(request: Request, part: str) -> Response:
    """``healthz``: this process answers.  It asks no database."""
    return Response(200, 'text/plain; charset=utf-8', b'ok\n', _HEADERS)


def ready(request: Request, part: str,
          monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic
          ) -> Response:
    """``readyz``: the service can be read, and has what the query asks for.

    ``?workers=1``: so many live workers; ``?oldest=300``: no job has waited
    longer (seconds).  A queue that is paused is ready.  A database that does
    not answer within a second is not.
    Everybody gets a word and a status; an account with VIEW gets the figures.
    """
    wanted = {name: _number(name, request.query[name])
              for name in ('workers', 'oldest') if name in request.query}
    found = _look(request, monotonic)
    problem = _problem(found, wanted)
    status = 503 if problem else 200
    if found is None or not request.may(VIEW):
        word = b'not ready\n' if problem else b'ready\n'
        return Response(status, 'text/plain; charset=utf-8', word, _HEADERS)
    data = {'ready': not problem, 'problem': problem or None, **found}
    return Response(status, 'application/json',
                    json.dumps(data).encode() + b'\n', _HEADERS)


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise UsageError(f'{name} has to be a whole number, not {text!r:.80}')
    return int(text)


def _look(request: Request, monotonic: Callable[[], float]
          ) -> dict[str, Any] | None:
    """The figures, at most some seconds old; None: they cannot be read."""
    # Two requests at once may both make one: no harm.
    bounded = request.kept.setdefault('probe', Bounded())
    found: dict[str, Any] | None = bounded.ask(
        # Not in the request's transaction: that belongs to this thread.
        lambda: request.transact(_figures, writes=False), monotonic)
    return found


def _figures(service: TaskService) -> dict[str, Any]:
    jar: Any = service._p_jar
    # A ZEO client answers from its cache while its server hangs.
    ping = getattr(innermost(jar.db().storage), 'ping', None)
    if ping is not None:
        ping()
    stats = presenter.stats(service)
    live = sum(one['live'] for one in roster.workers(service)['workers'])
    return {'workers': live, 'paused': stats['paused'],
            'queued': stats['queued'], 'oldest': stats['oldest']}


def _problem(found: dict[str, Any] | None, wanted: dict[str, int]) -> str:
    if found is None:
        return 'the service cannot be read'
    if found['workers'] < wanted.get('workers', 0):
        return f'there are {found["workers"]} live workers'
    oldest = found['oldest']
    if 'oldest' in wanted and oldest is not None and (
            oldest > wanted['oldest']):
        return f'the oldest job has waited {oldest:.0f} seconds'
    return ''
