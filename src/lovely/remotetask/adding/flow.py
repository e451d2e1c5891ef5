"""Limits and queues: set and shown while workers run."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding.options import check_concurrency_key
from lovely.remotetask.declaring.decorated import name_of
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.limits import Limit
from lovely.remotetask.fields.limits import check_limit
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.store import counts
from lovely.remotetask.store.gates import behind
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

# How many barred jobs are counted behind one gate.
_MOST_COUNTED = 1000

# Behind how many gates jobs are looked for that nobody has set a limit for.
_MOST_GATES = 100


def list_queues(service: TaskService) -> list[dict[str, Any]]:
    """See ITaskService.listQueues"""
    return counts.queues(service.jobqueue, service.clock.now())


def set_limit(service: TaskService, task: Any, key: Any, limit: Any,
              rate: Any) -> None:
    """See ITaskService.setLimit"""
    name = _gate_name(task, key)
    service.jobqueue.limits.set(name, check_limit(limit, rate))
    notify_after_commit(service, caller.jar_of(service))


def unset_limit(service: TaskService, task: Any, key: Any) -> None:
    """See ITaskService.unsetLimit"""
    service.jobqueue.limits.set(_gate_name(task, key), None)
    notify_after_commit(service, caller.jar_of(service))


def _gate_name(task: Any, key: Any) -> str:
    if (task is None) == (key is None):
        raise UsageError('give a task or a key: a limit is of one of them')
    if key is not None:
        return f'key:{check_concurrency_key(key)}'
    name = name_of(task)
    # Not the task itself: a worker may have what this process has not.
    if not isinstance(name, str) or not 1 <= len(name) <= 1000:
        raise UsageError(f'task is {shown(name)}; give the name of a task')
    return f'task:{name}'


def list_limits(service: TaskService) -> list[dict[str, Any]]:
    """See ITaskService.listLimits"""
    queue = service.jobqueue
    found: dict[str, Limit] = {}
    for name, task in service.getAvailableTasks().items():
        try:
            limit = check_limit(task_option(task, 'limit'),
                                task_option(task, 'rate'))
        except Exception:
            continue        # a worker logs it, and goes on without it
        if limit != Limit():
            found[f'task:{name}'] = limit
    found |= {name: Limit(*stored)
              for name, stored in queue.limits.stored.items()}
    for name in queue.barred_names(None, _MOST_GATES)[0]:
        if queue.first_barred(name) is not None:
            found.setdefault(name, Limit(1) if name.startswith('key:')
                             else Limit())
    return [_row(service, name, limit)
            for name, limit in sorted(found.items())]


def _row(service: TaskService, name: str, limit: Limit) -> dict[str, Any]:
    queue = service.jobqueue
    kind, _, named = name.partition(':')
    barred = sum(1 for _ in islice(
        queue.barred.trees[0].keys(*behind(name)), _MOST_COUNTED))
    return {'kind': kind, 'name': named, 'limit': limit.limit,
            'rate': None if limit.rate is None else list(limit.rate),
            'set': name in queue.limits.stored,
            'running': len(queue.gates.running(name)), 'waiting': barred}
