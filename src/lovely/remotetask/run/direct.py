"""Direct processing: a job run in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import events
from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.losses import is_of_storage
from lovely.remotetask.edge.savepoint import Savepoint
from lovely.remotetask.errors import RollbackImpossible
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import TooManyConflicts
from lovely.remotetask.peers import liveness
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.run import conflicts
from lovely.remotetask.run.broken_off import Memory
from lovely.remotetask.run.broken_off import Note
from lovely.remotetask.run.flow import Flow
from lovely.remotetask.run.steps import HookFailed
from lovely.remotetask.run.steps import call_hook
from lovely.remotetask.run.steps import call_task
from lovely.remotetask.run.steps import find_task
from lovely.remotetask.run.steps import is_by_person
from lovely.remotetask.run.steps import judge
from lovely.remotetask.run.steps import log_failure
from lovely.remotetask.run.steps import store_failure
from lovely.remotetask.run.worker_id import manual_worker
from lovely.remotetask.store import batches
from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


def run_here(service: TaskService, host: IHost, now: float,
             jobid: int | None, force: bool) -> bool:
    """Run a job in the caller's transaction, site and interaction.

    Arguments, Returns, Raises, Txn: see ITaskService.processNext; ``now``, a
    moment that the service has looked at.
    """
    queue = service.jobqueue
    if jobid is None and (queue.pause_now(now)
                          or not queue.has_waiting(now)):
        return False
    # Before the pull, so that a rollback puts the job back to its place.
    undo = _Undo(caller.jar_of(service))
    job = (queue.pull(now) if jobid is None
           else queue.runnable(jobid, now, manual_worker().id, force))
    if job is None:
        return False
    jobid, memory = job.id, Memory(undo.jar, job)
    try:
        error = _run(service, host, job, now, undo,
                     None if force else memory.note())
        undo.check_not_doomed(jobid)
    except BaseException as raised:
        memory.write(raised)
        raise
    memory.forget()
    if error is not None and service.raiseErrors:
        raise error
    return True


def claim(service: TaskService, now: float) -> Job | None:
    """Claim the first ready job in the caller's transaction, of any queue.

    Returns: the job; None: there is none, or its queue is paused.
    """
    queue = service.jobqueue
    if queue.pause_now(now):
        return None
    worker, jar = manual_worker(), caller.jar_of(service)
    queue.enroll(worker.id, () if jar is None else
                 liveness.for_database(jar.db()).announce(), beats=False)
    slots = queue.slots_of(worker.id)
    slot = slots[0] if slots else queue.take_slot(worker.id)
    flow = Flow()
    flow.see(queue, lambda name: service.host.task(
        service, service.taskInterface, name), now)
    queue.make_due_ready(now)
    lets_in = queue.lets_in(flow.gates, now)
    taken = queue.claim_suspect(
        worker.token(slot), now, flow, lambda key, job: (
            not queue.rests(job.queue, now) and lets_in(key, job)))
    for ready in () if taken else queue.awake(now):
        for job in queue.claim_next(worker.tokens(slot), now, flow, ready):
            return job
    return taken


class _Undo(Savepoint):
    """Undoes a run in the caller's transaction, and sees if that is spoilt."""

    def __init__(self, jar: Connection | None) -> None:
        self.jar = jar
        self._opened = getattr(jar, 'opened', None)
        # Then its caller knows that nothing is stored.
        self._known = caller.is_doomed(jar)
        super().__init__(jar)

    def check_not_closed(self) -> None:
        """Raise SessionBroken if the task has closed the connection."""
        db.check_not_closed(self.jar, self._opened)

    def is_doomed(self) -> bool:
        """Has the run doomed the transaction?"""
        return not self._known and caller.is_doomed(self.jar)

    def check_not_doomed(self, jobid: int) -> None:
        """Raise RollbackImpossible, the run undone, if it has doomed it."""
        if self.is_doomed():
            self.rollback()
        if self.is_doomed():
            raise RollbackImpossible(
                f'the run of job {jobid} has doomed your transaction, which '
                f'can store nothing any more: abort it; the next direct run '
                f'of the job stores its error')


def _run(service: TaskService, host: IHost, job: Job, now: float, undo: _Undo,
         note: Note | None) -> BaseException | None:
    """Run a job, or end it by what this process remembers of it.

    Returns: the error that is stored, or None.
    """
    jobid, token = job.id, manual_worker().token(DIRECT_SLOT)
    error: BaseException | None = None if note is None else note.error()
    output, size = None, 0
    if note is not None and error is None and note.waits():
        error = _let_wait(service, job, note, now)
        if error is None:
            return None
    service.jobqueue.start(job, token, now)
    if error is None:
        try:
            output, size = _call(service, host, job, undo)
        except BaseException as raised:
            undo.check_not_closed()
            if isinstance(raised, TransientError) or is_by_person(raised):
                # The caller runs its whole transaction again.
                undo.rollback()
                raise
            if is_of_storage(raised, undo.jar):
                raise
            undo.rollback()
            undo.check_not_doomed(jobid)
            error = raised
    _end_here(service, host, jobid, token, now, error, output, size)
    return error


def _call(service: TaskService, host: IHost, job: Job, undo: _Undo
          ) -> tuple[Any, int]:
    events.notify(events.JobStarted(service, job))
    ended = call_task(
        find_task(service, host, job.task), service, host, job)
    undo.check_not_closed()
    if undo.is_doomed():
        raise RuntimeFault(
            f'task {job.task!r} has doomed the transaction that it ran in: '
            f'let it raise an error instead')
    return ended


def _let_wait(service: TaskService, job: Job, note: Note, now: float
              ) -> TooManyConflicts | None:
    """Let a job wait, so that others run; the error if it is to end."""
    try:
        text = conflicts.park(service, job, note.how, now)
    except TooManyConflicts as error:
        return error
    log.warning('Job %s: %s', job.id, text)
    events.notify(events.JobRetried(service, job))
    notify_after_commit(service, caller.jar_of(service))
    return None


def _end_here(service: TaskService, host: IHost, jobid: int, token: Token,
              now: float, error: BaseException | None, output: Any, size: int
              ) -> None:
    job = service.jobs.get(jobid)
    # A job that was added in this transaction is gone where the task has
    # aborted it.
    if job is None or not service.jobqueue.restart(job, token, now):
        return
    queue = service.jobqueue
    if error is None:
        added = queue.finish(job, output, size, now)
        events.notify(events.JobFinished(service, job))
        tell(service, [*added, *batches.close_here(queue, job, now)])
        return
    _call_hook(service, host, job, error)
    # The error is final: direct processing asks no policy.
    verdict = judge(error, job.task, now)
    log_failure(verdict.error)
    event, added = store_failure(service, job, verdict, now)
    events.notify(event)
    tell(service, [*added, *batches.close_here(queue, job, now)])
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
