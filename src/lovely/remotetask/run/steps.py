"""The steps of a run that workers and direct processing share."""

from __future__ import annotations

import contextvars
import decimal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from transaction.interfaces import TransientError

from lovely.remotetask import context
from lovely.remotetask import events
from lovely.remotetask import payload
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import message_of
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import JobTimeout
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import TooManyConflicts
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.retry import DEFAULT_POLICY
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.checkpoints import Checkpoints
from lovely.remotetask.run.loading import load_input
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.task import check_against
from lovely.remotetask.task import misfits
from lovely.remotetask.task import shown_keys
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# The shortest rest (seconds) that a task gets by RetryLater: with 0 a direct
# process() would never end.
_SHORTEST_REST = 1.0


# The name of the context variable in which decimal keeps its context.
_DECIMALS = 'decimal_context'

# How much of the reason of a RetryLater is stored with the job (characters).
_REASON_CHARS = 500


class TaskMissing(WrongWorker):
    """No task has the name that the job asks for."""


def find_task(service: TaskService, host: IHost, name: str) -> Any:
    """The task utility of a job; raises TaskMissing."""
    task = host.task(service, service.taskInterface, name)
    if task is None:
        raise TaskMissing(f'Task "{name}" not found!')
    return task


def call_task(task: Any, service: TaskService, host: IHost, job: Job,
              is_stopping: Callable[[], bool] = lambda: False,
              is_ours: Callable[[], bool] = lambda: True,
              tell: Callable[[context.Told], None] | None = None,
              checkpoints: Checkpoints | None = None
              ) -> tuple[Any, int]:
    """Run the task of a job and check what it returned.

    Arguments: ``task`` (ITask): see find_task; ``is_stopping``, ``is_ours``:
    asked by currentJob().cancelled; ``tell``, called with each progress;
    ``checkpoints``, of the run, None: they are stored with the caller's
    transaction.
    Returns: the output and about how long it is (bytes).
    Raises: what the task raises; TaskError for a result that does not fit
    its schema or cannot be stored.
    """
    limit = limit_of(task, job)
    checkpoints = checkpoints or Checkpoints(service, job)
    current = context.JobContext(
        service, job, limit, is_stopping, is_ours, tell, checkpoints)
    input = load_input(service, host, job)
    if job.inputFilled:
        _check_filled(task, job, input)
    with context.running(current):
        try:
            output = _in_own_context(task, service, job.id, input)
        except Exception:
            # A task that goes on behind a failed checkpoint misses what it has
            # stored: the error that counts is that of the checkpoint.
            checkpoints.check()
            raise
        finally:
            checkpoints.close()
    checkpoints.check()
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


def limit_of(task: Any, job: Job) -> float | None:
    """How long a run of a job may take (seconds), where we watch it.

    Its own limit counts before that of its task.
    """
    # A command keeps its limit by itself, and takes a moment longer to end its
    # processes.
    if getattr(task, 'limits_itself', False):
        return None
    limit: float | None = (task_option(task, 'timeout')
                           if job.timeout is None else job.timeout)
    return limit


def _check_filled(task: Any, job: Job, input: Any) -> None:
    """Check an input that holds the result of the job before.

    What was added with it could not be checked: there was no result yet.
    Raises: TaskError.
    """
    wrong = misfits(task, input)
    schema = getattr(task, 'inputSchema', None)
    if schema is not None:
        wrong += check_against(schema, input, shown_keys(task))
    if wrong:
        before = (f'job {job.follows}' if job.afterGroup is None
                  else f'group {job.afterGroup}')
        raise TaskError(
            f'the input, which holds the result of {before}, does not fit '
            f'the task: ' + '; '.join(dict.fromkeys(wrong)))


def _with_own_decimals(task: Any, *arguments: Any) -> Any:
    decimal.setcontext(decimal.getcontext().copy())
    return task(*arguments)


def _in_own_context(task: Any, *arguments: Any) -> Any:
    """Call a task; what it sets for its thread, the next job does not see.

    Sites, interactions and transactions stand in thread-locals, and are those
    of the thread.
    """
    tracer, profiler = sys.gettrace(), sys.getprofile()
    own = contextvars.copy_context()
    # A copied context shares the decimal context of the thread, which has
    # attributes.  A thread of a worker has none before a task asks for it, and
    # then it goes with the copy; a copy of it takes longer than all the rest.
    if any(variable.name == _DECIMALS for variable in own):
        task, arguments = _with_own_decimals, (task, *arguments)
    try:
        return own.run(task, *arguments)
    finally:
        # Not for nothing: to set one costs more, and is an audit event.
        if sys.gettrace() is not tracer:
            sys.settrace(tracer)
        if sys.getprofile() is not profiler:
            sys.setprofile(profiler)


def is_by_person(error: BaseException) -> bool:
    """Has a person at a terminal stopped this process, by Ctrl-C?

    Python raises that in the main thread alone: in any other one, the task has
    raised it.
    """
    return (isinstance(error, KeyboardInterrupt)
            and threading.current_thread() is threading.main_thread())


