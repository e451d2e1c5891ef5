"""The list of workers, and what bounds their work: queues and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.web import presenter
from lovely.remotetask.web import roster
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.frame import Page
from lovely.remotetask.web.requests import Request

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def show(request: Request, part: str) -> Page:
    """Who runs jobs of this service, and which."""
    found: Any = request.run(_look, False)
    queues = found['queues']
    return Page('workers', 'Workers', 'workers', {
        'rows': [_row(one) for one in found['workers']],
        # Of a service with one queue there is nothing to tell.
        'queues': [_queue(one) for one in queues] if len(queues) > 1 or any(
            one['paused'] for one in queues) else [],
        'limits': [_limit(one) for one in found['limits']],
        'tasks': found['tasks']})


def _look(service: TaskService) -> dict[str, Any]:
    return {**roster.workers(service), **presenter.queues(service),
            **presenter.limits(service),
            'tasks': sorted(service.getAvailableTasks())}


def _queue(queue: dict[str, Any]) -> dict[str, Any]:
    return {
        'name': queue['name'], 'ready': words.number(queue['ready']),
        'paused': queue['paused'], 'why': queue['pauseReason'],
        'until': words.moment(queue['resumeAt'])}


def _limit(limit: dict[str, Any]) -> dict[str, Any]:
    rate = limit['rate']
    return {
        'kind': {'task': 'Task', 'key': 'Key'}[limit['kind']],
        'field': limit['kind'], 'name': limit['name'],
        'limit': '–' if limit['limit'] is None else words.number(
            limit['limit']),
        'rate': '–' if rate is None else f'{words.number(int(rate[0]))} in '
                                         f'{words.duration(rate[1])}',
        'set': limit['set'],
        'running': words.number(limit['running']),
        'waiting': words.number(limit['waiting'])}


def _row(worker: dict[str, Any]) -> dict[str, Any]:
    return {
        'id': worker['id'],
        'host': worker['host'],
        'since': words.moment(worker['since']),
        'stale': not worker['live'],
        'sign': words.moment(worker['lastSign']),
        'threads': words.number(len(worker['slots'])),
        'evidence': ', '.join(worker['evidence']) or 'none',
        'jobs': [{'id': str(one['id']), 'task': one['task'] or '?',
                  'attempt': one['attempt'],
                  'took': words.duration(one['seconds'])}
                 for one in worker['jobs']],
        'stuck': [{'id': str(one['id']), 'why': one['why']}
                  for one in worker['stuck']],
        'lacks': ', '.join(worker['lacks']),
    }
