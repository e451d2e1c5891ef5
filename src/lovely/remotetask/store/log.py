"""Logs: what has ended, in the order of its end.

Built from plain BTrees classes, as the lanes are.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator

from BTrees.Length import Length
from BTrees.LLBTree import LLBucket
from BTrees.LOBTree import LOBTree
from persistent import Persistent

# Entries of a bucket: 32 equal it, and no buckets at all cost twice.
_CHUNK = 16

# How many emptied buckets of a log are taken out at once: each is loaded.
_PRUNE_BATCH = 64


class Log(Persistent):
    """Moments (int) -> job ids, which rise; one slot alone adds to its end.

    A bucket stands under the first moment that it ever held.
    """

    def __init__(self) -> None:
        self.buckets: LOBTree[LLBucket] = LOBTree()
        self._count = Length()

    def extend(self, entries: Iterable[tuple[int, int]]) -> None:
        """Add entries at the end, in their order.

        Arguments: ``entries``, (moment, job id), later than ``latest()``.
        Cost: one bucket and a counter written; a new bucket every 16 entries.
        """
        bucket = (self.buckets[self.buckets.maxKey()] if self.buckets
                  else None)
        added = 0
        for moment, jobid in entries:
            if bucket is None or len(bucket) >= _CHUNK:
                self.prune()
                bucket = self.buckets[moment] = LLBucket()
            bucket[moment] = jobid
            added += 1
        if added:
            self._count.change(added)

    def latest(self) -> int:
        """The last moment that was noted, or less once that is cleaned."""
        if not self.buckets:
            return -1
        last: int = self.buckets.maxKey()
        bucket = self.buckets[last]
        return bucket.maxKey() if bucket else last

    def discard(self, moment: int, jobid: int) -> bool:
        """Remove an entry, if it still is this job's.

        An emptied bucket stays: taking it out would write the tree, which
        the slot's next finish may be writing.
        """
        bucket = self._bucket(moment)
        if bucket is None or bucket.get(moment) != jobid:
            return False
        del bucket[moment]
        self._count.change(-1)
        return True

    def _bucket(self, moment: int) -> LLBucket | None:
        """The bucket that would hold this moment."""
        try:
            return self.buckets[self.buckets.maxKey(moment)]
        except ValueError:
            return None

    def prune(self) -> bool:
        """Take out empty buckets at the front; for the slot, or if it is free.

        Returns: may there be more?  A finish must not wait for those of a
        large clean, so each call takes out a batch.
        """
        for _ in range(_PRUNE_BATCH):
            if not self.buckets:
                return False
            first = self.buckets.minKey()
            if first == self.buckets.maxKey() or self.buckets[first]:
                return False
            del self.buckets[first]
        return True

    def __len__(self) -> int:
        return self._count()

    def down(self, start: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` downwards, latest first; lazy.

        Cost: O(log n) for the first.
        """
        while True:
            try:
                first = self.buckets.maxKey(start)
            except ValueError:
                return
            bucket = self.buckets[first]
            for moment in reversed(list(bucket.keys(None, start))):
                yield moment, bucket[moment]
            start = first - 1
