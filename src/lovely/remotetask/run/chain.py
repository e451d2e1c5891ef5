"""Claims what follows in the commit that finishes a job."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from transaction.interfaces import TransientError

from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.log import log
from lovely.remotetask.log import trace
from lovely.remotetask.run.executor import Claim
from lovely.remotetask.run.executor import ClaimNext
from lovely.remotetask.run.lane_shares import GRACE_FIRST
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.workers import Retired

if TYPE_CHECKING:
    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService

# While one job follows another in shared commits, what is due is looked for
# this often (seconds).
_DUE_LOOK = 0.05

# After a conflict of a shared finish and claim a thread finishes so many jobs
# alone: what conflicts once does so again.
_CHAIN_PENALTY = 100


class ClaimFailed(TransientError):
    """What was to follow a job could not be claimed in its commit."""


class Chain:
    """Claims what follows in the commit that finishes some jobs of a slot."""

    def __init__(self, worker: Worker, slot: int,
                 go_on: Callable[[], bool]) -> None:
        self._worker = worker
        self._slot = slot
        self._go_on = go_on
        self._ended = self._looked = SYSTEM_CLOCK.monotonic()
        # What the latest commit has claimed, if it gets through.
        self._taken: list[Claim] = []
        self.cursor = ReadCursor()

    def goes_on(self) -> bool:
        """Is another job to be run in this thread?"""
        return not self._worker.stopping.is_set() and self._go_on()

    @contextmanager
    def __call__(self, quick: bool) -> Iterator[ClaimNext | None]:
        """What finds the next jobs for a finish's commit; None: not now."""
        worker, slot = self._worker, self._slot
        alone = worker.alone.get(slot, 0)
        now, last = SYSTEM_CLOCK.monotonic(), self._ended
        self._ended, self._taken = now, []
        # After a pause others may be about to help with what lies in our
        # lanes; whoever goes on without one is left alone there.
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
            # The only way in which a claim can undo finished work; what
            # conflicts once does so again.
            if self._taken and isinstance(error, TransientError):
                worker.sharedConflicts += 1
                worker.alone[slot] = _CHAIN_PENALTY
            raise

    def _take(self, service: TaskService) -> list[Claim]:
        queue, now = service.jobqueue, SYSTEM_CLOCK.monotonic()
        if queue.paused:
            return []
        if now - self._looked > _DUE_LOOK:
            # What is due is for a claim of its own: bringing it in writes
            # what others write.
            if queue.has_due(service.clock.now()):
                return []
            self._looked = now
        try:
            self._taken = self._worker.take_ahead(
                service, self._slot, self.cursor)
        except TransientError:
            raise
        except Exception as error:
            # Not the fault of the job that has just been run: it is run
            # again, and finishes alone.
            log.exception('A claim has failed; the job before it runs again')
            self._worker.alone[self._slot] = _CHAIN_PENALTY
            raise ClaimFailed(str(error)) from error
        return self._taken

    def remove_taken(self, session: db.Session) -> None:
        """Remove from the lanes what was claimed here.

        Txn: one of its own on the session, retried alone.
        """
        tries = 0
        while self.cursor.taken:
            try:
                with self._worker.executor.transaction(session) as service:
                    service.jobqueue.remove_left(
                        self._worker.identity.id, self._slot)
                    session.commit()
                self.cursor.removed()
            except Retired:
                return      # that has removed it
            except TransientError:
                tries += 1
                if tries == db.CLAIM_TRIES:
                    return      # the next page, or the slot's next owner
            except Exception:
                # Nothing depends on it, and the next claim will tell.
                trace.exception('what was claimed stays in its lanes')
                return
