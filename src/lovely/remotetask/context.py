"""What a task can ask about the job it is running for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask.edge.caller import jar_of
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.edge.clock import key_us
from lovely.remotetask.errors import JobTimeout
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors import WorkerStopping
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.errors.bounds import shown

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

#: How often (seconds) ``cancelled`` looks into the database.
_LOOK = 1.0

# The longest message of a progress (characters): it is stored once a second.
_MESSAGE_CHARS = 200

# The largest number of a progress: JSON readers take larger ones for others.
_MOST = 2 ** 53


class Told(NamedTuple):
    """How far a task says its run has come; see JobContext.progress.

    ``at``, when it said so (seconds since 1970).
    """

    done: float
    total: float | None
    message: str
    at: float


class JobContext:
    """The job that runs in this thread.

    Attributes: ``service`` (ITaskService); ``id`` (int); ``task`` (str);
    ``attempt`` (int), from 1;
    ``idempotencyKey`` (str), the same in every attempt of this job and in no
    other job: for services outside that can tell a repeated request.  Of a
    cron job each scheduled run has a key and a first attempt of its own;
    ``told`` (Told), the latest progress of this run, None: there is none.
    """

    told: Told | None = None

    def __init__(self, service: TaskService, job: Job, timeout: float | None,
                 is_stopping: Callable[[], bool],
                 is_ours: Callable[[], bool],
                 tell: Callable[[Told], None] | None = None,
                 checkpoints: Any = None) -> None:
        self.id = job.id
        self.task = job.task
        self.attempt = job.attempts or 1
        self._service = service
        self._job = job
        self._until = (None if timeout is None
                       else SYSTEM_CLOCK.monotonic() + timeout)
        self._timeout = timeout
        self._is_stopping = is_stopping
        self._is_ours = is_ours
        self._tell = tell
        # The Checkpoints of the run.
        self._checkpoints = checkpoints
        self._looked = SYSTEM_CLOCK.monotonic()
        self._lost = False
        self._key = ''

    @property
    def idempotencyKey(self) -> str:
        # Kept: the connection of the job may be closed when a filter of the
        # log asks for it.
        if not self._key:
            oid = self._service._p_oid
            self._key = (
                f'{oid.hex() if oid else ""}-{self.id}-'
                f'{int(self._job.createdAt.timestamp() * 1_000_000)}')
            if self._job.tick is not None:
                self._key += f'-{key_us(self._job.tick)}'
        return self._key

    @property
    def dueAt(self) -> datetime | None:
        """The time of the schedule that this run is for (aware, UTC).

        It may be long ago, where runs are made up for times that were missed.
        None: the job has no schedule.
        """
        tick = self._job.tick
        return None if tick is None else as_utc(key_time(tick) // 1)

    @property
    def service(self) -> TaskService:
        """The service of the job, in the transaction of the run."""
        return self._service

    @property
    def ownRetry(self) -> Any:
        """How the job was added to be tried again: an int, or an IRetryPolicy.

        None: as its task has it.
        """
        return self._job.retry

    @property
    def ownTimeout(self) -> float | None:
        """The time limit (seconds) with which the job was added.

        None: that of its task.
        """
        return self._job.timeout

    @property
    def timedOut(self) -> bool:
        """Has the task's time limit passed?"""
        return (self._until is not None
                and SYSTEM_CLOCK.monotonic() > self._until)

    @property
    def cancelled(self) -> bool:
        """Should the task stop?  A long one asks now and then.

        True once the job was cancelled or taken over, its time limit has
        passed, or the worker is stopping.
        Cost: at most one look into the database per second.
        """
        return self.timedOut or self._is_stopping() or self.lost

    @property
    def lost(self) -> bool:
        """Was the job cancelled, or taken over?

        Cost: at most one look into the database per second.
        """
        now = SYSTEM_CLOCK.monotonic()
        if not self._lost and now - self._looked >= _LOOK:
            self._looked = now
            self._lost = not self._is_ours()
        return self._lost

    def progress(self, done: float, total: float | None = None,
                 message: str = '') -> None:
        """Tell how far this run has come, for those who watch the job.

        A worker stores it beside the transaction of the run, at most once a
        second: other processes see it within two.  Direct processing keeps it
        in memory, as ``told``.
        Arguments: ``done``, ``total``, numbers from 0 to 2**53 of anything
        that the task counts; ``total`` None: not known; ``message``, where it
        is now (str), of which the first 200 characters are kept.
        Raises: UsageError for any other; what was told before stays.
        Txn: none of this thread.
        Cost: some microseconds; call it as often as you like.
        """
        _check_number('done', done)
        if total is not None:
            _check_number('total', total)
        if not isinstance(message, str):
            raise UsageError(f'message is {shown(message)}; give a text')
        told = done, total, message[:_MESSAGE_CHARS]
        if self.told is None or told != self.told[:3]:
            self.told = Told(*told, self._service.clock.now())
            if self._tell is not None:
                self._tell(self.told)

    @property
    def cursor(self) -> Any:
        """What the latest checkpoint of this job was given.

        Also where an earlier attempt has committed that.  None: there was
        none, or the run is of a schedule whose last run was another one.  Each
        look gives a new object.
        Raises: UsageError in another thread than that of the run.
        """
        return self._checkpoints.cursor()

    def checkpoint(self, cursor: Any) -> None:
        """Commit what the task has done so far, and note where it is.

        It stays, however this attempt ends, and the next one finds the
        ``cursor``.  The task goes on in a new transaction, which sees what
        others have committed meanwhile.  Direct processing commits nothing:
        effects and cursor are stored with the caller's transaction.
        Arguments: ``cursor``, from which the task can tell what is left to do:
        plain data, or what else an input may be.
        Raises: LeaseLost where the job was cancelled or taken over, and
        ConflictErrors: nothing is committed then, and the run is to end;
        TaskError for a cursor that cannot be stored; UsageError within a step
        and in another thread.  Once it is committed: WorkerStopping while the
        worker stops, and the job goes on in another one; JobTimeout.
        Txn: commits that of the run, with all that has joined it.
        Cost: a commit; call it every second or so, not for each item.
        """
        self._checkpoints.checkpoint(cursor)
        self._stop_here()

    def step(self, name: str, function: Callable[..., Any], /,
             *arguments: Any, **keywords: Any) -> Any:
        """Call ``function(*arguments, **keywords)`` once for this job.

        What it has done in the database and what it returns are one commit,
        and a later attempt gets the result without a call.  What it does
        elsewhere is done at least once.
        Arguments: ``name``, of the step, which no other step of the job has: a
        text of 1 to 200 characters; up to 10,000 steps.
        Returns: what the function returns, or has returned.
        Raises: what the function raises: nothing of it is stored then, also
        where the task goes on; else as ``checkpoint``.
        Txn: commits that of the run, with all that was done before the step.
        Cost: a commit where it is called; nothing where its result is known.
        """
        value, new = self._checkpoints.step(
            name, function, arguments, keywords)
        if new:
            self._stop_here()
        return value

    def _stop_here(self) -> None:
        # What is done is stored: no better place to stop will come.
        if self.timedOut:
            raise self.timeout()
        if self._is_stopping():
            raise WorkerStopping

    def check(self) -> None:
        """Raise what ends the run, if the task should stop.

        Raises: JobTimeout; WorkerStopping: the job goes back and runs again,
        uncharged; a job that was cancelled ends without an error.
        """
        if self.timedOut:
            raise self.timeout()
        if self.cancelled:
            raise WorkerStopping

    def timeout(self) -> JobTimeout:
        """The error of a run that took too long."""
        return JobTimeout(
            f'task {self.task!r} of job {self.id} took longer than its limit '
            f'of {self._timeout} seconds; raise the limit or split the work')