def log_failure(error: BaseException) -> None:
    """Log a failed attempt as 0.5.2 did: once, with the traceback."""
    if isinstance(error, WrongWorker):
        log.error('%s', error)
    elif not isinstance(error, TaskError | RetryLater | CancelJob):
        log.error('Caught a generic exception, preventing thread from '
                  'crashing', exc_info=error)


def failed_context(service: TaskService, job: Job) -> context.JobContext:
    """What currentJob() gives once a run has failed."""
    current = context.JobContext(
        service, job, None, lambda: False, lambda: True,
        checkpoints=Checkpoints(service, job, over=True))
    _ = current.idempotencyKey          # while the job's connection is open
    return current


def call_hook(service: TaskService, host: IHost, job: Job,
              error: BaseException) -> None:
    """Call the ``on_error`` of a task, if it has one: see ITaskOptions.

    Raises: HookFailed; conflicts, as they are.
    """
    hook = task_option(
        host.task(service, service.taskInterface, job.task), 'on_error')
    if hook is None or isinstance(error, RetryLater | CancelJob):
        return
    current = failed_context(service, job)
    try:
        with context.running(current):
            hook(current, error)
    except TransientError:
        raise
    except Exception as reason:
        raise HookFailed(
            f'on_error of task {current.task!r} has failed for job '
            f'{current.id}: {describe(reason)}') from reason


class HookFailed(RuntimeFault):
    """The on_error of a task has raised an error."""


class Verdict(NamedTuple):
    """How a failed run ends; see judge.

    ``until``: the moment (seconds since 1970) of the next attempt; None: there
    is none.
    """

    error: BaseException
    until: float | None = None


def policy_of(task: Any, job: Job, error: BaseException, host: IHost) -> Any:
    """The retry policy (IRetryPolicy) for an error of a run.

    That of the job counts before that of its task.
    Raises: UsageError for a number that is none of retries.
    """
    own = task_option(task, 'retry') if job.retry is None else job.retry
    if own is None:
        # A task that took too long does so again, and an error of these
        # classes comes again: only a policy of the job's or the task's own may
        # say that it is to be tried once more.
        final = isinstance(error, JobTimeout) or host.cannot_heal(error)
        return NO_RETRY if final else DEFAULT_POLICY
    # The class of an application may have a number, as @task takes it.
    return RetryPolicy(own) if isinstance(own, int) else own


def judge(error: BaseException, name: str, now: float,
          ask: Callable[[], Any] = lambda: None) -> Verdict:
    """Decide how a failed run ends, once and before any of it is stored.

    What the application says about that may be wrong, and would fail again
    with each try to store it; then that fault is the final error of the job.
    Arguments: ``name``, of the task; ``ask()``, the seconds until another
    attempt, or None: what the retry policy of the task answers, or raises.
    """
    if isinstance(error, RetryLater):
        return _rest(error, now)
    if isinstance(
            error, CancelJob | TaskError | WrongWorker | TooManyConflicts):
        return Verdict(error)
    try:
        delay = ask()
    # All of them, also a conflict: a policy works on numbers alone.
    except BaseException as reason:
        if reason.__context__ is None and reason is not error:
            reason.__context__ = error
        return Verdict(_because(reason, (
            f'the retry policy of task {name!r} has raised '
            f'{describe(reason)}')))
    if delay is None:
        return Verdict(error)
    if isinstance(delay, float) and type(delay) is not float:
        delay = float(delay)        # one of numpy
    if not is_seconds(delay):
        return Verdict(_because(error, (
            f'the retry policy of task {name!r} has answered {shown(delay)}; '
            f'it must answer {SECONDS}, or None')))
    return Verdict(error, now + delay)


def _rest(error: RetryLater, now: float) -> Verdict:
    try:
        # A subclass may not have called its base class.
        checked = RetryLater(error.delay, error.when)
    except Exception as reason:
        return Verdict(_because(reason, (
            f'{type(error).__name__}, raised by the task, does not say until '
            f'when the job rests ({describe(reason)})')))
    until = now + max(checked.delay or 0.0, _SHORTEST_REST)
    if checked.when is not None:
        until = max(checked.when.timestamp(), now + _SHORTEST_REST)
    return Verdict(error, until)


def _because(reason: BaseException, message: str) -> RuntimeFault:
    fault = RuntimeFault(f'{message}; correct it, then retry the job')
    fault.__cause__ = reason
    return fault


def store_failure(service: TaskService, job: Job, verdict: Verdict,
                  now: float, slot: int = DIRECT_SLOT
                  ) -> tuple[events.JobEvent, list[Job]]:
    """Store how a run failed.

    Returns: the event that tells of it, and the jobs that are added because
    they follow it.
    """
    queue, (error, until) = service.jobqueue, verdict
    if isinstance(error, RetryLater) and until is not None:
        queue.park(job, until, now=None if error.when else now,
                   reason=cut(message_of(error.reason), _REASON_CHARS))
        return events.JobRetried(service, job), []
    if isinstance(error, CancelJob):
        queue.cancel_run(job, now)
        return events.JobCancelled(service, job), []
    failure = Failure.of(error, job.attempts or 0, now)
    if until is not None:
        queue.park(job, until, failure, now=now)
        return events.JobRetried(service, job), []
    added = queue.fail(job, failure, now, slot)
    return events.JobFailed(service, job), added


