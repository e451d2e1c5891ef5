"""Changes a service for the surfaces, by plain data.

This module knows of no HTTP, template or framework.  The caller has checked
the permission, and brings the transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import RETRIED
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.plan import PLANNED
from lovely.remotetask.store.records import look
from lovely.remotetask.web import hiding
from lovely.remotetask.web import plain
from lovely.remotetask.web import presenter
from lovely.remotetask.web import selecting
from lovely.remotetask.web.presenter import is_remote
from lovely.remotetask.web.presenter import job_id

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


#: What a caller outside may say of a job beside its time and its key.
MORE = ('queue', 'concurrencyKey')

#: Those that take the permission to manage.
OWN = ('retry', 'timeout')


def add_schedule(service: TaskService, task: object, input: object = None,
                 key: object = None, onDuplicate: object = 'keep',
                 enabled: object = True, priority: object = 0,
                 delay: object = None, made: bool = False,
                 queue: object = None, concurrencyKey: object = None,
                 retry: object = None, timeout: object = None,
                 onSuccess: object = None, onFailure: object = None,
                 **fields: object) -> int:
    """Add a schedule for a caller outside of the application.

    Arguments: ``fields``, lists of int by the names of FIELDS, and what a plan
    takes, ``at`` as text; ``made``: the input was made here, by the fields of
    a schema, and need not be plain; the others as ITaskService.addCronJob has
    them.
    Returns: the job's id.
    Raises: as ``add``; InvalidSchedule.
    Txn: the caller commits.
    """
    given: dict[str, Any] = {'key': key, 'onDuplicate': onDuplicate,
                             'enabled': enabled, 'priority': priority,
                             'queue': queue, 'concurrencyKey': concurrencyKey,
                             'onSuccess': onSuccess, 'onFailure': onFailure,
                             **_own(retry, timeout)}
    if delay is not None:
        given['delay'] = _delay(delay)
    name, input = _check_added(service, task, input, priority, made)
    return int(service.addCronJob(name, input, **given, **_times(fields)))


def edit_schedule(service: TaskService, jobid: object, version: object = None,
                  made: bool = False, **given: Any) -> None:
    """Change a cron job; what is not given stays.

    Arguments: ``version``, of presenter.schedule_of, or None: change it only
    where it is as the caller has seen it; ``given``, as ``add_schedule`` has
    them, without key, onDuplicate and enabled.  Of an input, the keys that its
    task hides stay where they are left out, unless it is for another task.
    Raises: Outdated; what ITaskService.editCronJob does; ValueError as
    ``add``, where task or input change.
    Txn: the caller commits.
    """
    now = presenter.schedule_of(service, jobid)
    if version is not None and version != now['version']:
        raise Outdated(job_id(jobid))
    if given.get('task') == now['task']:
        del given['task']
    fields = {name: given.pop(name) for name in (*FIELDS, *PLANNED)
              if name in given}
    _own(given.get('retry'), None)
    changes: dict[str, Any] = {**given, **_times(fields)}
    if given.get('delay') is not None:
        changes['delay'] = _delay(given['delay'])
    if 'task' in given or 'input' in given:
        _, input = _check_added(
            service, given.get('task', now['task']), given.get('input'),
            given.get('priority', 0), made)
        hidden, is_hidden = _hidden(service, jobid)
        if 'input' not in given and is_hidden:
            # The other task might show it.
            raise InputRejected(
                'the input is hidden, in part or whole, and goes to no other '
                'task: give another input with it')
        if 'input' in given:
            changes['input'] = input if 'task' in given or not isinstance(
                input, dict) else {**hidden, **input}
    service.editCronJob(job_id(jobid), **changes)


class Outdated(UsageError):
    """The schedule was changed meanwhile; look at it again, then change it."""

    def __str__(self) -> str:
        return (f'schedule {self.args[0]} was changed meanwhile; look at it '
                f'again, then change it')


def _hidden(service: TaskService, jobid: object
            ) -> tuple[dict[Any, Any], bool]:
    """The keys of a cron job's input that are not shown, and whether any of
    it is not.
    """
    job: Any = look(service.jobs, job_id(jobid))
    value = job.coming('input')
    keys = hiding.keys_of(service, job.coming('task'), job.coming('shows'))
    return hiding.kept(value, keys), hiding.note(value, keys) is not None


def _times(given: dict[str, Any]) -> dict[str, Any]:
    """What says when a schedule runs, as addCronJob takes it."""
    found = dict(given)
    for name in FIELDS:
        if name not in found:
            continue
        if not isinstance(found[name], list):
            raise UsageError(f'{name} has to be a list of whole numbers, not '
                             f'{found[name]!r:.80}')
        found[name] = tuple(found[name])
    if isinstance(found.get('at'), str):
        try:
            found['at'] = datetime.fromisoformat(found['at'])
        except ValueError:
            raise UsageError(
                f'at is {found["at"]!r:.80}; give a moment as ISO 8601 has '
                f'it, for instance 2027-03-28T02:30:00') from None
    return found


def _delay(value: object) -> Any:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise UsageError(f'delay has to be a number of seconds, '
                         f'not {value!r:.80}')
    return value


def _own(retry: object, timeout: object) -> dict[str, Any]:
    """The options of a job's own that are given."""
    if retry is not None and type(retry) is not int:
        raise UsageError(f'retry has to be a number of retries, '
                         f'not {retry!r:.80}')
    return {name: value for name, value in (
        ('retry', retry), ('timeout', timeout)) if value is not None}


