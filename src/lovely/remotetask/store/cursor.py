"""What one thread takes next from its lanes, without removing it there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice

from lovely.remotetask.store.ready import Ready

# How many jobs a thread plans at once: a page of its slot.
_PAGE_JOBS = 32

# For so long (seconds) a thread that runs one job after another goes on with
# its plan: a job of a higher priority may have to wait that much.
_LOOK_SECONDS = 0.005


class ReadCursor:
    """A thread's plan, and which entries it has left behind in the lanes.

    Never stored; it knows keys and ids only, for connections come and go.
    Attributes: ``plan`` (deque of (key, job id)), the entries to come, which
    stand on the page that the slot has stored; ``taken`` (int), how many
    entries have been claimed, and not removed yet.
    """

    def __init__(self) -> None:
        self.plan: deque[tuple[int, int]] = deque()
        self.taken = 0
        # Entries that are in the lanes and are no use any more.
        self._passed: set[int] = set()
        self._claimed: list[int] = []
        self._until = 0.0
        self._entries: Iterator[tuple[int, int]] = iter(())

    def is_current(self, ready: Ready,
                   lanes: Callable[[], Iterable[int] | None],
                   now: float) -> bool:
        """Does the plan still begin with what runs next in these lanes?

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
        """Plan anew from these lanes.  What was planned still waits."""
        self.plan.clear()
        self._until = now + _LOOK_SECONDS
        self._entries = ready.entries(lanes, self._passed)
        self.extend()

    def extend(self) -> bool:
        """Plan more, after a look of the same transaction; False: no more."""
        self.plan.extend(islice(self._entries, _PAGE_JOBS))
        return bool(self.plan)

    def pass_by(self, key: int) -> None:
        """Never look at this entry again: no job comes back to its key."""
        self._passed.add(key)

    def claim(self, key: int) -> None:
        """Note a claim, which only a commit makes good."""
        self._claimed.append(key)
        # At once: the same transaction may look again.
        self._passed.add(key)

    def committed(self) -> None:
        """What was claimed is ours."""
        self.taken += len(self._claimed)
        self._claimed = []

    def aborted(self) -> None:
        """What was claimed is not; nor is the page stored."""
        self._passed.difference_update(self._claimed)
        self._claimed = []
        self.plan.clear()

    def removed(self) -> None:
        """What was left behind is out of the lanes, and no page is open."""
        self.taken = 0
        self._passed = set()
        self.plan.clear()
