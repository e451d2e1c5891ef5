"""What has ended since the last time a client asked.

The clocks of workers differ, and a commit comes after the moment that it
notes, so a client that has seen all is told the last seconds once more: an
event may come twice and is never lost.  Clients know it by job and moment.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.clock import first_key
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.store.ends import ends_since
from lovely.remotetask.web.api.calls import Answer
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import check_query

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The parameters.
QUERY = ('after', 'limit')

#: So much (seconds) of what was told already is told once more.
OVERLAP = 5.0

# After so long (milliseconds) an EventSource asks again.
_RETRY_MS = 2000

_STREAM = 'text/event-stream'


def show(call: Call) -> object:
    """One batch of events; for an EventSource, as a stream that ends.

    It holds no thread: the client comes back by itself.
    """
    check_query(call.query, *QUERY)
    after = call.headers.get('last-event-id') or call.query.get('after') or ''
    limit = _limit(call.query.get('limit', '100'))
    found: Any = call.run(lambda service: _look(service, after, limit), False)
    if _STREAM not in call.headers.get('accept', ''):
        return found
    return Answer(found, text=_as_stream(found), content_type=_STREAM)


def _look(service: TaskService, after: str, limit: int) -> dict[str, Any]:
    latest = first_key(service.clock.now() - OVERLAP)
    # Without a cursor a client begins with what ends from now on.
    start = _cursor(after) if after else latest
    ends = ends_since(service.jobqueue, start, limit)
    if len(ends) == limit:
        following = ends[-1][0] + 1
    else:
        following = max(start, latest)
    return {'events': [{'id': str(at), 'job': jobid, 'status': status,
                        'at': iso(key_time(at))}
                       for at, jobid, status in ends],
            'next': str(following)}


def _cursor(text: str) -> int:
    if not re.fullmatch('[0-9]{1,19}', text, re.ASCII) or (
            int(text) >= 2 ** 63):
        raise InvalidCursor(f'{text!r:.80} is no cursor of events; use the '
                            f'"next" of the answer before')
    return int(text)


def _limit(text: str) -> int:
    if not re.fullmatch('[0-9]{1,4}', text, re.ASCII) or not (
            1 <= int(text) <= MAX_PAGE):
        raise UsageError(f'limit has to be a whole number from 1 to '
                         f'{MAX_PAGE}, not {text!r:.80}')
    return int(text)


def _as_stream(found: dict[str, Any]) -> str:
    lines = [f'retry: {_RETRY_MS}\n\n']
    for one in found['events']:
        data = json.dumps({name: one[name] for name in ('job', 'status',
                                                        'at')})
        lines.append(f'id: {one["id"]}\nevent: ended\ndata: {data}\n\n')
    # The last id is where the client goes on.
    lines.append(f'id: {found["next"]}\nevent: seen\ndata: {{}}\n\n')
    return ''.join(lines)
