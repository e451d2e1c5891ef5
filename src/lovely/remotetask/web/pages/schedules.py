"""The list of schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.interfaces import SCHEDULED
from lovely.remotetask.store.records import look
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.frame import Page
from lovely.remotetask.web.pages.rows import row
from lovely.remotetask.web.requests import Request

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_PAGE = 50

_FIELDS = (('minute', 'minute'), ('hour', 'hour'),
           ('dayOfMonth', 'day of the month'), ('month', 'month'),
           ('dayOfWeek', 'day of the week'))
_DAYS = ('Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday',
         'Sunday')
_MONTHS = ('January', 'February', 'March', 'April', 'May', 'June', 'July',
           'August', 'September', 'October', 'November', 'December')


def show(request: Request, part: str) -> Page:
    """The jobs that run at certain times, the next one first."""
    start = request.query.get('start') or None
    found: Any = request.run(lambda service: _look(service, start), False)
    return Page('schedules', 'Schedules', 'schedules', {
        **found, 'is_first': start is None})


def _look(service: TaskService, start: str | None) -> dict[str, Any]:
    page = presenter.jobs(service, status=SCHEDULED, start=start, limit=_PAGE)
    rows = []
    for one in page['jobs']:
        job: Any = look(service.jobs, one['id'])
        last = next(iter(getattr(job, 'runs', ())), None)
        rows.append({
            **row(one),
            'when': when(job),
            'last': None if last is None else {
                'outcome': words.badge(last.outcome),
                'took': words.duration(last.seconds),
                'ended': words.moment(
                    None if last.endedAt is None
                    else last.endedAt.isoformat())},
        })
    return {'rows': rows, 'next': page['next']}


def when(job: Any) -> str:
    """A schedule in words, in UTC."""
    if getattr(job, 'delay', None) is not None:
        return 'once, after a delay'
    parts = []
    for name, title in _FIELDS:
        values = getattr(job, name, ())
        if not values:
            continue
        shown = [_word(name, value) for value in values[:12]]
        more = f' and {len(values) - 12} more' if len(values) > 12 else ''
        parts.append(f'{title} {", ".join(shown)}{more}')
    return '; '.join(parts) or '–'


def _word(name: str, value: int) -> str:
    if name == 'dayOfWeek' and 0 <= value < 7:
        return _DAYS[value]
    if name == 'month' and 1 <= value <= 12:
        return _MONTHS[value - 1]
    return str(value)
