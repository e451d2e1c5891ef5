"""The options of a call that adds jobs: checked once, kept with each job."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask import payload
from lovely.remotetask.declaring.options import queue_of
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import NotPermitted
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import KEY_CHARS
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_key
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.retry import RetryPolicy

if TYPE_CHECKING:
    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

# The priorities that fit into a ready key.
_PRIORITIES = range(-4, 4)


class Options(NamedTuple):
    """What ``add``, ``addMany`` and ``addCronJob`` were asked for beside task,
    input and time, as it was given: see ITaskService.add.

    Attributes: ``policy``, that of a chain, see follow.Call.
    """

    priority: Any = 0
    key: Any = None
    onDuplicate: Any = 'keep'
    runAs: Any = None
    concurrencyKey: Any = None
    queue: Any = None
    keyUntil: Any = 'ended'
    retry: Any = None
    timeout: Any = None
    onSuccess: Any = None
    onFailure: Any = None
    policy: Any = None


def check_options(service: TaskService, task: Any, options: Options
                  ) -> dict[str, Any]:
    """The attributes of a job that keep these options, as ``put`` takes them.

    Raises: UsageError; NotPermitted.
    """
    check_priority(options.priority)
    return {
        'priority': options.priority or None,
        'submitter': find_submitter(service, service.host, options.runAs),
        'concurrencyKey': check_concurrency_key(options.concurrencyKey),
        'queue': queue_of(task, options.queue),
        **check_retry(service, options.retry),
        'timeout': check_timeout(options.timeout),
    }


def check_retry(service: TaskService, retry: Any) -> dict[str, Any]:
    """The attributes of a job that keep its retry policy, as ``put`` takes
    them.

    Raises: UsageError.
    """
    if retry is None:
        return {'retry': None, 'ownPolicy': None}
    if type(retry) is int:
        RetryPolicy(retry)
        return {'retry': retry, 'ownPolicy': None}
    if type(retry) is RetryPolicy:
        # Not the object: a record with it could not be read by a release that
        # keeps the class elsewhere.
        return {'retry': astuple(retry), 'ownPolicy': None}
    if not IRetryPolicy.providedBy(retry):
        raise UsageError(f'retry is {shown(retry)}; give a number of retries '
                         f'(int, from 0 on), an IRetryPolicy, or None: as the '
                         f'task has it')
    try:
        payload.check(retry, caller.jar_of(service))
    except InputRejected as reason:
        raise UsageError(f'retry is {shown(retry)}, which cannot be stored '
                         f'with the job: it {reason}') from reason
    return {'retry': None, 'ownPolicy': retry}


def check_timeout(timeout: Any) -> float | None:
    """The time limit of a run (seconds), or None.  Raises: UsageError."""
    if timeout is not None and not (is_seconds(timeout) and timeout > 0):
        raise UsageError(f'timeout is {shown(timeout)}; give {SECONDS}, more '
                         f'than 0, or None: as the task has it')
    checked: float | None = timeout
    return checked


def check_priority(priority: Any) -> None:
    """Raise UsageError for a priority that does not fit into a key."""
    if type(priority) is not int or priority not in _PRIORITIES:
        raise UsageError(f'priority is {shown(priority)}; give a whole number '
                         f'from {_PRIORITIES[0]} to {_PRIORITIES[-1]}')


def check_concurrency_key(key: Any) -> str | None:
    """A concurrencyKey, or None.  Raises: UsageError for what cannot be one.
    """
    if key is None or is_key(key):
        checked: str | None = key
        return checked
    raise UsageError(f'concurrencyKey is {shown(key)}; give a text of 1 to '
                     f'{KEY_CHARS} characters')


def find_submitter(service: TaskService, host: IHost, runAs: Any
                   ) -> str | None:
    """The principal as whom a job runs.  Raises: NotPermitted; UsageError."""
    if runAs is None:
        acting: str | None = host.submitter()
        return acting
    if not isinstance(runAs, str) or not runAs:
        raise UsageError(f'runAs is {shown(runAs)}; give the id of a '
                         f'principal as this host writes it, or SYSTEM')
    if not host.permits(service, MANAGE):
        raise NotPermitted(
            f'adding a job that runs as {runAs!r:.80} needs the permission '
            f'{MANAGE} on this service; without runAs it runs as the user '
            f'who adds it')
    return runAs
