"""Makes services, jobs and runs for tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import NoTransaction
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask import context
from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db
from lovely.remotetask.errors import UsageError
from lovely.remotetask.job import Job
from lovely.remotetask.run.checkpoints import Checkpoints
from lovely.remotetask.service import TaskService
from lovely.remotetask.service import make_service

if TYPE_CHECKING:
    from ZODB.Connection import Connection

_numbers = itertools.count(1)


@contextmanager
def new_service(factory: Callable[[], TaskService] = TaskService,
                name: str = 'tasks',
                database: DB | None = None) -> Iterator[TaskService]:
    """Make a service in a database, and commit it.

    Arguments: ``factory``, makes the service; ``name``, its key in the root
    of the database; ``database`` (ZODB.DB), one of yours, None: a new one in
    memory, which is closed at the end.
    Gives: the service, by a connection on the thread's transaction manager.
    Its threads are stopped at the end.
    Txn: one of its own makes the service; at the end the thread's is aborted.
    """
    home = DB(MappingStorage()) if database is None else database
    try:
        db.write(home, lambda connection: make_service(
            connection.root(), name, factory)._p_oid)
        connection = home.open()
        service = connection.root()[name]
        try:
            yield service
        finally:
            _abort(connection)
            service.stopProcessing()
            _abort(connection)
            connection.close()
    finally:
        if database is None:
            db.close(home)


def _abort(connection: Connection) -> None:
    with suppress(NoTransaction):
        connection.transaction_manager.abort()


def new_job(task: str = 'task', input: Any = None, **values: Any) -> Job:
    """Make a job that is in no service, for tests of code that takes one.

    Arguments: ``values``, of other attributes of IJob, such as ``status``,
    ``attempts`` or ``output``.
    Returns: a Job with an id of its own.
    Raises: what the attributes of a Job raise for a wrong value.
    """
    job = Job(values.pop('id', None) or next(_numbers), task, input)
    for name, value in values.items():
        setattr(job, name, value)
    return job


class TestedContext(context.JobContext):
    """What ``currentJob()`` gives within ``running``.

    Attributes: ``checkpoints``, the cursors that were given to its
    ``checkpoint()`` (list), in their order; ``steps``, the results of those
    steps that were called (dict), by their names.
    """

    # pytest would take it for a class of tests.
    __test__ = False
    checkpoints: list[Any]
    steps: dict[str, Any]


class _Recorded(Checkpoints):
    """The checkpoints of a run in a test; they are stored with the job.

    Attributes: as TestedContext's.
    """

    def __init__(self, service: TaskService, job: Job) -> None:
        super().__init__(service, job)
        self.checkpoints: list[Any] = []
        self.steps: dict[str, Any] = {}

    def give(self, cursor: Any, steps: Mapping[str, Any]) -> None:
        """Begin with what an earlier attempt has reached."""
        if cursor is not None:
            size = self._size('cursor', cursor)
            self._save(lambda record: record.put_cursor(cursor, size))
        for name, value in steps.items():
            self._give_result(name, value)

    def _give_result(self, name: str, value: Any) -> None:
        size = self._size(f'the result of step {name!r}', value)
        self._save(lambda record: record.put_result(name, value, size))

    def checkpoint(self, cursor: Any) -> None:
        """See Checkpoints"""
        super().checkpoint(cursor)
        # As it was stored: the task may change it.
        self.checkpoints.append(self.cursor())

    def step(self, name: str, *given: Any) -> tuple[Any, bool]:
        """See Checkpoints"""
        value, new = super().step(name, *given)
        if new:
            self.steps[name] = value
        return value, new


@contextmanager
def running(job: Job | None = None, service: TaskService | None = None, *,
            timeout: float | None = None,
            cancelled: bool | Callable[[], bool] = False,
            cursor: Any = None, steps: Mapping[str, Any] | None = None
            ) -> Iterator[TestedContext]:
    """Within the block, this is the job of which ``currentJob()`` tells.

    For tests that call a task, or what it calls, by themselves.
    Arguments: ``job``, None: a new one; ``service``, of the job; None: one
    that is in no database; ``timeout``, for how long the run may last
    (seconds); ``cancelled``: should the task stop?  A callable is asked each
    time that the task asks, and after each checkpoint; ``cursor``, ``steps``
    (name -> result), what an earlier attempt has reached.
    Gives: what ``currentJob()`` gives, and records its checkpoints: see
    TestedContext.  A checkpoint commits nothing.
    """
    job = new_job() if job is None else job
    service = service or TaskService()
    stops = cancelled if callable(cancelled) else lambda: cancelled
    recorded = _Recorded(service, job)
    recorded.give(cursor, steps or {})
    current = TestedContext(service, job, timeout, stops, lambda: True,
                            checkpoints=recorded)
    current.checkpoints, current.steps = recorded.checkpoints, recorded.steps
    with context.running(current):
        try:
            yield current
        finally:
            recorded.close()


def run_job(service: TaskService, jobid: int) -> Job:
    """Run one job here and now, in the world that a worker gives it.

    In a site, with a request and as the submitter, as the host of the service
    decides; ``service.processNext`` runs it in those of the caller, and so
    does this for a stub that is in no database.
    Arguments: ``jobid``, of a job that is not over; one that is to run later,
    too.
    Returns: the job; a task that fails is its ``error``.
    Raises: JobNotFound; UsageError for a job that is over, or that a worker
    runs; SubmitterGone where its submitter is; see ITaskService.processNext
    for ``raiseErrors``.
    Txn: the caller's, which need not be committed before.
    """
    job = service._job(jobid)
    # A service in no database has no site, and no user of it can be found.
    world = (nullcontext(service) if caller.jar_of(service) is None
             else service.host.running(service, job))
    with world as seen:
        if not seen.processNext(jobid=jobid, force=True):
            raise UsageError(
                f'job {jobid} is {job.status!r} and cannot be run: it is '
                f'over, or a worker runs it')
    return service._job(jobid)
