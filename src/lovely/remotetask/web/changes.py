"""Changes a service for the surfaces, by plain data.

This module knows of no HTTP, template or framework.  The caller has checked
the permission, and brings the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding.cron import change_cron
from lovely.remotetask.bulk import RETRIED
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.job import CronJob
from lovely.remotetask.store.records import look
from lovely.remotetask.web import plain
from lovely.remotetask.web.presenter import is_remote
from lovely.remotetask.web.presenter import job_id

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


#: An input that is not given: the job keeps the one it has.
UNCHANGED = object()


def add_schedule(service: TaskService, task: object, input: object = None,
                 key: object = None, onDuplicate: object = 'keep',
                 enabled: object = True, priority: object = 0,
                 delay: object = None, **fields: object) -> int:
    """Add a schedule for a caller outside of the application.

    Arguments: ``fields``, lists of int by the names of FIELDS; the others as
    ITaskService.addCronJob has them.
    Returns: the job's id.
    Raises: as ``add``; InvalidSchedule.
    Txn: the caller commits.
    """
    given: dict[str, Any] = {'key': key, 'onDuplicate': onDuplicate,
                             'enabled': enabled, 'priority': priority,
                             'delay': delay, **_times(fields)}
    name, input = _check_added(service, task, input, priority)
    return int(service.addCronJob(name, input, **given))


def change_schedule(service: TaskService, jobid: object, task: object,
                    input: object = UNCHANGED, delay: Any = None,
                    **fields: object) -> None:
    """Give a schedule, or a job that waits for a delay, another one.

    Arguments: as ``add_schedule``; ``input``, UNCHANGED: the one it has stays.
    Raises: as ``add_schedule``; JobNotFound; UsageError for any other job;
    InvalidTransition for one that is over.
    Txn: the caller commits.
    """
    jobid = job_id(jobid)
    service.getStatus(jobid)    # raises JobNotFound
    job: Any = look(service.jobs, jobid)
    if not isinstance(job, CronJob):
        raise UsageError(f'job {jobid} is no cron job: it has no schedule to '
                         f'change')
    keeps_input = input is UNCHANGED
    name, input = _check_added(service, task, None if keeps_input else input,
                               0, job.task)
    if keeps_input:
        # Also what is not plain data.
        input = job.input
    change_cron(service, job, name, input, _times(fields), delay)


def _times(fields: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The fields of a schedule as tuples.  Raises: UsageError."""
    for name, value in fields.items():
        if not isinstance(value, list):
            raise UsageError(f'{name} has to be a list of whole numbers, not '
                             f'{value!r:.80}')
    return {name: tuple(value) for name, value in fields.items()}


def add(service: TaskService, task: object, input: object = None,
        priority: object = 0, delay: object = None, key: object = None,
        onDuplicate: object = 'keep') -> int:
    """Add a job for a caller outside of the application.

    Arguments: ``task`` (str); ``input``, plain data; ``priority`` (int,
    -4..3); ``delay``, seconds or None; ``key``, ``onDuplicate``: see
    ITaskService.add.
    Returns: the job's id.
    Raises: ValueError('Task does not exist'), also for a task that is not
    remote: a caller outside must not learn that there is one; InputRejected;
    DuplicateJob; UsageError.
    Txn: the caller commits.  Source: 0.5.2 (task and input).
    """
    if delay is not None and (not isinstance(delay, (int, float))
                              or isinstance(delay, bool)):
        raise UsageError(f'delay has to be a number of seconds, '
                         f'not {delay!r:.80}')
    name, input = _check_added(service, task, input, priority)
    # Options that were not given are not passed: a subclass written for 0.5.2
    # that overrides add() knows none of them.
    options: dict[str, Any] = {}
    if priority != 0:
        options['priority'] = priority
    if delay is not None:
        options['delay'] = delay
    if key is not None:
        options['key'] = key
    if onDuplicate != 'keep':
        options['onDuplicate'] = onDuplicate
    return int(service.add(name, input, **options))


def _check_added(service: TaskService, task: object, input: object,
                 priority: object, known: str | None = None
                 ) -> tuple[str, object]:
    """The name of the task, and the input as plain data.

    Arguments: ``known``, a task that may stay although it is not remote.
    Raises: what ``add`` says.
    """
    if not isinstance(task, str):
        raise UsageError(f'the task has to be a name, not {task!r:.80}')
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise UsageError(f'priority has to be a whole number from -4 to 3, '
                         f'not {priority!r:.80}')
    try:
        input = plain.plain(input)
    except InputRejected as error:
        raise InputRejected(f'the input cannot be taken: {error}') from None
    utility = service.getAvailableTasks().get(task)
    if (utility is not None and task != known
            and not is_remote(service, utility)):
        raise ValueError('Task does not exist')
    return task, input


def cancel(service: TaskService, jobid: object) -> None:
    """Cancel a job; silent about unknown ids and jobs that are over.

    Txn: the caller commits.  Source: 0.5.2.
    """
    service.cancel(_loose_id(jobid))


def can_retry(service: TaskService, jobid: int) -> bool:
    """Has this job failed, was it cancelled, or does it wait for another
    attempt?  False for an unknown one.
    """
    found: Any = look(service.jobs, jobid)
    if found is None:
        return False
    # A schedule whose run has failed stands among the errors, and is a
    # schedule.
    place = found.position[0] if found.position else None
    return found.status in RETRIED or place in ('waiting', ERROR)


def retry(service: TaskService, jobid: object) -> None:
    """Queue a job once more that failed or was cancelled.

    Raises: JobNotFound; InvalidTransition.
    Txn: the caller commits.
    """
    service.retryJob(job_id(jobid))


def start_now(service: TaskService, jobid: object) -> None:
    """Queue a job now that waits: see ITaskService.startNow; of a schedule,
    runCronJob.

    Txn: the caller commits.
    """
    jobid = job_id(jobid)
    job: Any = look(service.jobs, jobid)
    if job is not None and getattr(job, 'recurring', False):
        service.runCronJob(jobid)
    else:
        service.startNow(jobid)


def enable(service: TaskService, jobid: object) -> None:
    """See ITaskService.resumeCronJob.  Txn: the caller commits."""
    service.resumeCronJob(job_id(jobid))


def disable(service: TaskService, jobid: object) -> None:
    """See ITaskService.pauseCronJob.  Txn: the caller commits."""
    service.pauseCronJob(job_id(jobid))


def remove(service: TaskService, jobid: object) -> bool:
    """Delete a job that is over.

    Returns: False for one that is unknown, unreadable, or not over.
    Txn: the caller commits.
    """
    jobid = job_id(jobid)
    found: Any = look(service.jobs, jobid)
    if found is None or found.status not in FINAL:
        return False
    service.jobqueue.forget(found)
    del service.jobs[jobid]
    return True


def pause(service: TaskService, reason: Any = None) -> dict[str, bool]:
    """Let the workers start no further job; see ITaskService.pause.

    Txn: the caller commits.
    """
    service.pause(reason)
    return {'paused': True}


def resume(service: TaskService) -> dict[str, bool]:
    """Undo ``pause``.  Txn: the caller commits."""
    service.resume()
    return {'paused': False}


def _loose_id(value: object) -> object:
    try:
        return job_id(value)
    except UsageError:
        return value
