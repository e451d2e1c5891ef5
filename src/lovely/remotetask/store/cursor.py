"""Read cursors: the next jobs of a thread, whose entries stay in the lanes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice

from lovely.remotetask.store.ready import Ready

# How many jobs a thread plans at once: a page of its slot.
_PAGE_JOBS = 32

# How long (seconds) a thread that runs one job after another goes on with its
# plan: a job of a higher priority may have to wait so long.
_LOOK_SECONDS = 0.005


class ReadCursor:
    """A thread's plan, and which entries it has left behind in the lanes.

    Never stored.  It holds keys and ids, no objects, for the thread changes
    its connection.
    Attributes: ``plan`` (deque of (key, job id)), the entries to come, which
    stand on the page that the slot has stored; ``taken`` (int), how many
    claimed entries are still in the lanes.
    """

    def __init__(self) -> None:
        self.plan: deque[tuple[int, int]] = deque()
        self.taken = 0
        # The keys of entries in the lanes that are no longer needed.
        self._passed: set[int] = set()
        self._claimed: list[int] = []
        self._until = 0.0
        self._entries: Iterator[tuple[int, int]] = iter(())

    def is_current(self, ready: Ready,
                   lanes: Callable[[], Iterable[int] | None],
                   now: float) -> bool:
        """Does the plan still begin with the next job of these lanes?

        Arguments: ``lanes()``, asked for a look; ``now``, seconds
        (monotonic).
        Cost: O(lanes) once in 5 ms, else none.
        """
        if not self.plan:
            return False
        if now > self._until:
            self._until = now + _LOOK_SECONDS
            first = min((key for _, key in ready.heads(lanes(), self._passed)),
                        default=None)
            return first is None or first >= self.plan[0][0]
        return True

    def look(self, ready: Ready, lanes: Iterable[int] | None,
             now: float) -> None:
        """Plan anew from these lanes.  Jobs of the old plan still wait."""
        self.plan.clear()
        self._until = now + _LOOK_SECONDS
        self._entries = ready.entries(lanes, self._passed)
        self.extend()

    def extend(self) -> bool:
        """Plan more jobs, in the transaction of the look; False: none is left.
        """
        self.plan.extend(islice(self._entries, _PAGE_JOBS))
        return bool(self.plan)

    def pass_by(self, key: int) -> None:
        """Never look at this entry again: no job comes back to its key."""
        self._passed.add(key)

    def claim(self, key: int) -> None:
        """Note a claim, which counts once it is committed."""
        self._claimed.append(key)
        # Not in committed(): the same transaction may look again.
        self._passed.add(key)

    def committed(self) -> None:
        """The transaction that claimed was committed."""
        self.taken += len(self._claimed)
        self._claimed = []

    def aborted(self) -> None:
        """It was aborted: neither claims nor page are stored."""
        self._passed.difference_update(self._claimed)
        self._claimed = []
        self.plan.clear()

    def removed(self) -> None:
        """The claimed entries are out of the lanes, and no page is open."""
        self.taken = 0
        self._passed = set()
        self.plan.clear()
