"""The executor: runs one claimed job in transactions of its own.

A run ends in exactly one way: finished, failed, parked for another attempt,
given back, cancelled, or dropped because it is no longer ours.  The steps that
direct processing takes as well are in ``steps``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import events
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import WorkerStopping
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.run import progress
from lovely.remotetask.run import report
from lovely.remotetask.run.checkpoints import Checkpoints
from lovely.remotetask.run.checkpoints import CommittedCheckpoints
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.claim import ClaimsNext
from lovely.remotetask.run.claim import no_claim
from lovely.remotetask.run.conflicts import IN_A_ROW
from lovely.remotetask.run.conflicts import set_aside
from lovely.remotetask.run.failing import STORE_TRIES
from lovely.remotetask.run.failing import Failing
from lovely.remotetask.run.failing import jitter
from lovely.remotetask.run.failing import ours
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.run.guard import Guard
from lovely.remotetask.run.notes import note_of
from lovely.remotetask.run.steps import call_task
from lovely.remotetask.run.steps import find_task
from lovely.remotetask.run.steps import is_by_person
from lovely.remotetask.store.local import reserved
from lovely.remotetask.store.records import look

if TYPE_CHECKING:

    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# How often a run that conflicts is tried while the worker stops; then it is
# given back.
_CONFLICTS_WHEN_STOPPING = 3

# A task that took longer than this (seconds) finishes in a commit without a
# claim: its snapshot is old, and the claim would conflict.
_CHAIN_SECONDS = 0.05


class Executor(Failing):
    """Runs claimed jobs of one service.

    Arguments, Attributes: as Failing's.
    """

    def run(self, claim: Claim, session: db.Session,
            claims_next: ClaimsNext = no_claim) -> list[Claim]:
        """Run a claimed job to its end, also where the task fails.

        Arguments: ``session``, the connection to run it on;
        ``claims_next(quick)``, a context that gives the function which claims
        the next jobs in the same commit, or None; ``quick`` says whether this
        run was.
        Returns: the next jobs, if their claim was part of the last commit.
        Txn: one per attempt; a conflict runs the task again from the start,
        uncharged, and is no error, and so does an error of the storage.  After
        ten conflicts in a row the job waits: see conflicts.
        """
        conflicts = losses = 0
        while True:
            began = SYSTEM_CLOCK.monotonic()
            # The Checkpoints of this attempt, once it has any.
            made: list[CommittedCheckpoints] = []
            try:
                return self._attempt(claim, session, claims_next, made)
            except TransientError as error:
                if made and made[0].saved:
                    # In a row are those between which nothing was committed.
                    conflicts = losses = 0
                conflicts += 1
                crowded = self.disturbed(claim, began, error)
                report.ended(claim, 'conflict', report.since(began), error)
                if crowded or (
                        self.stopping.is_set()
                        and conflicts >= _CONFLICTS_WHEN_STOPPING):
                    # It may conflict for ever: another worker, or this one
                    # after its next start, runs it.  A run that conflicts is
                    # no attempt.
                    self.give_back(claim, began, begun=False)
                    return []
                if conflicts >= IN_A_ROW and set_aside(
                        self, claim, error, session, jitter.uniform(0.5, 1)):
                    return []
                self.back_off(conflicts)
            except ServiceGone:
                self.give_back(claim, began)
                return []
            except (LeaseLost, WorkerStopping) as error:
                stopping = (isinstance(error, WorkerStopping)
                            and self.stopping.is_set())
                if not stopping and self.is_ours(claim):
                    # The task has raised it without need: given back, its job
                    # would run again for ever.
                    self.fail(claim, error, session, report.since(began))
                else:
                    self.give_back(claim, began, reason=error)
                return []
            except BaseException as error:
                if is_by_person(error):
                    self.give_back(claim)
                    raise
                if made and made[0].saved:
                    losses = 0
                if losses == STORE_TRIES or not session.is_of_storage(error):
                    self.fail(claim, error, session, report.since(began))
                    return []
                # The commit may be through; then the job is no longer ours.
                (trace.info if losses else log.warning)(
                    'Job %s: the database failed, and the job runs again, '
                    'uncharged: %s', claim.jobid, describe(error))
                losses += 1
                self.back_off(IN_A_ROW + losses)
                if self.stopping.is_set():
                    self.give_back(claim, began)
                    return []

    def _attempt(self, claim: Claim, session: db.Session,
                 claims_next: ClaimsNext,
                 made: list[CommittedCheckpoints]) -> list[Claim]:
        with self.transaction(session) as service:
            job = self.own(service, claim)
            guard = Guard(session, job, claim.token)
            session.guard(guard.check)
            with (self.host.running(service, job) as seen,
                  self.ids(service, claim)):
                began = SYSTEM_CLOCK.monotonic()
                made.append(CommittedCheckpoints(
                    self, session, seen, job, claim, guard))
                output, size = self.call(seen, job, claim, made[0])
                session.check()
                # The task may have ended its transaction, or cancelled its
                # own job: look again, in the one that is about to be
                # committed.
                found = look(service.jobs, claim.jobid)
                if found is not None and _is_cancelled_here(found):
                    session.describe(found.submitter or '',
                                     f'{found.task} job {claim.jobid} '
                                     f'cancelled')
                    session.commit()
                    report.ended(claim, 'cancelled', report.since(began))
                    return []
                job = ours(found, claim)
                seconds = SYSTEM_CLOCK.monotonic() - began
                self.run_times.learn(job.task, seconds)
                # Others may wait for its place, and their claim writes what
                # other claims write.
                quick = (seconds < _CHAIN_SECONDS and not claim.gates
                         and session.is_alone())
                # From here on the job is written: if it is no longer ours, the
                # commit conflicts.
                session.guard(None)
                with claims_next(quick) as take:
                    now = service.clock.now()
                    note = note_of(job, seconds, now)
                    # A long run has an old snapshot: what follows it is put
                    # into the lanes behind its commit.
                    holds = seconds >= _CHAIN_SECONDS
                    added = service.jobqueue.finish(
                        job, output, size, now, claim.slot, holds)
                    events.notify(events.JobFinished(seen, job))
                    tell(seen, added)
                    following = take(service) if take else []
                    if not following:
                        service.jobqueue.log_ended(claim.slot)
                    session.describe(job.submitter or '',
                                     f'{job.task} job {claim.jobid}')
                    session.commit()
                self.notes.ended[claim.slot].append(note)
                self.followers.ended(job)
                if added and holds:
                    self.followers.place(claim.slot)
                self.crowd.ended(claim.task, began)
                report.ended(claim, 'completed', seconds)
                return following

    def call(self, service: TaskService, job: Job, claim: Claim,
             checkpoints: Checkpoints) -> tuple[Any, int]:
        """Call the task of a job that is ours; see steps.call_task."""
        events.notify(events.JobStarted(service, job))
        task = find_task(service, self.host, job.task)
        self.run_times.see(job.task, task)
        return call_task(task, service, self.host, job,
                         self.stopping.is_set, lambda: self.is_ours(claim),
                         lambda told: progress.tell(self, claim, told),
                         checkpoints)

    def ids(self, service: TaskService, claim: Claim) -> reserved:
        """Ids for the jobs that the task adds, reserved with the claim.

        A long task works on an old snapshot: to draw a block of ids from that
        would conflict with each connection that has drawn one since.
        """
        return reserved(service.jobs,
                        service.jobqueue.slots[claim.slot].claims.ids)


def _is_cancelled_here(job: Job) -> bool:
    """Has the task cancelled its own job, in this transaction?

    Then its effects are stored with that, as by direct processing.
    """
    return job.status == CANCELLED and bool(job._p_changed)
