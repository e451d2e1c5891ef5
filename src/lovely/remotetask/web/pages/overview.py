"""The first page: how many jobs are where, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.web import grouped
from lovely.remotetask.web import presenter
from lovely.remotetask.web import roster
from lovely.remotetask.web.pages import plots
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.frame import Page
from lovely.remotetask.web.pages.rows import row
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_COUNTED = ('queued', 'processing', 'scheduled', 'start later', 'completed',
            'error', 'cancelled')

_RUNNING = 8
_FAILED = 5


def show(request: Request, part: str) -> Page:
    """The overview."""
    hours = request.query.get('hours', '1')
    if hours not in map(str, plots.SPANS):
        raise Refused(400, f'hours has to be one of '
                           f'{", ".join(map(str, plots.SPANS))}, not '
                           f'{hours!r:.80}')
    found: Any = request.run(
        lambda service: _look(service, int(hours)), False)
    return Page('overview', 'Overview', '', found)


def _look(service: TaskService, hours: int) -> dict[str, Any]:
    stats = presenter.stats(service)
    workers = [one for one in roster.workers(service)['workers']
               if one['live']]
    queued, oldest = stats['queued'], stats['oldest']
    busy = sum(len(worker['jobs']) for worker in workers)
    threads = sum(len(worker['slots']) for worker in workers)
    return {
        'counts': [{
            'status': status, 'name': words.STATUSES[status][0],
            'kind': words.STATUSES[status][1],
            'number': words.number(stats[status])} for status in _COUNTED],
        'paused': stats['paused'] and {
            'by': stats['pausedBy'], 'why': stats['pauseReason'],
            'at': words.moment(stats['pausedAt'])},
        'idle': (words.count(queued, 'job waits', 'jobs wait')
                 if queued and not workers else None),
        'lacking': _lacking(workers),
        'facts': [
            ('Oldest queued', words.duration(
                # Whole seconds: a live answer changes less often.
                oldest and round(oldest))),
            ('Completed per minute',
             words.number(round(stats['completedPerMinute'], 1))),
            ('Failed per minute',
             words.number(round(stats['errorPerMinute'], 1))),
            ('Workers', words.number(len(workers)) if not threads else
             f'{words.number(len(workers))} '
             f'({words.count(threads, "thread", "threads")}, {busy} busy)'),
        ],
        'groups': _groups(service),
        'kept': _kept(service),
        'running': _some(service, PROCESSING, _RUNNING),
        'failed': _some(service, ERROR, _FAILED),
        'plots': plots.charts(service, hours),
        'empty': not any(stats[status] for status in _COUNTED),
    }


def _groups(service: TaskService) -> str | None:
    """How many groups are open, in words; None where none is."""
    count = grouped.count_open(service)
    return words.count(count, 'group is open', 'groups are open') \
        if count else None


def _kept(service: TaskService) -> list[dict[str, Any]]:
    """How long jobs that are over are kept, for the form that changes it."""
    found = service.getRetention()
    return [{'status': status, 'name': words.STATUSES[status][0],
             **{name: '' if value is None else f'{value:g}'
                if isinstance(value, float) else str(value)
                for name, value in found[status].items()}}
            for status in (COMPLETED, ERROR, CANCELLED)]


def _some(service: TaskService, status: str, limit: int
          ) -> list[dict[str, Any]]:
    found = presenter.jobs(service, status=status, limit=limit)['jobs']
    return [row(one) for one in found]


def _lacking(workers: list[dict[str, Any]]) -> list[str]:
    """The tasks that some worker met and does not have."""
    return sorted({name for worker in workers for name in worker['lacks']})
