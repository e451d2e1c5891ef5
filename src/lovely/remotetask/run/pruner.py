"""Removes jobs that are over and were kept for long enough.

One worker of a service does, in the thread of its monitor, also while it is
busy: a service whose workers never rest would grow for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ZODB.POSException import ConflictError

from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.store import batch_views
from lovely.remotetask.store import pruning
from lovely.remotetask.store import retention

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

# What part of the time goes to the removal of jobs, beside running ones and
# while there is none.
_SHARE = 0.1
_IDLE_SHARE = 0.5

# A clock that has gone ahead by as much (seconds) was set, or the machine has
# slept: no job goes by it for as long.
_JUMP = 3600.0

# After how long (seconds) the marks are forgotten: what was left, because
# something else needed it, is looked at once more.
_FORGET = 3600.0


class Pruner:
    """Removes jobs of a worker's service, some at a time.

    Attributes: ``removed`` (int), by this worker so far; ``conflicts`` (int),
    how often a transaction of it was repeated.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.removed = self.conflicts = 0
        self._marks: pruning.Marks = {}
        self._holes: pruning.Holes = {}
        # The group to go on with; None: all were looked at.
        self._groups: int | None = 0
        now = SYSTEM_CLOCK.monotonic()
        self._last, self._forget = now, now + _FORGET
        # By how much the wall clock is ahead of one that is never set.
        self._ahead = SYSTEM_CLOCK.now() - now
        # What failed last; it is logged once.
        self._failing = ''
        self._next = now + settings.PRUNE_SECONDS
        # Removed since the log has told of it, by status.
        self._untold: dict[str, int] = {}
        self._announced = False

    def go_on(self, most: float) -> None:
        """Remove what is due, if it is time; never raises.

        Arguments: ``most``, for how long (seconds).
        """
        began = SYSTEM_CLOCK.monotonic()
        passed, self._last = began - self._last, began
        before, self._ahead = self._ahead, SYSTEM_CLOCK.now() - began
        if self._ahead - before > _JUMP:
            # By a clock that was set wrong, all jobs would be old.
            self._next = began + _JUMP
            log.warning('the clock has gone %.0f hours ahead; jobs that were '
                        'kept for long enough by it are removed in an hour',
                        (self._ahead - before) / 3600)
        if began < self._next:
            return
        share = _SHARE if self._worker.active else _IDLE_SHARE
        until = began + min(most, share * passed)
        try:
            if began >= self._forget:
                self._marks, self._forget = {}, began + _FORGET
                self._groups = 0
            while not self._worker.stopping.is_set():
                if not (self.step() or self.remove_groups()):
                    self._next = (SYSTEM_CLOCK.monotonic()
                                  + settings.PRUNE_SECONDS)
                    self._tell()
                    return
                if SYSTEM_CLOCK.monotonic() >= until:
                    return          # the next round goes on
        except ServiceGone:
            pass
        except ConflictError:
            trace.info('jobs that were kept for long enough could not be '
                       'removed now: other transactions were faster')
        except Exception as error:
            if self._failing != describe(error):
                self._failing = describe(error)
                log.error('jobs that were kept for long enough cannot be '
                          'removed; this is tried again', exc_info=error)
        self._next = SYSTEM_CLOCK.monotonic() + settings.PRUNE_SECONDS

    def step(self) -> bool:
        """Remove some jobs, if any are due and this worker does that.

        Returns: False if nothing is left to do now.
        Txn: a snapshot, and if there are any, one of its own.
        """
        worker = self._worker
        if not db.read(worker.database, self._is_due):
            return False
        tries = 0

        def remove(service: TaskService) -> pruning.Step:
            nonlocal tries
            tries += 1
            return pruning.step(
                service.jobqueue, self._marks, self._holes,
                service.clock.now(), settings.BULK_BATCH, careful=tries > 1)

        try:
            done = worker.executor.write(remove, 'remotetask retention')
        finally:
            self.conflicts += max(0, tries - 1)
        # Entries that wait for their threads do not go on.
        moved = done.marks != self._marks or done.tidied
        self._marks, self._holes = done.marks, done.holes
        for status, count in done.removed.items():
            self._untold[status] = self._untold.get(status, 0) + count
            self.removed += count
        return moved

    def remove_groups(self) -> bool:
        """Remove the records of some groups of which nothing else is left.

        Once an hour it looks at all groups.
        Returns: False if nothing is left to do now.
        Txn: a snapshot, and if there are any, one of its own.
        """
        worker = self._worker
        if self._groups is None:
            return False
        found, self._groups = db.read(worker.database, self._find_groups)
        if found:
            worker.executor.write(lambda service: batch_views.remove_left(
                service.jobqueue, found), 'remotetask retention')
        return self._groups is not None

    def _find_groups(self, connection: Connection
                     ) -> tuple[list[int], int | None]:
        service = self._worker.executor.service(connection)
        queue = service.jobqueue
        days = retention.bounds_of(queue)[COMPLETED].days
        if days is None or not self._removes(queue):
            return [], None
        return batch_views.left(queue, self._groups or 0, settings.BULK_BATCH,
                            service.clock.now() - days * retention.DAY)

    def _removes(self, queue: JobQueue) -> bool:
        """Is it this worker that removes jobs of the service?"""
        # Which jobs of a copy are its own is not settled yet.
        return (queue.origin is None
                and pruning.remover(queue) == self._worker.identity.id)

    def _is_due(self, connection: Connection) -> bool:
        service = self._worker.executor.service(connection)
        queue = service.jobqueue
        if not self._removes(queue):
            return False
        due = pruning.is_due(
            queue, self._marks, self._holes, service.clock.now())
        if due and not self._announced:
            self._announced = True
            self._announce(queue.retention is None, dict(
                retention.bounds_of(queue)))
        return due

    def _announce(self, by_default: bool,
                  bounds: dict[str, retention.Bounds]) -> None:
        told = '; '.join(f'{status}: {retention.text_of(bound)}'
                         for status, bound in bounds.items())
        (log.warning if by_default else log.info)(
            'service %s: this worker removes jobs that are over from now on, '
            'kept are %s%s', show(self._worker.executor.path), told,
            '; nobody has set that, these are the defaults: remotetask '
            'retention changes them' if by_default else '')

    def _tell(self) -> None:
        if any(self._untold.values()):
            log.info('removed jobs that were kept for long enough: %s',
                     ', '.join(f'{count} {status}' for status, count
                               in self._untold.items() if count))
        self._untold = {}
