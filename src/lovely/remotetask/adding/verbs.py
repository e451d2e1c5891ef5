"""The verbs of a service about schedules, the flow of its jobs, and jobs that
follow others.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from lovely.remotetask.adding import steering
from lovely.remotetask.adding.cron import add_cron
from lovely.remotetask.adding.cron import edit_cron
from lovely.remotetask.adding.options import Options
from lovely.remotetask.follow import STOP

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


class ScheduleVerbs:
    """See ITaskService: the part of a TaskService that is about schedules."""

    def addCronJob(self, task: str | Callable[..., Any], input: Any = None,
                   minute: Any = (), hour: Any = (), dayOfMonth: Any = (),
                   month: Any = (), dayOfWeek: Any = (),
                   delay: float | None = None, *, cron: str | None = None,
                   every: float | None = None, at: datetime | None = None,
                   timezone: str = 'UTC', missed: str = 'once',
                   atMost: int | None = None, deadline: float | None = None,
                   overlap: str = 'skip', priority: int = 0,
                   key: str | None = None, onDuplicate: str = 'keep',
                   runAs: str | None = None, enabled: bool = True,
                   concurrencyKey: str | None = None,
                   queue: str | None = None, retry: Any = None,
                   timeout: float | None = None, onSuccess: Any = None,
                   onFailure: Any = None) -> int:
        """See ITaskService"""
        return add_cron(_service(self), task, input, dict(
            minute=minute, hour=hour, dayOfMonth=dayOfMonth, month=month,
            dayOfWeek=dayOfWeek, delay=delay, cron=cron, every=every, at=at,
            timezone=timezone, missed=missed, atMost=atMost, deadline=deadline,
            overlap=overlap),
            Options(priority, key, onDuplicate, runAs, concurrencyKey, queue,
                    retry=retry, timeout=timeout, onSuccess=onSuccess,
                    onFailure=onFailure), enabled)

    def runCronJob(self, jobid: int) -> bool:
        """See ITaskService"""
        return steering.run_schedule(_service(self), jobid)

    def pauseCronJob(self, jobid: int) -> None:
        """See ITaskService"""
        steering.pause_schedule(_service(self), jobid)

    def resumeCronJob(self, jobid: int) -> None:
        """See ITaskService"""
        steering.resume_schedule(_service(self), jobid)

    def editCronJob(self, jobid: int, **changes: Any) -> None:
        """See ITaskService"""
        edit_cron(_service(self), jobid, changes)

    def reschedule(self, jobid: int) -> None:
        """See ITaskService"""
        steering.reschedule(_service(self), jobid)


class FollowVerbs:
    """See ITaskService: the part of a TaskService that is about jobs which
    come after others.
    """

    def addChain(self, calls: Iterable[Any], *, policy: str = STOP) -> int:
        """See ITaskService"""
        return _groups().add_chain(_service(self), calls, policy)

    def addGroup(self, calls: Iterable[Any], then: Any = None, *,
                 policy: str = STOP, runAs: str | None = None) -> int:
        """See ITaskService"""
        return _groups().add_group(_service(self), calls, then, policy, runAs)

    def getGroup(self, group: Any) -> dict[str, Any]:
        """See ITaskService"""
        return _groups().get_group(_service(self), group)

    def listGroups(self, start: str | None = None, limit: int = 50
                   ) -> tuple[list[dict[str, Any]], str | None]:
        """See ITaskService"""
        return _groups().list_groups(_service(self), start, limit)

    def cancelGroup(self, group: Any) -> int:
        """See ITaskService"""
        return _groups().cancel_group(_service(self), group)


class FlowVerbs:
    """See ITaskService: the part about pauses, queues and limits."""

    def pause(self, reason: str | None = None, *, queue: str | None = None,
              resumeAt: datetime | None = None) -> None:
        """See ITaskService"""
        steering.pause(_service(self), reason, queue, resumeAt)

    def resume(self, *, keepJobs: bool = False, queue: str | None = None
               ) -> None:
        """See ITaskService"""
        steering.resume(_service(self), keepJobs, queue)

    def listQueues(self) -> list[dict[str, Any]]:
        """See ITaskService"""
        return _flow().list_queues(_service(self))

    def setLimit(self, task: str | Callable[..., Any] | None = None, *,
                 key: str | None = None, limit: int | None = None,
                 rate: tuple[int, float] | None = None) -> None:
        """See ITaskService"""
        _flow().set_limit(_service(self), task, key, limit, rate)

    def unsetLimit(self, task: str | Callable[..., Any] | None = None, *,
                   key: str | None = None) -> None:
        """See ITaskService"""
        _flow().unset_limit(_service(self), task, key)

    def listLimits(self) -> list[dict[str, Any]]:
        """See ITaskService"""
        return _flow().list_limits(_service(self))


def _service(verbs: ScheduleVerbs | FlowVerbs | FollowVerbs) -> TaskService:
    return cast('TaskService', verbs)


def _groups() -> Any:
    # Imported here and not above: few processes ask for it.
    from lovely.remotetask.adding import groups

    return groups


def _flow() -> Any:
    # As _groups.
    from lovely.remotetask.adding import flow

    return flow
