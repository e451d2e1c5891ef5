"""Finds threads of this process that are stuck in a job.

A thread cannot be stopped from outside.  One whose job was cancelled, or that
is over its time limit, goes on until its task ends: that is told once in the
log, and noted in the worker's record, for ``remotetask workers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lovely.remotetask.edge.log import log
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.steps import limit_of
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService

#: (job id, why the thread that runs it is stuck).
Reasons = set[tuple[int, str]]


class Stuck:
    """What is known of the threads of one worker that are stuck.

    Arguments: ``worker``.
    Attributes: ``noted``, what its record tells.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._last: set[tuple[Claim, str]] = set()
        self._told: set[tuple[Claim, str]] = set()
        self.noted: Reasons = set()

    def find(self, service: TaskService) -> Reasons:
        """Those that are stuck, in a snapshot.

        Cost: O(jobs that run).
        """
        seen = {(claim, reason) for claim in list(self._worker.active.values())
                if (reason := self._reason(service, claim)) is not None}
        # Of two looks in a row: a claim is committed before its job runs, and
        # the end of a run before its thread goes on.
        lasting = {(claim, reason) for claim, reason in seen & self._last
                   if claim.token in self._worker.active}
        self._last = seen
        for claim, reason in lasting - self._told:
            log.warning(
                'Job %s (task %r, attempt %s, worker %s) %s, and its '
                'thread still runs it', claim.jobid, claim.task,
                claim.attempt, claim.token[0], reason, extra={
                    'job_id': claim.jobid, 'task': claim.task,
                    'attempt': claim.attempt, 'worker': claim.token[0],
                    'outcome': 'stuck'})
        self._told = lasting
        return {(claim.jobid, reason) for claim, reason in lasting}

    def note(self, found: Reasons) -> None:
        """Note them in the worker's record, where that has changed.

        Txn: a short one of its own, if any.
        """
        if found == self.noted:
            return
        name = self._worker.identity.id

        def note(service: TaskService) -> None:
            record = service.jobqueue.workers.get(name)
            if record is not None:
                record.stuck = tuple(sorted(found))

        self._worker.executor.write(note, 'remotetask stuck')
        self.noted = found

    def _reason(self, service: TaskService, claim: Claim) -> str | None:
        job = look(service.jobs, claim.jobid)
        if job is None:
            return 'was deleted'
        if job.claim != claim.token:
            if job.status == CANCELLED:
                return 'was cancelled'
            # Who takes jobs over takes their worker out.
            known = claim.token[0] in service.jobqueue.workers
            return 'was cancelled and retried' if known else 'was taken over'
        task = self._worker.executor.host.task(
            service, service.taskInterface, claim.task)
        limit = limit_of(task, job)
        began = job.startedAt
        if limit is None or began is None:
            return None
        over = service.clock.now() - began.timestamp() > limit
        return f'is over its limit of {limit:g} s' if over else None
