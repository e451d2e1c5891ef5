"""Direct processing: a job run in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import events
from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db
from lovely.remotetask.edge.losses import is_of_storage
from lovely.remotetask.edge.savepoint import Savepoint
from lovely.remotetask.log import log
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.run.steps import HookFailed
from lovely.remotetask.run.steps import call_hook
from lovely.remotetask.run.steps import call_task
from lovely.remotetask.run.steps import find_task
from lovely.remotetask.run.steps import is_by_person
from lovely.remotetask.run.steps import judge
from lovely.remotetask.run.steps import log_failure
from lovely.remotetask.run.steps import store_failure
from lovely.remotetask.run.worker_id import manual_worker
from lovely.remotetask.store.claiming import Token
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


def run_here(service: TaskService, host: IHost, pull: Callable[[], Job | None],
             now: float) -> bool:
    """Run a job in the caller's transaction, site and interaction.

    Arguments: ``pull``, a callable that takes a job out of the queue, or
    returns None.
    Returns: False if there was no job.
    Raises, Txn: see ITaskService.processNext.
    """
    queue = service.jobqueue
    # Before the pull, so that a rollback puts the job back to its place.
    jar = caller.jar_of(service)
    savepoint = Savepoint(jar)
    opened = getattr(jar, 'opened', None)
    job = pull()
    if job is None:
        return False
    jobid, token = job.id, manual_worker().token(DIRECT_SLOT)
    queue.start(job, token, now)
    error: BaseException | None = None
    output: Any = None
    size = 0
    try:
        events.notify(events.JobStarted(service, job))
        output, size = call_task(
            find_task(service, host, job.task), service, host, job)
        db.check_not_closed(jar, opened)
    except BaseException as raised:
        db.check_not_closed(jar, opened)
        if isinstance(raised, TransientError) or is_by_person(raised):
            # The caller runs its whole transaction again.
            savepoint.rollback()
            raise
        if is_of_storage(raised, caller.jar_of(service)):
            raise
        error = raised
        savepoint.rollback()
    _end_here(service, host, jobid, token, now, error, output, size)
    if error is not None and service.raiseErrors:
        raise error
    return True


def _end_here(service: TaskService, host: IHost, jobid: int, token: Token,
              now: float, error: BaseException | None, output: Any, size: int
              ) -> None:
    job = service.jobs.get(jobid)
    # A job that was added in this transaction is gone where the task has
    # aborted it.
    if job is None or not service.jobqueue.restart(job, token, now):
        return
    if error is None:
        service.jobqueue.finish(job, output, size, now)
        events.notify(events.JobFinished(service, job))
        return
    _call_hook(service, host, job, error)
    # The error is final: direct processing asks no policy.
    verdict = judge(error, job.task, now)
    log_failure(verdict.error)
    event = store_failure(service, job, verdict, now)
    events.notify(event)
    # The job may wait for another attempt: an idle worker has to know of it.
    notify_after_commit(service, caller.jar_of(service))


def _call_hook(service: TaskService, host: IHost, job: Job,
               error: BaseException) -> None:
    task = host.task(service, service.taskInterface, job.task)
    if task_option(task, 'on_error') is None:
        return
    savepoint = Savepoint(caller.jar_of(service))
    try:
        call_hook(service, host, job, error)
    except HookFailed as reason:
        savepoint.rollback()
        log.error('%s', reason, exc_info=reason.__cause__)
