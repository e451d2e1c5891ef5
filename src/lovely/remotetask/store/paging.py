"""The pages of a queue's slots: see claims."""

from __future__ import annotations

from collections.abc import Iterable

from lovely.remotetask.edge.clock import KEY_RANDOM
from lovely.remotetask.store import records
from lovely.remotetask.store.barring import Barring
from lovely.remotetask.store.claims import Entries
from lovely.remotetask.store.claims import Slot
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.ready import Ready
from lovely.remotetask.store.records import ghosts
from lovely.remotetask.store.workers import Retired


class Paging(Barring):
    """The part of a queue that turns the pages of slots."""

    def check_slot(self, worker: str, number: int) -> None:
        """Raise Retired if the slot is not the worker's (any more)."""
        self._own(worker, number)

    def _own(self, worker: str, number: int) -> Slot:
        """The slot, if it is this worker's.  Raises: Retired."""
        slot = self.slots.get(number)
        if slot is None or slot.owner != worker:
            raise Retired
        found: Slot = slot
        return found

    def has_aside(self, numbers: Iterable[int]) -> bool:
        """Is there a job to claim, or to place, that is in no lane of ready
        ones: a suspect, one that lacks a task, or one that these slots hold?
        """
        return bool(self.suspects or self.missing or any(
            self.slots[number].claims.held for number in numbers
            if number in self.slots))

    def _prefetch(self, cursor: ReadCursor) -> None:
        """Load the jobs of a plan in one round trip to a server."""
        if self._p_jar is not None:
            jobs = ghosts(self.jobs, (jobid for _, jobid in cursor.plan))
            cold = [job for job in jobs if job._p_changed is None]
            if len(cold) > 1:
                prefetch(cold)

    def _turn(self, slot: Slot, number: int, entries: Entries,
              ahead: bool, ready: Ready | None = None) -> None:
        """Give a slot a new page, before the jobs on it are started.

        Arguments: ``ready``, of which queue they are, None: it does not
        matter, for they were taken out of their lanes.
        Txn: where that is another queue, the lanes of the one before are
        written.
        """
        carried = self._carried(number)
        self._close(slot, number)
        queue = slot.claims.queue
        if ready is not None and ready.queue != queue:
            self.ready_of(queue).remove_left(slot.claims.left)
            slot.claims.leave_nothing()
            queue = ready.queue
        chosen = {jobid for _, jobid in entries}
        slot.claims.turn(
            [*(entry for entry in carried if entry[1] not in chosen),
             *entries], ahead, queue)
        ids = slot.claims.ids
        if ids is None or self.jobs.free(ids) is None:
            slot.claims.ids = self.jobs.reserve(KEY_RANDOM.randrange)

    def _carried(self, number: int) -> Entries:
        """What stays claimed when a slot's page ends."""
        kept = [job.id for job in self.claimed(number)]
        # claimed() has looked at each job of the page, and would have found
        # those that cannot be read.
        if records.found_any:
            kept += self.held(number)
        return [(-1, jobid) for jobid in kept]

    def _close(self, slot: Slot, number: int) -> None:
        self.log_ended(number)
        slot.claims.leave(
            self.ready_of(slot.claims.queue).left_of(slot.claims))

    def log_ended(self, number: int) -> None:
        """Note in a slot's log the jobs that its page has completed.

        Called in the commit that ends a job and claims none of the page.
        """
        self.slots[number].completed.extend(self.unlogged(number))

    def remove_left(self, worker: str, number: int) -> None:
        """Close a slot's page; remove its entries from the lanes.

        Raises: Retired if the slot is not the worker's (any more).
        Txn: writes lanes that others write, and so needs one of its own.
        """
        slot = self._own(worker, number)
        carried = self._carried(number)
        self._end_page(slot, number, carried)

    def _end_page(self, slot: Slot, number: int, carried: Entries) -> None:
        self._close(slot, number)
        self.ready_of(slot.claims.queue).remove_left(slot.claims.left)
        slot.claims.turn(carried, ahead=False, queue=slot.claims.queue)
        slot.claims.leave_nothing()
