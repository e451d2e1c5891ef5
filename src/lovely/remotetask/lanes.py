"""The structures that order jobs: Lanes and Logs.

They are built from plain BTrees classes, never from subclasses: conflicts
are resolved in the ZEO server, and a server that has not installed this
package must be able to do it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from collections.abc import Iterator
from itertools import islice
from typing import Any

from BTrees.Length import Length
from BTrees.LLBTree import LLBTree
from BTrees.LLBTree import LLBucket
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from lovely.remotetask.settings import AHEAD_SECONDS
from lovely.remotetask.settings import PRUNE_BATCH

#: The first key of every lane.  Keys of jobs are larger.
SENT = -2**62


class Lanes(Persistent):
    """An ordered multiset, key (int) -> job id, that many may write at once.

    The keys are spread over ``count`` trees by ``key % count``.  Deleting the
    first key of a bucket never resolves against another write there, so each
    tree starts with a sentinel that no one takes.

    Source: design section 3; measured in facts/engine 2e.
    """

    def __init__(self, count: int) -> None:
        self.trees = tuple(LLBTree({SENT: 0}) for _ in range(count))
        self.lengths = tuple(Length() for _ in range(count))

    def insert(self, key: int, jobid: int) -> int:
        """Add an entry.

        Returns: the key it got: a taken one moves on within its lane, for
        an assignment would silently replace another job.
        Cost: O(log n).
        """
        count = len(self.trees)
        lane = key % count
        tree = self.trees[lane]
        while not tree.insert(key, jobid):
            key += count
        self.lengths[lane].change(1)
        return key

    def holds(self, key: int, jobid: int) -> bool:
        """Is there an entry of this job at this key?"""
        found: int | None = self.trees[key % len(self.trees)].get(key)
        return found == jobid

    def discard(self, key: int, jobid: int) -> bool:
        """Remove an entry by its key, if it still is this job's."""
        lane = key % len(self.trees)
        tree = self.trees[lane]
        if tree.get(key) != jobid:
            return False
        del tree[key]
        self.lengths[lane].change(-1)
        return True

    def first(self, below: int | None = None) -> tuple[int, int] | None:
        """The smallest entry, ``(key, job id)``, at or below ``below``.

        Cost: O(lanes).
        """
        for entry in self.ahead(None, below):
            return entry
        return None

    def ahead(self, allowed: Callable[[int, int], bool] | None = None,
              below: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from the smallest on, for whoever takes them out.

        Each one has to be gone before the next is asked for.
        Arguments: ``allowed(lane, key)`` says of the head of each lane
        whether it may be taken.
        Cost: O(lanes) for the first, O(log n) for each that follows.
        """
        count, trees = len(self.trees), self.trees
        heads = []
        for lane, tree in enumerate(trees):
            # Not minKey(): with pure-Python BTrees it fails when a bucket in
            # the middle has been emptied.
            for key in tree.keys(SENT + 1, below):
                if allowed is None or allowed(lane, key):
                    heads.append(key)
                break
        if not heads:
            return
        # Mostly one is taken: a heap is for those that follow.
        key = min(heads)
        yield key, trees[key % count][key]
        heapq.heapify(heads)
        while heads:
            lane = heads[0] % count
            for key in trees[lane].keys(SENT + 1, below):
                if allowed is None or allowed(lane, key):
                    heapq.heapreplace(heads, key)
                    break
            else:
                heapq.heappop(heads)
            if heads:
                yield heads[0], trees[heads[0] % count][heads[0]]

    def heads(self) -> Iterator[tuple[int, int]]:
        """Each lane that holds anything, with its first key."""
        for lane, tree in enumerate(self.trees):
            for key in islice(tree.keys(SENT + 1), 1):
                yield lane, key

    def pull(self, key: int, counted: bool = True) -> None:
        """Remove the head of a lane, or what is not far behind it.

        Arguments: ``counted``: False if the caller counts it elsewhere, in a
        record that it writes anyway.

        The sentinel is taken out and put back first.  Where it has become
        the only key of its bucket, that drops the bucket and puts the
        sentinel before the head, in the head's own bucket; without it the
        head would be the first key of a bucket, and its removal would
        conflict with every add there.
        """
        lane = key % len(self.trees)
        tree = self.trees[lane]
        del tree[SENT]
        tree[SENT] = 0
        del tree[key]
        if counted:
            self.lengths[lane].change(-1)

    def __len__(self) -> int:
        # From the counters: len() of a cold tree loads all of it.  Includes
        # what was pulled uncounted.
        return sum(length() for length in self.lengths)

    def __bool__(self) -> bool:
        return self.first() is not None

    def up(self, start: int = SENT + 1) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` on, smallest key first; lazy."""
        return heapq.merge(*(tree.iteritems(start) for tree in self.trees))

    def down(self, start: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` downwards, largest key first; lazy."""
        return heapq.merge(*(_down(tree, start) for tree in self.trees),
                           reverse=True)


def _down(tree: Any, start: int | None) -> Iterator[tuple[int, int]]:
    key = tree.maxKey() if start is None else tree.maxKey(start)
    while key > SENT:
        yield key, tree[key]
        key = tree.maxKey(key - 1)


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
            self._until = now + AHEAD_SECONDS
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


_CHUNK = 16     # entries of a log's bucket: 32 equal it, no chunks cost twice


class Log(Persistent):
    """What has ended, in the order of its end; written by one slot alone.

    A finish writes one bucket that nobody else writes, and no counter, so
    that nothing another worker does can undo finished work.  A position is
    ``(number of the bucket, moment)``; every bucket but the last has once
    held 16 entries.
    """

    def __init__(self) -> None:
        self.buckets = LOBTree()
        # Entries that are gone from other buckets than the last.  Only
        # clean() and the like change it.
        self.holes = Length()

    def append(self, moment: int, jobid: int) -> tuple[int, int]:
        """Add an entry at the end.

        Returns: its position.
        Cost: one bucket written; a new one every 16 entries.
        """
        number = self.buckets.maxKey() if self.buckets else 0
        bucket = self.buckets.get(number)
        # Moments rise through the whole log, also where clocks do not: pages
        # start in the middle of it.
        moment = max(moment, self._latest(number) + 1)
        if bucket is not None and len(bucket) >= _CHUNK:
            self.prune()
            number, bucket = number + 1, None
        if bucket is None:
            bucket = self.buckets[number] = LLBucket()
        bucket[moment] = jobid
        return number, moment

    def _latest(self, number: int) -> int:
        """The last moment noted, in this bucket or the one before it."""
        for bucket in map(self.buckets.get, (number, number - 1)):
            if bucket:
                latest: int = bucket.maxKey()
                return latest
        # Both emptied by clean(): what lies before is older by far.
        return -1

    def discard(self, number: int, moment: int, jobid: int) -> bool:
        """Remove an entry, if it still is this job's.

        An emptied bucket stays: taking it out would write the tree, which
        the slot's next finish may be writing.
        """
        bucket = self.buckets.get(number)
        if bucket is None or bucket.get(moment) != jobid:
            return False
        last = self.buckets.maxKey()
        if number == last and len(bucket) >= _CHUNK:
            # The slot is about to open the next bucket and would not see
            # this hole, nor we its bucket: so that we meet in the same key.
            self.buckets[last + 1] = LLBucket()
            last += 1
        del bucket[moment]
        if number != last:
            self.holes.change(1)
        return True

    def prune(self, most: int = PRUNE_BATCH) -> bool:
        """Take out empty buckets at the front; for the slot, or if it is free.

        Arguments: ``most``, buckets at once: each is loaded, and a finish
        must not wait for those of a large clean.
        Returns: may there be more?
        """
        for _ in range(most):
            if not self.buckets:
                return False
            number = self.buckets.minKey()
            if number == self.buckets.maxKey() or self.buckets[number]:
                return False
            del self.buckets[number]
            skipped = self.buckets.minKey() - number
            self.holes.change(-skipped * _CHUNK)
        return True

    def _find(self, moment: int | None) -> int:
        """The number of a bucket behind which all is later than a moment."""
        low, high = self.buckets.minKey(), self.buckets.maxKey()
        if moment is None:
            return high
        # Moments rise from bucket to bucket; one that clean() has emptied
        # tells nothing, so the search goes on in front of it.
        while low < high:
            middle = number = (low + high + 1) // 2
            while number > low and not self.buckets.get(number):
                number -= 1
            bucket = self.buckets.get(number)
            if bucket and bucket.minKey() > moment:
                high = number - 1 if number > low else low
            else:
                low = middle
        return low

    def __len__(self) -> int:
        if not self.buckets:
            return 0
        last = self.buckets.maxKey()
        return ((last - self.buckets.minKey()) * _CHUNK
                + len(self.buckets[last]) - self.holes())

    def down(self, start: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` downwards, latest first; lazy.

        Cost: O(log n) for the first.
        """
        number = self._find(start) if self.buckets else -1
        while number >= 0:
            bucket = self.buckets[number]
            for moment in reversed(list(bucket.keys(None, start))):
                yield moment, bucket[moment]
            try:
                number = self.buckets.maxKey(number - 1)
            except ValueError:
                break
