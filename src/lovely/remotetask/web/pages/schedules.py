"""The list of schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
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
_POLICIES = (('missed', 'missed'), ('atMost', 'at most'),
             ('deadline', 'seconds late at most'), ('overlap', 'overlap'))
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
    page = presenter.schedules(service, start, _PAGE)
    return {'rows': [row_of(one) for one in page['jobs']],
            'next': page['next']}


def row_of(job: dict[str, Any]) -> dict[str, Any]:
    """What the pages show of a schedule, from presenter.schedules."""
    last = job['lastRun']
    return {**row(job), 'when': when(job), 'waits_for_time': job['status'] in (
        CRONJOB, DELAYED), 'last': None if last is None else {
        'outcome': words.badge(last['outcome']),
        'took': words.duration(last['seconds']),
        'ended': words.moment(last['endedAt'])}}


def when(job: dict[str, Any]) -> str:
    """A schedule in words."""
    plan = job['plan']
    if 'every' in plan:
        parts = [f'every {words.duration(plan["every"])}']
    elif 'at' in plan:
        parts = ['once']
    elif 'cron' in plan:
        parts = [plan['cron']]
    else:
        parts = [*_fields(job)] or ['once, after a delay']
    if 'timezone' in plan:
        parts.append(f'in {plan["timezone"]}')
    parts += [f'{title}: {_number(plan[name])}' for name, title in _POLICIES
              if name in plan]
    return '; '.join(parts)


def _number(value: Any) -> str:
    return words.digits(value) if isinstance(value, float) else str(value)


def _fields(job: dict[str, Any]) -> Iterator[str]:
    for name, title in _FIELDS:
        values = job['schedule'][name]
        if values:
            shown = [_word(name, value) for value in values[:12]]
            more = f' and {len(values) - 12} more' if len(values) > 12 else ''
            yield f'{title} {", ".join(shown)}{more}'


def _word(name: str, value: int) -> str:
    if name == 'dayOfWeek' and 0 <= value < 7:
        return _DAYS[value]
    if name == 'month' and 1 <= value <= 12:
        return _MONTHS[value - 1]
    return str(value)
