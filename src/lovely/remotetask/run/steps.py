"""The steps of a run that workers and direct processing share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import context
from lovely.remotetask import events
from lovely.remotetask import payload
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.job import Failure
from lovely.remotetask.log import log
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.task import check_against
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# The shortest rest (seconds) that a task gets by RetryLater: with 0 a direct
# process() would never end.
_SHORTEST_REST = 1.0


class TaskMissing(WrongWorker):
    """No task has the name that the job asks for."""


class ClassMissing(WrongWorker):
    """A class of the input is not there; another release may have it."""


def find_task(service: TaskService, host: IHost, name: str) -> Any:
    """The task utility of a job; raises TaskMissing."""
    task = host.task(service, service.taskInterface, name)
    if task is None:
        raise TaskMissing(f'Task "{name}" not found!')
    return task


def load_input(service: TaskService, host: IHost, job: Job) -> Any:
    """A job's input, as the task gets it.

    Raises: ClassMissing; TaskError where it cannot be loaded otherwise.
    """
    try:
        value = job.input
        broken = payload.find_broken(value)
    except TransientError:
        raise
    except Exception as error:
        # ZODB raises an error that does not name the cause.
        reason = error.__cause__ or error.__context__ or error
        text = f'cannot load input: {type(reason).__name__}: {reason}; '
        if isinstance(reason, ImportError | AttributeError):
            raise ClassMissing(
                text + 'install what brings its class') from error
        raise TaskError(
            text + 'mend its class, then retry the job') from error
    if broken is not None:
        raise ClassMissing(
            f'cannot load input: there is no class {broken} any more; install '
            f'what brings it, or give it its old name')
    return host.unpack(service, value)


def call_task(task: Any, service: TaskService, host: IHost, job: Job,
              is_stopping: Callable[[], bool] = lambda: False,
              is_ours: Callable[[], bool] = lambda: True
              ) -> tuple[Any, int]:
    """Run the task of a job and check what it returned.

    Arguments: ``task`` (ITask): see find_task; ``is_stopping``, ``is_ours``:
    asked by currentJob().cancelled.
    Returns: the output and about how long it is (bytes).
    Raises: what the task raises; TaskError for a result that does not fit
    its schema or cannot be stored.
    """
    # A command keeps its limit by itself, and takes a moment longer to end its
    # processes.
    limit = (None if getattr(task, 'limits_itself', False)
             else task_option(task, 'timeout'))
    current = context.JobContext(
        service, job, limit, is_stopping, is_ours)
    input = load_input(service, host, job)
    with context.running(current):
        output = task(service, job.id, input)
    if current.timedOut:
        raise current.timeout()
    schema = getattr(task, 'outputSchema', None)
    violations = [] if schema is None else check_against(schema, output)
    if violations:
        raise TaskError('the result does not fit the task\'s outputSchema: '
                        + '; '.join(violations))
    try:
        return output, payload.check(output, caller.jar_of(service))
    except InputRejected as reason:
        raise TaskError(f'the result cannot be stored: {reason}') from reason


def log_failure(error: BaseException) -> None:
    """Log a failed attempt as 0.5.2 did: once, with the traceback."""
    if isinstance(error, WrongWorker):
        log.error('%s', error)
    elif not isinstance(error, TaskError | RetryLater | CancelJob):
        log.error('Caught a generic exception, preventing thread from '
                  'crashing', exc_info=error)


def retry_at(error: RetryLater, now: float) -> float:
    """The moment (seconds since 1970) until which a job rests."""
    if error.when is not None:
        return max(error.when.timestamp(), now + _SHORTEST_REST)
    return now + max(error.delay or 0.0, _SHORTEST_REST)


def store_failure(service: TaskService, job: Job, error: BaseException,
                  now: float, retry_delay: float | None,
                  slot: int = DIRECT_SLOT) -> events.JobEvent:
    """Store how a run failed.

    Arguments: ``retry_delay``, seconds until another attempt; None: the
    error is final.
    Returns: the event that tells of it.
    """
    queue = service.jobqueue
    if isinstance(error, RetryLater):
        queue.park(job, retry_at(error, now))
        return events.JobRetried(service, job)
    if isinstance(error, CancelJob):
        queue.cancel(job)
        return events.JobCancelled(service, job)
    failure = Failure.of(error, job.attempts or 0, now)
    if retry_delay is not None:
        # Without a task, none of the application's code has failed.
        queue.park(job, now + retry_delay, failure,
                   charged=not isinstance(error, WrongWorker))
        return events.JobRetried(service, job)
    queue.fail(job, failure, now, slot)
    return events.JobFailed(service, job)


