"""Claims the next jobs in the commit that finishes a job."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from transaction.interfaces import TransientError

from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.claim import ClaimNext
from lovely.remotetask.run.lane_shares import GRACE_FIRST
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.workers import Retired

if TYPE_CHECKING:
    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService

# How often (seconds) a thread that runs one job after another in shared
# commits looks for jobs whose time has come.
_DUE_LOOK = 0.05

# How many jobs a thread finishes alone after a finish and a claim in one
# commit have conflicted: if they do once, they do again.
_CHAIN_PENALTY = 100


class ClaimFailed(TransientError):
    """The next jobs could not be claimed in the commit of a finished one."""


class Chain:
    """Claims the next jobs of a slot in the commit that finishes some.

    Arguments: ``first``, the claim with which the thread begins.  The slot is
    its own as long as the worker keeps the id of that claim: once it was
    retired, a thread with the new id may have the slot of this number.
    """

    def __init__(self, worker: Worker, first: Claim,
                 go_on: Callable[[], bool]) -> None:
        self._worker = worker
        self._owner, self._slot = first.token[:2]
        self._go_on = go_on
        self._ended = self._looked = SYSTEM_CLOCK.monotonic()
        # The claims of the latest commit, if it gets through.
        self._taken: list[Claim] = []
        self.cursor = ReadCursor()

    def goes_on(self) -> bool:
        """Is this thread to run another job?"""
        return not self._worker.stopping.is_set() and self._go_on()

    @contextmanager
    def __call__(self, quick: bool) -> Iterator[ClaimNext | None]:
        """Gives a function that claims in a finish's commit; None: not now."""
        worker, slot = self._worker, self._slot
        alone = worker.alone.get(slot, 0)
        now, last = SYSTEM_CLOCK.monotonic(), self._ended
        self._ended, self._taken = now, []
        # After a pause another worker may be claiming from our lanes; then we
        # claim in a transaction of our own.
        if (not quick or alone or now - last > GRACE_FIRST / 2
                or not self.goes_on()):
            worker.alone[slot] = max(0, alone - 1)
            yield None
            return
        try:
            yield self._take
            self.cursor.committed()
        except BaseException as error:
            self.cursor.aborted()
            # Only here can a claim undo finished work: if it conflicts once,
            # it does so again.
            if self._taken and isinstance(error, TransientError):
                worker.sharedConflicts += 1
                worker.alone[slot] = _CHAIN_PENALTY
            raise

    def _take(self, service: TaskService) -> list[Claim]:
        queue, now = service.jobqueue, SYSTEM_CLOCK.monotonic()
        if queue.pause_now(service.clock.now()):
            return []
        if now - self._looked > _DUE_LOOK:
            # Jobs whose time has come are for a claim of its own: to make them
            # ready writes lanes that others write.
            if queue.has_due(service.clock.now()):
                return []
            if (self._worker.flow.is_due(queue, service.clock.now())
                    or self._worker.served.has_others(
                        queue, self._slot, service.clock.now())):
                return []
            if self._worker.makes_room(service):
                return []
            self._worker.executor.notes.fold(
                queue, self._slot, service.clock.now())
            self._looked = now
        try:
            self._taken = self._worker.take_ahead(
                service, self._slot, self.cursor)
        except TransientError:
            raise
        except Exception as error:
            # Not the fault of the job that has just run: it runs again, and
            # finishes alone.
            log.exception('A claim has failed; the job before it runs again')
            self._worker.alone[self._slot] = _CHAIN_PENALTY
            raise ClaimFailed(str(error)) from error
        return self._taken

    def remove_taken(self, session: db.Session) -> None:
        """Remove the entries of the jobs that were claimed here.

        Txn: one of its own on the session, repeated after a conflict.
        """
        tries = 0
        while self.cursor.taken:
            try:
                with self._worker.executor.transaction(session) as service:
                    service.jobqueue.remove_left(self._owner, self._slot)
                    session.describe('', 'remotetask claim')
                    session.commit()
                self.cursor.removed()
            except Retired:
                return      # to retire a worker removes them
            except TransientError:
                tries += 1
                if tries == db.CLAIM_TRIES:
                    return      # a later page or owner of the slot does it
            except Exception:
                # No job depends on it, and the next claim reports the error.
                trace.exception('what was claimed stays in its lanes')
                return
