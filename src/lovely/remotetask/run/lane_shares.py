"""Which lanes a worker takes from, so that workers do not meet."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.run.identity import LOOP

#: How long the head of a foreign lane must lie still before it is taken
#: (seconds): at least, and as a multiple of the own commits' average time.
GRACE_FIRST = 0.05
_GRACE_COMMITS = 20

# So many times longer for a thread that has jobs in its own lanes.
_PATIENCE_WITH_WORK = 20


class LaneShares:
    """Which lanes of a queue the threads of this worker take from.

    Lanes are shared out among the threads of all workers, so that they do not
    meet; a head of somebody else's lane that lies still is taken all the
    same: its owner may be busy, or dead.
    """

    def __init__(self) -> None:
        self.waits_for: float | None = None
        self._still: dict[int, tuple[int, float]] = {}
        self._average = 0.0

    def took(self, seconds: float) -> None:
        """Learn how long a claim's commit takes."""
        self._average += (seconds - self._average) / 8

    @property
    def grace(self) -> float:
        """How long (seconds) a foreign head must lie still."""
        # A commit in progress must not look like a stand-still.
        return max(GRACE_FIRST, _GRACE_COMMITS * self._average)

    def may_take(self, queue: Any, slots: Sequence[int], own_only: bool
              ) -> Callable[[int, int], bool] | None:
        """What says whether the head of a lane may be taken; None: all may.

        Arguments: ``slots``, the threads that could run it; ``own_only``:
        leave the lanes of all others alone.
        """
        self.waits_for = None
        threads = [number for number, slot in queue.slots.items()
                   if (slot.owner or '').startswith(LOOP)]
        count = len(threads)
        own = {index for index, number in enumerate(threads)
               if number in slots}
        if not own or len(own) == count:
            return None
        now, patience = SYSTEM_CLOCK.monotonic(), self.grace
        if any(lane % count in own for lane, _ in queue.ready.heads()):
            # Whoever has work of its own helps only where nobody else does.
            patience *= _PATIENCE_WITH_WORK

        def allowed(lane: int, key: int) -> bool:
            if lane % count in own:
                return True
            if own_only:
                return False
            seen, since = self._still.get(lane, (None, now))
            if seen != key:
                self._still[lane] = (key, now)
                since = now
            left = patience - (now - since)
            if left <= 0:
                return True
            self.waits_for = min(left, self.waits_for or left)
            return False

        return allowed
