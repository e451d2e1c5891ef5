"""Steers what was added: pauses the queue, and lets it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding import jobs
from lovely.remotetask.bounds import shown
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import UsageError
from lovely.remotetask.peers.wakeup import notify_after_commit

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

# The longest reason of a pause (characters): it is shown on each page.
_REASON_CHARS = 200


def pause(service: TaskService, reason: Any) -> None:
    """See ITaskService.pause"""
    if reason is not None and not (
            isinstance(reason, str) and 1 <= len(reason) <= _REASON_CHARS):
        raise UsageError(f'reason is {shown(reason)}; give a text of 1 to '
                         f'{_REASON_CHARS} characters, or None')
    queue = service.jobqueue
    if queue.paused and reason is None:
        return
    queue.paused = True
    queue.pausing = (jobs.find_submitter(service, service.host, None),
                     service.clock.now(), reason)


def resume(service: TaskService) -> None:
    """See ITaskService.resume"""
    if service.jobqueue.paused:
        service.jobqueue.paused = False
        service.jobqueue.pausing = None
    notify_after_commit(service, caller.jar_of(service))
