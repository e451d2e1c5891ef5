"""Every error that this package raises, in one tree.

The docstring of an error is its default message and tells the remedy.  All of
them pickle.  Conflict errors of ZODB are never wrapped: the code that retries
a transaction must recognise them.  RetryLater and CancelJob are no TaskError,
so that an ``except TaskError`` in a task does not swallow them.
"""

from collections.abc import Iterable
from datetime import datetime

from lovely.remotetask.errors.bounds import MOMENT
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import seconds_of
from lovely.remotetask.errors.bounds import shown


class RemoteTaskError(Exception):
    """Something went wrong in lovely.remotetask; see the message."""

    def __init__(self, *args: object) -> None:
        if not args and self.__doc__:
            args = (' '.join(self.__doc__.split()),)
        super().__init__(*args)


# --- the caller did something that cannot work -----------------------------

class UsageError(RemoteTaskError):
    """The call cannot work as it was made; see the message."""


class TaskNotFound(UsageError, LookupError):
    """Task does not exist; register a utility for it, or correct the name."""


class ServiceNotFound(UsageError, LookupError):
    """There is no task service at this path; correct it, or add one there."""


class JobNotFound(UsageError, KeyError):
    """No job has this id; it was never added here, or it has been cleaned."""

    def __init__(self, jobid: object = None) -> None:
        super().__init__(jobid)
        self.jobid = jobid

    def __str__(self) -> str:
        return (f'no job has the id {shown(self.jobid)}: it was never added '
                f'to this service, or it has been cleaned')


class GroupNotFound(UsageError, KeyError):
    """No group has this id; it was never added here, or all of its jobs have
    been cleaned."""

    def __init__(self, group: object = None) -> None:
        super().__init__(group)
        self.group = group

    def __str__(self) -> str:
        return (f'no group has the id {shown(self.group)}: it was never added '
                f'to this service, or all of its jobs have been cleaned')


class UnreadableRecord(UsageError):
    """The record of this job cannot be read; see the message for the remedy.
    """

    def __init__(self, jobid: object = None, reason: str = '') -> None:
        super().__init__(jobid, reason)
        self.jobid = jobid
        self.reason = reason

    def __str__(self) -> str:
        return f'job {self.jobid!r} cannot be read: {self.reason}'


class InvalidTransition(UsageError):
    """A job in this state cannot go to that one."""

    def __init__(self, jobid: object, source: str, target: str) -> None:
        super().__init__(jobid, source, target)
        self.jobid = jobid
        self.source = source
        self.target = target

    def __str__(self) -> str:
        return (f'job {self.jobid!r} is {self.source!r}; from there it '
                f'cannot become {self.target!r}')


class InvalidSchedule(UsageError, ValueError):
    """The schedule can never run; give fields that occur in a calendar."""


class InvalidCursor(UsageError, ValueError):
    """This place to go on from came with no page or answer of this kind."""


class InputRejected(UsageError, ValueError):
    """The input cannot be stored; pass plain data or persistent objects.

    Attributes: ``indexes``, which of the inputs of an ``addMany`` (list of
    int); of one ``add``: empty.  ``violations``, a sentence (str) for each
    point at which the input of an ``add`` does not fit the parameters or the
    inputSchema of its task; empty for other reasons.
    """

    def __init__(self, *args: object, indexes: Iterable[int] = (),
                 violations: Iterable[str] = ()) -> None:
        super().__init__(*args or (
            'the input cannot be stored; pass plain data or persistent '
            'objects',))
        self.indexes = list(indexes)
        self.violations = list(violations)


class DuplicateJob(UsageError):
    """Another job has this unique key, and is not over."""

    def __init__(self, key: object = None, jobid: object = None) -> None:
        super().__init__(key, jobid)
        self.key = key
        self.jobid = jobid

    def __str__(self) -> str:
        return (f'job {self.jobid!r} has the key {self.key!r} and is not '
                f'over: wait for it, cancel it, or add with '
                f"onDuplicate='keep', or 'replace' (addCronJob: 'update')")


class NotPermitted(UsageError):
    """The acting user lacks the permission for this."""


# --- the set-up is wrong -----------------------------------------------------

class ConfigurationError(RemoteTaskError):
    """The configuration is wrong; see the message for the cause and cure."""


class NewerRecord(ConfigurationError):
    """A newer release of lovely.remotetask has written this record; this one
    leaves it alone: upgrade, or let workers of that release run it.
    """


class NotMigrated(ConfigurationError):
    """0.5.2 has written this service; migrate it once: remotetask migrate."""


# --- raised by tasks --------------------------------------------------------

class TaskError(RemoteTaskError):
    """An error occurred while executing the task: final at once, no retry.

    Persistent databases of 0.5.2 hold instances by the name
    ``lovely.remotetask.task.TaskError``: it is defined there by name and must
    stay importable from there.
    """


# Pickles refer to this class by the module of 0.5.2.
TaskError.__module__ = 'lovely.remotetask.task'


class SubmitterGone(TaskError):
    """The user as whom the job runs is gone, or may not do this."""


class RetryLater(RemoteTaskError):
    """Raised by a task: undo this attempt and run the job again later.

    Arguments: ``delay``, seconds (int or float, from 0 to two hundred years)
    from now, or ``when``, an aware datetime; at least one second passes.  Not
    charged as a failure.
    Raises: UsageError for any other value.
    """

    def __init__(self, delay: float | None = None,
                 when: datetime | None = None, reason: str = '') -> None:
        # Here, in the line of the mistake: a worker could not store it.
        if delay is not None and not is_seconds(delay):
            raise UsageError(f'RetryLater: delay is {shown(delay)}; give '
                             f'{SECONDS}; a text goes into reason=')
        if when is not None and (
                not isinstance(when, datetime) or when.tzinfo is None
                or seconds_of(when) is None):
            raise UsageError(f'RetryLater: when is {shown(when)}; give an '
                             f'aware datetime, {MOMENT}')
        super().__init__(delay, when, reason)
        self.delay = delay
        self.when = when
        self.reason = reason


class CancelJob(RemoteTaskError):
    """Raised by a task: undo this attempt and end the job as cancelled.

    A cron job goes on: it ends the scheduled run, not the schedule.
    """


# --- while a job runs -------------------------------------------------------

class RuntimeFault(RemoteTaskError):
    """A job could not be run to its end; see the message."""


class TooManyConflicts(RuntimeFault):
    """The job has conflicted too often: settings.CONFLICTS."""


class SessionBroken(RuntimeFault):
    """A task has closed the connection of its run, or was about to close its
    database."""


class LeaseLost(RuntimeFault):
    """This run no longer owns its job: cancelled, or taken by another."""


class JobTimeout(RuntimeFault):
    """The task exceeded its time limit; raise the limit or split the work."""


class WaitTimeout(RuntimeFault, TimeoutError):
    """The job was not over in time, and goes on; see waitFor."""


class WorkerStopping(RuntimeFault):
    """The worker is stopping; the job goes back and runs again."""


class WrongWorker(RuntimeFault):
    """This worker cannot run the job; another one may: it waits for that."""


class RollbackImpossible(RuntimeFault):
    """The caller's transaction cannot be rolled back; abort it.

    Raised by direct ``process()`` where a task failed after a data manager
    without savepoints had joined the caller's transaction, or where it has
    doomed that: neither its partial writes could be undone nor the error be
    stored honestly.  The next direct run of the job stores the error.
    """
