"""Rescues jobs: those of dead workers, and those that no thread runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.run import report
from lovely.remotetask.run.claim import Claim

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.job import Job
    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService


def rescue(worker: Worker, database: DB, name: str) -> None:
    """Let the jobs of a dead worker run again.

    Arguments: ``worker``, one that lives; ``database``, the service's own;
    ``name``, the id of the dead one.
    Txn: a short one of its own.
    """
    def retire(service: TaskService) -> list[tuple[Claim, str | None]]:
        added: list[Job] = []
        jobs = service.jobqueue.retire(
            name, service.clock.now(), charged=True, added=added)
        _tell(worker, service, added)
        return [_ended(service, jobid, name) for jobid in jobs]

    ended = worker.executor.write(retire, 'remotetask rescue')
    again = [claim for claim, poison in ended if poison is None]
    if again:
        log.warning('worker %s is gone; its jobs run again: %s', name,
                    ', '.join(str(claim.jobid) for claim in again),
                    extra={'worker': name})
    else:
        trace.info('worker %s is gone', name)
    for claim, poison in ended:
        report.interrupted(claim, poison)
    if ended:
        wakeup.notify(database)


def _tell(worker: Worker, service: TaskService, added: list[Job]) -> None:
    """Tell of jobs that follow those which end as poison."""
    if added:
        with worker.executor.host.running(service, None) as seen:
            tell(seen, added)


def put_back(worker: Worker, database: DB, jobid: int, charged: bool) -> None:
    """Let a job run again that was claimed, and that no thread runs.

    Arguments: as rescue's; ``charged``: its run was interrupted.
    Txn: a short one of its own.
    """
    def take(service: TaskService) -> tuple[Claim, str | None] | None:
        queue = service.jobqueue
        job = service.jobs.get(jobid)
        if job is None or jobid not in set(queue.running()):
            return None
        name = job.claim[0] if job.claim else ''
        if charged:
            _tell(worker, service, queue.interrupt(
                job, service.clock.now()))
        else:
            queue.requeue(job)
        return _ended(service, jobid, name)

    ended = worker.executor.write(take, 'remotetask rescue')
    if ended is not None:
        claim, poison = ended
        if poison is None:
            log.warning('job %s was claimed, and nobody runs it; it is '
                        'queued again', jobid, extra={'job_id': jobid})
        report.interrupted(claim, poison)
        wakeup.notify(database)


def _ended(service: TaskService, jobid: int, worker: str
           ) -> tuple[Claim, str | None]:
    """A run that was cut off, and why its job is over, if it is."""
    job = service.jobs[jobid]
    return (Claim(jobid, (worker, 0, 0), 0, job.task, attempt=job.attempts),
            None if job.status == QUEUED else str(job.error))
