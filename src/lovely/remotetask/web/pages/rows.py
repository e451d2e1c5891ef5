"""A job as one row of a list."""

from __future__ import annotations

from typing import Any

from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.web.pages import words


def row(job: dict[str, Any]) -> dict[str, Any]:
    """What the lists show of a job, from presenter.summary."""
    return {
        'id': str(job['id']),
        'task': job['task'] or '?',
        'status': words.badge(job['status']),
        'added': words.moment(job['createdAt']),
        'started': words.moment(job['startedAt']),
        'ended': words.moment(job['completedAt']),
        'next': words.moment(job['scheduledAt']),
        'took': words.duration(words.between(job['startedAt'],
                                             job['completedAt'])),
        'attempts': job['attempts'],
        'error': words.error_line(job),
        'waits': job['waitsFor'],
        'progress': _progress(job.get('progress')),
        'is_schedule': 'enabled' in job,
        'enabled': job.get('enabled', True),
        'declared': job.get('declared', False),
        'paused_because': job.get('pausedBecause'),
        'can_edit': 'enabled' in job and job['status'] not in FINAL,
    }


def _progress(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """How far a job has come, as its task tells."""
    if told is None:
        return None
    done, total = told['done'], told['total']
    return {
        'text': (f'{words.number(done)} of {words.number(total)}'
                 if total is not None else words.number(done)),
        'done': str(done), 'total': None if not total else str(total),
        'message': told['message'], 'at': words.moment(told['at'])}
