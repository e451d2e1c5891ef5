"""Direct processing: a job run in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import db
from lovely.remotetask import events
from lovely.remotetask import hooks
from lovely.remotetask.steps import call_task
from lovely.remotetask.steps import settle
from lovely.remotetask.steps import tell
from lovely.remotetask.steps import wake
from lovely.remotetask.workers import manual_worker


def run_here(service: Any, host: Any, pull: Callable[[], Any],
             now: float) -> bool:
    """Run a job in the caller's transaction, site and interaction.

    Arguments: ``pull``, a callable that takes a job out of the queue, or
    returns None.
    Returns: False if there was no job.
    Raises, Txn: see ITaskService.processNext.
    """
    queue = service.jobqueue
    # Before the pull: undoing a run puts the job back where it was.
    undo = db.Undo(hooks.jar_of(service))
    job = pull()
    if job is None:
        return False
    jobid, token = job.id, manual_worker().token()
    queue.start(job, token, now)
    error: BaseException | None = None
    output: Any = None
    size = 0
    try:
        events.notify(events.JobStarted(service, job))
        output, size = call_task(service, host, job)
    except (TransientError, KeyboardInterrupt):
        # Whoever called knows how to run the whole transaction again.
        undo.back()
        raise
    except BaseException as raised:
        error = raised
        undo.back()
    _end_here(service, jobid, token, now, error, output, size)
    if error is not None and service.raiseErrors:
        raise error
    return True


def _end_here(service: Any, jobid: int, token: tuple[str, int], now: float,
              error: BaseException | None, output: Any, size: int) -> None:
    job = service.jobs.get(jobid)
    # A job that was added in this transaction went with it when the task
    # aborted: there is nobody left to ask about it.
    if job is None or not service.jobqueue.restart(job, token, now):
        return
    if error is None:
        service.jobqueue.finish(job, output, size, now)
        events.notify(events.JobFinished(service, job))
        return
    tell(error)
    event = settle(service, job, error, now, retry_delay=None)
    events.notify(event)
    # It may have been put off, and some worker has to come back for it.
    wake(service, hooks.jar_of(service))
