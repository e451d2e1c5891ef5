"""The list of jobs: filtered, page by page, with what can be done to them."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import NOT_OVER
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.rows import row
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The texts by which the list is filtered, besides status and id.
TEXTS = ('task', 'key', 'submitter', 'error', 'queue')

_PAGE = 50

# For how long (seconds) a page with a filter looks: after that it shows what
# it has found, and leads further.
_SECONDS = 0.15

_CHOICES = ('queued', 'processing', 'scheduled', 'start later', 'completed',
            'error', 'cancelled')


def show(request: Request, part: str) -> frame.Page:
    """A page of the list."""
    query = request.query
    jobid = query.get('id', '').strip()
    if jobid:
        return _one(request, jobid)
    wanted = chosen(query)
    status = query.get('status') or None
    start = query.get('start') or None
    found: Any = request.run(
        lambda service: _look(service, status, start, wanted), False)
    link = {name: value for name, value in
            (('status', status), *wanted.items()) if value}
    return frame.Page('jobs', 'Jobs', 'jobs', {
        **found,
        'status': status,
        'kind': words.STATUSES.get(status or '', ('', ''))[0].lower(),
        'choices': [(one, words.STATUSES[one][0]) for one in _CHOICES],
        'filter': {name: wanted.get(name, '') for name in TEXTS},
        'is_filtered': bool(wanted),
        'link': urllib.parse.urlencode(link),
        'is_first': start is None,
        'can_retry': status in ('error', 'cancelled'),
        'can_cancel': status in (*NOT_OVER, 'scheduled'),
        'can_remove': status in FINAL and not wanted,
    })


def chosen(query: Any) -> dict[str, str]:
    """The texts of a filter that are given."""
    return {name: query[name].strip() for name in TEXTS
            if query.get(name, '').strip()}


def _one(request: Request, jobid: str) -> frame.Page:
    from lovely.remotetask.web.pages import job

    if not jobid.isascii() or not jobid.isdecimal() or len(jobid) > 19:
        raise Refused(400, f'the id of a job is a whole number, not '
                           f'{jobid!r:.80}')
    return job.show(request, jobid)


def _look(service: TaskService, status: str | None, start: str | None,
          wanted: dict[str, str]) -> dict[str, Any]:
    found = presenter.jobs(service, status=status, start=start, limit=_PAGE,
                           seconds=_SECONDS if wanted else None, **wanted)
    number = presenter.counts(service)
    count = len(found['jobs'])
    if status is None:
        total = sum(number[one] for one in _CHOICES)
    else:
        total = number.get(status, count)
    return {
        'rows': [row(one) for one in found['jobs']],
        'next': found['next'],
        'total': words.count(total, 'job', 'jobs'),
        'looked': words.number(found['looked']) if wanted else None,
        'count': words.number(count) if count else 'none',
        'tasks': sorted(service.getAvailableTasks()),
    }
