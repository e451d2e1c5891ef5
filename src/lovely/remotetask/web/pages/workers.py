"""The list of workers."""

from __future__ import annotations

from typing import Any

from lovely.remotetask.web import roster
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.frame import Page
from lovely.remotetask.web.requests import Request


def show(request: Request, part: str) -> Page:
    """Who runs jobs of this service, and which."""
    found: Any = request.run(roster.workers, False)
    return Page('workers', 'Workers', 'workers', {
        'rows': [_row(one) for one in found['workers']]})


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