def add(service: TaskService, task: object, input: object = None,
        priority: object = 0, delay: object = None, key: object = None,
        onDuplicate: object = 'keep', made: bool = False,
        retry: object = None, timeout: object = None, **more: Any) -> int:
    """Add a job for a caller outside of the application.

    Arguments: ``task`` (str); ``input``, plain data; ``priority`` (int,
    -4..3); ``delay``, seconds or None; ``key``, ``onDuplicate`` and those of
    ``more``, of MORE: see ITaskService.add; ``made``: see add_schedule;
    ``retry`` (int), ``timeout`` (seconds), or None: for callers with the
    permission to manage alone.
    Returns: the job's id.
    Raises: ValueError('Task does not exist'), also for a task that is not
    remote: a caller outside must not learn that there is one; InputRejected;
    DuplicateJob; UsageError.
    Txn: the caller commits.  Source: 0.5.2 (task and input).
    """
    if delay is not None:
        _delay(delay)
    name, input = _check_added(service, task, input, priority, made)
    # Options that were not given are not passed: a subclass written for 0.5.2
    # that overrides add() knows none of them.
    options = {name: value for name, value in more.items()
               if value is not None}
    if priority != 0:
        options['priority'] = priority
    if delay is not None:
        options['delay'] = delay
    if key is not None:
        options['key'] = key
    if onDuplicate != 'keep':
        options['onDuplicate'] = onDuplicate
    options |= _own(retry, timeout)
    return int(service.add(name, input, **options))


def read_call(service: TaskService, task: object, input: object = None,
              priority: object = None, delay: object = None,
              retry: object = None, timeout: object = None, **more: Any
              ) -> dict[str, Any]:
    """The arguments of a follow.Call that comes from outside.

    Arguments: see ``add``; ``priority``, None: that of the job before.
    Raises: as ``add``; what the service itself checks is not checked here.
    """
    if delay is not None:
        _delay(delay)
    name, input = _check_added(
        service, task, input, 0 if priority is None else priority, False)
    if name not in service.getAvailableTasks():
        raise ValueError('Task does not exist')
    return {'task': name, 'input': input, 'priority': priority,
            'delay': delay, **more, **_own(retry, timeout)}


def _check_added(service: TaskService, task: object, input: object,
                 priority: object, made: bool) -> tuple[str, object]:
    """The name of the task, and the input as plain data.

    Raises: what ``add`` says.
    """
    if not isinstance(task, str):
        raise UsageError(f'the task has to be a name, not {task!r:.80}')
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise UsageError(f'priority has to be a whole number from -4 to 3, '
                         f'not {priority!r:.80}')
    try:
        input = input if made else plain.plain(input)
    except InputRejected as error:
        raise InputRejected(f'the input cannot be taken: {error}') from None
    utility = service.getAvailableTasks().get(task)
    if utility is not None and not is_remote(service, utility):
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


def retry(service: TaskService, jobid: object, anew: Any = False) -> None:
    """Queue a job once more that failed or was cancelled.

    Arguments: ``anew``, as ITaskService.retryJob has it.
    Raises: JobNotFound; InvalidTransition; UsageError.
    Txn: the caller commits.
    """
    # A subclass that was written before may not know the option.
    options = {} if anew is False else {'anew': anew}
    service.retryJob(job_id(jobid), **options)


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


def pause(service: TaskService, reason: Any = None, queue: Any = None,
          resumeAt: object = None) -> dict[str, bool]:
    """Let the workers start no further job; see ITaskService.pause.

    Arguments: ``resumeAt``, a text of ISO 8601, or None.
    Txn: the caller commits.
    """
    options: dict[str, Any] = {} if queue is None else {'queue': queue}
    when = selecting.moment('resumeAt', resumeAt)
    if when is not None:
        options['resumeAt'] = as_utc(when)
    service.pause(reason, **options)
    return {'paused': True}


def resume(service: TaskService, queue: Any = None) -> dict[str, bool]:
    """Undo ``pause``.  Txn: the caller commits."""
    service.resume(**({} if queue is None else {'queue': queue}))
    return {'paused': False}


def set_limit(service: TaskService, task: Any = None, key: Any = None,
              limit: Any = None, rate: Any = None) -> dict[str, Any]:
    """See ITaskService.setLimit.  Txn: the caller commits."""
    service.setLimit(task, key=key, limit=limit,
                     rate=tuple(rate) if isinstance(rate, list) else rate)
    return {'limits': service.listLimits()}


def unset_limit(service: TaskService, task: Any = None, key: Any = None
                ) -> dict[str, Any]:
    """See ITaskService.unsetLimit.  Txn: the caller commits."""
    service.unsetLimit(task, key=key)
    return {'limits': service.listLimits()}


def retention(service: TaskService, wanted: Any) -> dict[str, Any]:
    """Say how long jobs that are over are kept: see setRetention.

    Arguments: ``wanted``, status -> {'days': ..., 'count': ...}; what is left
    out stays.
    Returns: what holds now.
    Raises: UsageError; the caller aborts.
    Txn: the caller commits.
    """
    for status, bounds in wanted.items():
        if not isinstance(bounds, dict):
            raise UsageError(f'{status} is {shown(bounds)}; give an object '
                             f'with the keys days and count, or one of them')
    for status, bounds in wanted.items():
        service.setRetention(status, **bounds)
    return service.getRetention()


def _loose_id(value: object) -> object:
    try:
        return job_id(value)
    except UsageError:
        return value