def _check_number(name: str, value: Any) -> None:
    # The comparison is false for NaN.  True is an int, and never meant as 1.
    if type(value) not in (int, float) or not 0 <= value <= _MOST:
        raise UsageError(f'{name} is {shown(value)}; give a number (int or '
                         f'float) from 0 to 2**53')


class _Current(threading.local):
    job: JobContext | None = None


_current = _Current()


def job_of_thread() -> JobContext | None:
    """The job that runs in this thread, or None: see currentJob."""
    return _current.job


def currentJob() -> JobContext:
    """The job that runs in this thread.

    Filters and formatters of the log may call it, too: it answers until a
    worker has written the record of a failure, and in ``on_error``.
    Raises: UsageError outside of a run.
    """
    if _current.job is None:
        raise UsageError('no job is running in this thread: currentJob() '
                         'answers only while a task is called')
    return _current.job


def running_on() -> Connection | None:
    """The connection of the job that runs in this thread; None: there is none.
    """
    job = _current.job
    return None if job is None else jar_of(job.service)


class running:
    """Within the block, this is the current job of the thread.

    A class, because each run enters it: contextmanager costs three times as
    much.
    """

    def __init__(self, job: JobContext | None) -> None:
        self._job = job

    def __enter__(self) -> JobContext | None:
        # A task may process jobs directly: then one run is inside another.
        self._before, _current.job = _current.job, self._job
        return self._job

    def __exit__(self, *error: object) -> None:
        _current.job = self._before
