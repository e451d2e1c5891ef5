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

    def discard(self, key: int, jobid: int) -> bool:
        """Remove an entry by its key, if it still is this job's."""
        lane = key % len(self.trees)
        tree = self.trees[lane]
        if tree.get(key) != jobid:
            return False
        del tree[key]
        self.lengths[lane].change(-1)
        return True

    def first(self, below: int | None = None,
              allowed: Callable[[int, int], bool] | None = None
              ) -> tuple[int, int] | None:
        """The smallest entry, ``(key, job id)``, at or below ``below``.

        Arguments: ``allowed(lane, key)`` says of the head of each lane
        whether it may be taken.
        Cost: O(lanes).
        """
        best = None
        for lane, tree in enumerate(self.trees):
            # Not minKey(): with pure-Python BTrees it fails when a bucket in
            # the middle has been emptied.
            for key in tree.keys(SENT + 1, below):
                if ((best is None or key < best[0])
                        and (allowed is None or allowed(lane, key))):
                    best = (key, tree[key])
                break
        return best

    def heads(self) -> Iterator[tuple[int, int]]:
        """Each lane that holds anything, with its first key."""
        for lane, tree in enumerate(self.trees):
            for key in islice(tree.keys(SENT + 1), 1):
                yield lane, key

    def pull(self, key: int) -> None:
        """Remove the head of a lane.

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
        self.lengths[lane].change(-1)

    def __len__(self) -> int:
        # From the counters: len() of a cold tree loads all of it.
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
        del bucket[moment]
        if number != self.buckets.maxKey():
            self.holes.change(1)
        return True

    def prune(self) -> None:
        """Take out empty buckets at the front; for the slot, or if it is free.
        """
        while self.buckets:
            number = self.buckets.minKey()
            if number == self.buckets.maxKey() or self.buckets[number]:
                break
            del self.buckets[number]
            skipped = self.buckets.minKey() - number
            self.holes.change(-skipped * _CHUNK)

    def __len__(self) -> int:
        if not self.buckets:
            return 0
        last = self.buckets.maxKey()
        return ((last - self.buckets.minKey()) * _CHUNK
                + len(self.buckets[last]) - self.holes())

    def down(self, start: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` downwards, latest first; lazy."""
        number = self.buckets.maxKey() if self.buckets else -1
        while number >= 0:
            bucket = self.buckets[number]
            for moment in reversed(list(bucket.keys(None, start))):
                yield moment, bucket[moment]
            try:
                number = self.buckets.maxKey(number - 1)
            except ValueError:
                break
