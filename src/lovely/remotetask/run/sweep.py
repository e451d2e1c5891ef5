"""Sweeps: while a worker is idle, it looks for jobs that stand nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import trace
from lovely.remotetask.peers import wakeup
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.store import check
from lovely.remotetask.store import mending

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.run.worker import Worker

# At how many jobs one step looks.
_STEP_JOBS = 200

# How long a step is rested from, as a multiple of what it took: an idle worker
# spends at most this part of its time here.
_REST = 200

# A clock that has gone back by as much (seconds) was set.
_JUMP = 1.0


def _ahead() -> float:
    """By how much the wall clock is ahead of one that is never set."""
    return SYSTEM_CLOCK.now() - SYSTEM_CLOCK.monotonic()


class Sweep:
    """Looks over all jobs of a worker's service, a few at a time.

    Each step is a snapshot; what it finds is looked at again in the
    transaction that puts it back.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._start: int | None = None
        self._ahead = _ahead()
        self._next = SYSTEM_CLOCK.monotonic() + settings.CHECK_SECONDS

    def go_on(self) -> None:
        """Make a step, if it is time and the worker is idle; never raises."""
        began = SYSTEM_CLOCK.monotonic()
        back = self._went_back()
        if not back and (began < self._next or not self._worker.idle):
            return
        try:
            if back:
                self.place_anew()
                return
            self.step()
        except ServiceGone:
            pass
        except Exception:
            trace.exception('the jobs cannot be looked over')
        now = SYSTEM_CLOCK.monotonic()
        self._next = now + (settings.CHECK_SECONDS if self._start is None
                            else _REST * (now - began))

    def _went_back(self) -> bool:
        """Has the clock gone back since the last look?"""
        before, self._ahead = self._ahead, _ahead()
        return before - self._ahead > _JUMP

    def place_anew(self) -> None:
        """Place anew what is to wait for longer than it should.

        Txn: a snapshot, and one for each _STEP_JOBS jobs.
        """
        executor = self._worker.executor

        def find(connection: Connection) -> list[check.Finding]:
            service = executor.service(connection)
            return check.late(service.jobqueue, service.clock.now())

        found = db.read(self._worker.database, find)
        for first in range(0, len(found), _STEP_JOBS):
            self._mend(found[first:first + _STEP_JOBS])

    def _mend(self, lost: list[check.Finding]) -> list[check.Finding]:
        executor = self._worker.executor
        mended: list[check.Finding] = executor.write(
            lambda service: mending.mend(service.jobqueue, lost,
                                       service.clock.now()),
            'remotetask check')
        mending.log_put_back(mended)
        if mended:
            wakeup.notify(self._worker.home)
        return mended

    def step(self) -> list[check.Finding]:
        """Look at some jobs; put back those that stand nowhere.

        Returns: those that were put back.
        Txn: a snapshot, and if it finds any, one of its own.
        """
        executor, start = self._worker.executor, self._start

        def find(connection: Connection
                 ) -> tuple[list[check.Finding], int | None]:
            service = executor.service(connection)
            return check.jobs(service.jobqueue, start, _STEP_JOBS,
                              service.clock.now())

        # Where the step fails, the next sweep begins at the first job.
        self._start = None
        found, self._start = db.read(self._worker.database, find)
        lost = [one for one in found if one.kind in check.PUT_BACK]
        return self._mend(lost) if lost else []
