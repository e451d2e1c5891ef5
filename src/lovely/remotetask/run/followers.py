"""What comes after the jobs of a worker: it looks at their groups.

A thread that has ended a job of a group remembers the group.  It looks at it
once it has no job to run, or now and then: the last job of a group is ended
by some thread, which looks afterwards.  Where that thread was killed in
between, the monitor of any worker of the service finds the group.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from transaction.interfaces import TransientError

from lovely.remotetask import events
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.losses import is_of_storage
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.peers import wakeup
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.store import batch_views
from lovely.remotetask.store import batches
from lovely.remotetask.store.following import place_held

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job
    from lovely.remotetask.run.finder import Finder
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.batches import Batch
    from lovely.remotetask.store.queue import JobQueue

# How often (seconds) a process whose threads have jobs to run looks at the
# groups of those that they have ended.
_EVERY = 0.25

# At how many open groups a round of the monitor looks.
_GROUPS = 10

# How many groups are remembered: more would be forgotten first.
_MOST = 1000


class Followers:
    """What follows the jobs of one worker.

    Arguments: ``finder``, of its service.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        # Groups of which a thread here has ended a job since the last look.
        self._ended: set[int] = set()
        # Group -> how many of its jobs were left, see batches.close.
        self._left: dict[int, int] = {}
        self._looked = SYSTEM_CLOCK.monotonic()
        self._looking = threading.Lock()
        # Where the next round of the monitor goes on.
        self._start: int | None = None
        # Those that cannot be looked at; each is logged once.
        self._broken: set[int | None] = set()

    def ended(self, job: Job) -> None:
        """A thread has ended a job; is it one of a group?"""
        place = job.groupPlace
        if place is not None:
            self._ended.add(place[0])

    def place(self, slot: int) -> None:
        """Let what follows a long run wait for a thread; never raises.

        Txn: a short one of its own.  Where it fails, the next claim of the
        slot does it, or the end of the worker.
        """
        try:
            placed = self._finder.write(
                lambda service: place_held(service.jobqueue, slot,
                                           service.clock.now()),
                'remotetask follow-up', moved=True)
            if placed:
                wakeup.notify(self._finder.home)
        except ServiceGone:
            pass
        except Exception:
            trace.exception('what follows a job could not be placed yet')

    def look(self, idle: bool) -> None:
        """Look at the groups of ended jobs, if it is time; never raises.

        Arguments: ``idle``: the thread has no job to run.
        Txn: a snapshot for each, and a short one for a group that is over.
        """
        if not self._ended:
            return
        if not idle and SYSTEM_CLOCK.monotonic() - self._looked < _EVERY:
            return
        # Another thread that looks now takes what comes meanwhile, too: see
        # the loop.
        while self._ended and self._looking.acquire(blocking=False):
            try:
                self._looked = SYSTEM_CLOCK.monotonic()
                # Other threads add to the set at any moment: each pop is one
                # step, and an iteration would break.  Before the snapshot: a
                # thread that ends a job later asks for another look.
                for _ in range(len(self._ended)):
                    self._look_at(self._ended.pop())
            finally:
                self._looking.release()
            if not idle:
                return

    def over(self, queue: JobQueue) -> list[int]:
        """The groups that may be over, among some of the open ones.

        Each call looks at others, in the snapshot of its caller.
        Cost: O(1).
        """
        if queue.batches is None:
            return []
        try:
            found, self._start = batch_views.page(
                queue, self._start, _GROUPS)
        except Exception as error:
            # The caller looks for jobs to rescue, too.
            self._log(None, error)
            return []
        return [batch.id for batch in found if self._may_be_over(queue, batch)]

    def _may_be_over(self, queue: JobQueue, batch: Batch) -> bool:
        try:
            return not batches.is_awaited(
                queue, batch, self._left.get(batch.id))
        except Exception as error:
            self._log(batch.id, error)
            return False

    def look_at(self, numbers: Iterable[int]) -> None:
        """Look at these groups; never raises."""
        for number in numbers:
            with self._looking:
                self._look_at(number)

    def _log(self, number: int | None, error: Exception) -> None:
        """Log why a group cannot be looked at, once; None: no group can."""
        if is_of_storage(error, None) or isinstance(error, TransientError):
            # The loop of the worker meets the same fault, and logs it.
            trace.debug('groups: the database does not answer')
        elif number not in self._broken:
            self._broken.add(number)
            log.error('%s cannot be looked at: %s', (
                'groups' if number is None else f'group {number}'),
                describe(error), exc_info=error)

    def _look_at(self, number: int) -> None:
        """Look at a group, and close it if it is over; never raises."""
        before = self._left.get(number)
        try:
            if db.read(self._finder.database, lambda connection: (
                    self._waits(connection, number, before))):
                return
            left = self._close(number, before)
        except ServiceGone:
            return
        except Exception as error:
            # The monitor tries it again.
            self._log(number, error)
            return
        self._broken.discard(number)
        if left == 0:
            self._left.pop(number, None)
            return
        if number not in self._left and len(self._left) >= _MOST:
            self._left.pop(next(iter(self._left)))
        self._left[number] = left

    def _waits(self, connection: Connection, number: int, before: int | None
               ) -> bool:
        queue = self._finder.by_oid(connection).jobqueue
        batch = batches.batch_of(queue, number)
        return (batch is not None and batch.state == batches.OPEN
                and batches.is_awaited(queue, batch, before))

    def _close(self, number: int, before: int | None) -> int:
        """Close a group if it is over; see batches.close.

        Returns: how many of its jobs are left.
        """
        host = self._finder.host
        # A subscriber that fails must not keep a group open for ever.
        telling = number not in self._broken

        def close(service: TaskService) -> tuple[int, bool]:
            with host.running(service, None) as seen:
                left, added = batches.close(
                    seen.jobqueue, number, before, service.clock.now())
                for job in added if telling else ():
                    events.notify(events.JobAdded(seen, job))
                return left, bool(added)

        left, added = self._finder.write(close, 'remotetask group', moved=True)
        if added:
            wakeup.notify(self._finder.home)
        return left
