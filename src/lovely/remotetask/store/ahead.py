"""What one thread takes from lanes before it removes the entries."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from collections.abc import Iterator

from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.lanes import Lanes

# For so long (seconds) a thread that runs one job after another goes on with
# what it has seen: a job of a higher priority may have to wait that much.
_AHEAD_SECONDS = 0.005


class Ahead:
    """What one reader takes next from lanes, leaving the entries there.

    Removing an entry writes its bucket, 60 numbers on average, and that is a
    third of what running a short job costs.  So a thread that runs one job
    after another leaves behind what it has taken, and removes many at once.
    Whoever else meets such an entry finds that its job is not queued there
    any more.  Never stored; knows keys only, for connections come and go.

    Attributes: ``spent``, (key, job id) of what was taken and committed.
    """

    def __init__(self) -> None:
        self.spent: list[tuple[int, int]] = []
        self._taken: list[tuple[int, int]] = []
        self._keys: set[int] = set()
        self._heads: list[int] = []
        self._until = 0.0

    def entries(self, lanes: Lanes, now: float,
                allowed: Callable[[int, int], bool] | None
                ) -> Iterator[tuple[int, int]]:
        """The entries to come, smallest first; a look holds for a while.

        Arguments: ``now``, seconds (monotonic).
        Cost: O(lanes) once in AHEAD_SECONDS, O(log n) in between.
        """
        if now > self._until or not self._heads:
            self._look(lanes, allowed)
            self._until = now + _AHEAD_SECONDS
        count = len(lanes.trees)
        while self._heads:
            key = self._heads[0]
            jobid = lanes.trees[key % count].get(key)
            # None: somebody else has removed it.
            if jobid is not None:
                yield key, jobid
            if self._heads and self._heads[0] == key:
                self._pass(lanes, key)

    def _look(self, lanes: Lanes,
              allowed: Callable[[int, int], bool] | None) -> None:
        self._heads = []
        for lane, tree in enumerate(lanes.trees):
            for key in tree.keys(SENT + 1):
                if key in self._keys:
                    continue
                if allowed is None or allowed(lane, key):
                    self._heads.append(key)
                break
        heapq.heapify(self._heads)

    def _pass(self, lanes: Lanes, key: int) -> None:
        for following in lanes.trees[key % len(lanes.trees)].keys(key + 1):
            heapq.heapreplace(self._heads, following)
            return
        heapq.heappop(self._heads)

    def take(self, lanes: Lanes, key: int, jobid: int) -> None:
        """Take the first of the entries; only a commit makes that good."""
        self._taken.append((key, jobid))
        self._pass(lanes, key)

    def committed(self) -> None:
        """What was taken is ours."""
        self.spent += self._taken
        self._keys.update(key for key, _ in self._taken)
        self._taken = []

    def aborted(self) -> None:
        """What was taken is not."""
        self._taken, self._heads = [], []

    def removed(self) -> None:
        """What was spent is out of the lanes."""
        self.spent, self._keys, self._heads = [], set(), []
