"""Which lanes a worker takes from, so that workers do not meet."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.store.queue import JobQueue
from lovely.remotetask.store.ready import Ready
from lovely.remotetask.store.workers import LOOP

#: How long the head of another worker's lane must stand still before it is
#: taken: at least (seconds), and as a multiple of our commits' average time.
GRACE_FIRST = 0.05
_GRACE_COMMITS = 20

# How many times longer that is for a thread that has jobs in its own lanes.
_PATIENCE_WITH_WORK = 20


class LaneShares:
    """Which lanes of one queue the threads of this worker take from.

    Lanes are shared out among the threads of all workers, so that they do not
    meet.  The head of another thread's lane is taken all the same once it has
    stood still for a while: its owner may be busy, or dead.
    """

    def __init__(self) -> None:
        self.waits_for: float | None = None
        self._still: dict[int, tuple[int, float]] = {}
        self._average = 0.0
        self._next_look = 0.0

    def took(self, seconds: float) -> None:
        """Note how long the commit of a claim took (seconds)."""
        self._average += (seconds - self._average) / 8

    @property
    def grace(self) -> float:
        """How long (seconds) another lane's head must stand still."""
        # A commit in progress must not look like a stand-still.
        return max(GRACE_FIRST, _GRACE_COMMITS * self._average)

    def may_take(self, queue: JobQueue, ready: Ready, slots: Sequence[int],
                 own_only: bool = False) -> Collection[int] | None:
        """The lanes that these threads may take from now; None: all.

        Arguments: ``ready``, of the queue that has the lanes; ``slots``, of
        the threads that could run a job; ``own_only``: leave the lanes of all
        other threads alone.
        Cost: O(slots), and O(lanes) for a look at the lanes of others.
        """
        self.waits_for = None
        threads = [number for number, slot in queue.slots.items()
                   if slot.owner is not None and slot.owner.startswith(LOOP)
                   and not slot.guest and slot.serves.has(ready.queue)]
        count = len(threads)
        own = {index for index, number in enumerate(threads)
               if number in slots}
        is_guest = not own and queue.slots[slots[0]].guest
        if not count or len(own) == count or not (own or is_guest):
            return None
        every = range(len(ready.trees))
        lanes = [lane for lane in every if lane % count in own]
        if own_only:
            return lanes
        now, patience = SYSTEM_CLOCK.monotonic(), self.grace
        if any(True for _ in ready.heads(lanes)):
            # A thread that has jobs of its own looks at others seldom, and
            # helps only where no other thread does.
            if now < self._next_look:
                return lanes
            patience *= _PATIENCE_WITH_WORK
        self._next_look = now + self.grace
        others = [lane for lane in every if lane % count not in own]
        left = ready.all_left()
        for lane, key in ready.heads(others, left):
            seen, since = self._still.get(lane, (None, now))
            if seen != key:
                self._still[lane] = (key, now)
                since = now
            wait = patience - (now - since)
            if wait <= 0:
                lanes.append(lane)
            else:
                self.waits_for = min(wait, self.waits_for or wait)
        return lanes
