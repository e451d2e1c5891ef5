"""The list of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.task import task_option
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.frame import Page
from lovely.remotetask.web.requests import Request

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


# How far back the figures look.
_HOURS = 24


def show(request: Request, part: str) -> Page:
    """The tasks that this process knows."""
    found: Any = request.run(_look, False)
    return Page('tasks', 'Tasks', 'tasks', {'rows': found})


def _look(service: TaskService) -> list[dict[str, Any]]:
    tasks = service.getAvailableTasks()
    remote = set(presenter.available_tasks(service))
    inputs = presenter.tasks(service)['inputs']
    ended = service.historyOfTasks(_HOURS)
    found = []
    for name in sorted(tasks):
        timeout = task_option(tasks[name], 'timeout')
        retry = task_option(tasks[name], 'retry')
        found.append({
            'name': name,
            'remote': name in remote,
            'takes': _takes(inputs.get(name)),
            'timeout': 'none' if timeout is None else words.duration(timeout),
            'retry': _retried(retry),
            **_lately(ended.get(name)),
        })
    return found


def _lately(sums: dict[str, Any] | None) -> dict[str, str | None]:
    """How the runs of a task have ended lately."""
    count = 0 if sums is None else sums['done'] + sums['failed']
    if sums is None or not count:
        return {'ended': '0', 'failed': None, 'p50': None, 'p95': None}
    return {
        'ended': words.number(count),
        'failed': f'{100 * sums["failed"] / count:.0f}{words.THIN}%',
        'p50': _about(sums['p50Ms']), 'p95': _about(sums['p95Ms'])}


def _about(milliseconds: float | None) -> str | None:
    return (None if milliseconds is None
            else f'~ {words.duration(milliseconds / 1000)}')


def _retried(policy: Any) -> str:
    retries = 3 if policy is None else getattr(policy, 'retries', policy)
    if not isinstance(retries, int):
        # A policy of the application says no number.
        return type(policy).__name__
    return words.count(retries, 'time', 'times') if retries else 'never'


def _takes(found: dict[str, Any] | None) -> str:
    if found is None or found['whole']:
        return 'one input'
    names = [one['name'] if one['required'] else f'{one["name"]}=…'
             for one in found['parameters']]
    if found['others']:
        names.append('…')
    return ', '.join(names) or 'nothing'
