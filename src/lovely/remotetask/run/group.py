"""Running several short jobs, with one commit for all of them.

::

    begin -> run a job -+-> run the next -> ... -> note all ends -> commit
                        |
                        +-> it failed: roll back to its savepoint; its error
                        |   is stored after the group
                        +-> a conflict, or any other error:
                            abort, and run each job alone

A job that has been run here is not noted as ended before all have been run:
savepoints would store those records once more each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeAlias

from transaction.interfaces import TransientError

from lovely.remotetask import events
from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.savepoint import Savepoint
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import WorkerStopping
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.run import report
from lovely.remotetask.run.checkpoints import Checkpoints
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.claim import ClaimsNext
from lovely.remotetask.run.executor import Executor
from lovely.remotetask.run.notes import Note
from lovely.remotetask.run.notes import note_of
from lovely.remotetask.run.steps import is_by_person

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


# A run that has ended well: its claim, the job, the output and about how long
# that is (bytes), and how long the run took (seconds).
_End: TypeAlias = 'tuple[Claim, Job, Any, int, float]'

# The notes of such runs, each with its slot.
_Notes: TypeAlias = 'list[tuple[int, Note]]'


class EndedByTask(RuntimeFault):
    """A task has ended the transaction that it shares with other jobs."""


class Group:
    """Some claimed jobs that one thread runs.

    Attributes: ``waiting`` (deque of Claim): what has not been begun.  The
    thread takes from its left; jobs are given back from its right.
    """

    def __init__(self, executor: Executor, claims: Iterable[Claim]) -> None:
        self.waiting = deque(claims)
        self._executor = executor
        self._begun: list[Claim] = []
        self._since = SYSTEM_CLOCK.monotonic()

    def waits(self) -> float:
        """For how long (seconds) one job has held up the others."""
        return SYSTEM_CLOCK.monotonic() - self._since

    def run(self, session: db.Session, claims_next: ClaimsNext) -> list[Claim]:
        """Run jobs, until GROUP_SECONDS have passed, and store their ends.

        Arguments, Returns: as Executor.run; what is left is ``waiting``.
        Txn: one for all; for each job alone after a conflict.
        """
        self._begun = []
        began = SYSTEM_CLOCK.monotonic()
        try:
            following, failed, ended = self._together(session, claims_next)
        except BaseException as error:
            stopped = is_by_person(error)
            if stopped or self._executor.stopping.is_set():
                for claim in self._begun:
                    self._executor.give_back(claim, began)
                if stopped:
                    raise
                return []
            trace.debug('jobs %s run one by one: %s',
                        [claim.jobid for claim in self._begun], error)
            for claim in self._begun:
                if (isinstance(error, TransientError)
                        and self._executor.disturbed(claim, began, error)):
                    self._executor.give_back(claim, began, begun=False)
                    continue
                self._since = SYSTEM_CLOCK.monotonic()
                self._executor.run(claim, session)
            return []
        for claim, _, _, _, seconds in ended:
            self._executor.crowd.ended(claim.task, began)
            report.ended(claim, 'completed', seconds)
        for claim, reason, seconds in failed:
            self._executor.fail(claim, reason, session, seconds)
        return following

    def _together(self, session: db.Session, claims_next: ClaimsNext
                  ) -> tuple[list[Claim], list[tuple[Claim, Exception, float]],
                             list[_End]]:
        executor = self._executor
        ended: list[_End] = []
        failed: list[tuple[Claim, Exception, float]] = []
        began = SYSTEM_CLOCK.monotonic()
        with executor.transaction(session) as service:
            shared = _SharedTransaction(session)
            while self.waiting and not executor.stopping.is_set():
                self._since = SYSTEM_CLOCK.monotonic()
                if self._since - began > settings.GROUP_SECONDS:
                    break
                try:
                    claim = self.waiting.popleft()
                except IndexError:
                    break       # given back at this very moment
                if self._begun and executor.run_times.is_alone(claim.task):
                    self.waiting.appendleft(claim)
                    break
                self._begun.append(claim)
                try:
                    ended.append((claim, *self._run(service, claim, shared)))
                except LeaseLost as error:
                    if executor.is_ours(claim):
                        raise       # by the task itself, without need
                    report.ended(claim, 'dropped', reason=error)
                except (TransientError, EndedByTask, WorkerStopping):
                    raise
                except Exception as error:
                    shared.rollback()
                    failed.append((claim, error, (
                        SYSTEM_CLOCK.monotonic() - self._since)))
            session.guard(None)
            seconds = SYSTEM_CLOCK.monotonic() - began
            quick = (not self.waiting and session.is_alone()
                     and seconds < settings.GROUP_SECONDS * 2)
            with claims_next(quick) as take:
                notes = self._end(service, ended)
                if shared.ended():
                    raise EndedByTask(
                        'a subscriber of the events of these jobs')
                following = take(service) if take else []
                if not following:
                    for slot in {claim.slot for claim, *_ in ended}:
                        service.jobqueue.log_ended(slot)
                names = ', '.join({job.task for _, job, *_ in ended})
                session.describe('', f'{names} jobs ' + ', '.join(
                    str(claim.jobid) for claim, *_ in ended))
                session.commit()
        for slot, note in notes:
            executor.notes.ended[slot].append(note)
        for _, job, *_ in ended:
            executor.followers.ended(job)
        return following, failed, ended

    def _end(self, service: TaskService, ended: list[_End]) -> _Notes:
        """Note the ends of jobs, each as its submitter."""
        queue, executor = service.jobqueue, self._executor
        notes = []
        # One after another with the same submitter share a context: entering
        # it costs as much as the rest of this.
        for _, part in groupby(ended, lambda end: end[1].submitter):
            ends = list(part)
            with (executor.host.running(service, ends[0][1]) as seen,
                  executor.ids(service, ends[0][0])):
                for claim, job, output, size, seconds in ends:
                    now = service.clock.now()
                    notes.append((claim.slot, note_of(job, seconds, now)))
                    added = queue.finish(job, output, size, now, claim.slot)
                    events.notify(events.JobFinished(seen, job))
                    tell(seen, added)
        return notes

    def _run(self, service: TaskService, claim: Claim,
             shared: _SharedTransaction) -> tuple[Job, Any, int, float]:
        executor = self._executor
        job = executor.own(service, claim)
        shared.mark()
        began = SYSTEM_CLOCK.monotonic()
        try:
            with (executor.host.running(service, job) as seen,
                  executor.ids(service, claim)):
                output, size = executor.call(
                    seen, job, claim, _NoCheckpoints(seen, job, shared))
        finally:
            seconds = SYSTEM_CLOCK.monotonic() - began
            executor.run_times.learn(job.task, seconds)
            # Also by what the host does at the end of a run.
            if shared.ended():
                executor.run_times.run_alone(job.task)
                raise EndedByTask(f'job {claim.jobid}')
        return job, output, size, seconds


class _NoCheckpoints(Checkpoints):
    """Refuses the checkpoints of a job that shares its transaction.

    Before anything is done: the job runs once more, alone.
    """

    def __init__(self, service: TaskService, job: Job,
                 shared: _SharedTransaction) -> None:
        super().__init__(service, job)
        self._shared = shared

    def _prepare(self) -> None:
        self._shared.refuse()


class _SharedTransaction:
    """The transaction of a group: none of its tasks may end it."""

    def __init__(self, session: db.Session) -> None:
        self._session = session
        self._transaction = session.manager.get()
        self._savepoint: Savepoint | None = None
        self._refused = False
        session.guard(self.refuse)

    def refuse(self) -> None:
        """Raise EndedByTask: a task is about to commit."""
        # The effects of jobs that are not noted as ended would be committed.
        self._refused = True
        raise EndedByTask('a groupable task must not commit')

    def ended(self) -> bool:
        """Has the transaction ended, or was its end tried?

        Also if the task has closed the connection.
        """
        current = self._session.manager.get()
        return (self._refused or current is not self._transaction
                or current.status != 'Active'
                or not self._session.is_intact())

    def mark(self) -> None:
        """What follows can be undone."""
        # As long as nobody has joined, the mark before does as well.
        if self._savepoint is None or not self._session.is_untouched():
            self._savepoint = Savepoint(self._session.connection)

    def rollback(self) -> None:
        """Undo what followed the mark; raises where that is impossible."""
        if self._savepoint is not None:
            self._savepoint.rollback()
            self._savepoint = None
