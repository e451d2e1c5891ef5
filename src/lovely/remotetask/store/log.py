"""Logs: what has ended, in the order of its end.

Built from plain BTrees classes, as the lanes are.
"""

from __future__ import annotations

from collections.abc import Iterator

from BTrees.Length import Length
from BTrees.LLBTree import LLBucket
from BTrees.LOBTree import LOBTree
from persistent import Persistent

# How many emptied buckets of a log are taken out at once: each is loaded.
_PRUNE_BATCH = 64


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

    def prune(self, most: int = _PRUNE_BATCH) -> bool:
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
