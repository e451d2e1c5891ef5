"""Logs: the jobs that have ended, in the order of their ends.

Built from plain BTrees classes, as the lanes are.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice

from BTrees.Length import Length
from BTrees.LLBTree import LLBucket
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from lovely.remotetask.store.lanes import prefetch

#: The names of a slot's logs, which are statuses.  The position of a job there
#: is ``(name, (slot, moment))``; that of any other job is ``(name of lanes,
#: key)``.
LOGS = ('completed', 'error')

# Entries per bucket: 32 cost the same, and one tree without buckets twice.
_CHUNK = 16

# The key in a bucket under which the log's total stands: how many entries were
# ever added to it, up to the end of this bucket.  Moments are 0 or later.  It
# is written with the entries of the bucket, and costs no record.
_TOTAL = -1

# How many buckets a look at many entries loads in one round trip.
_MOST_AHEAD = 16

# How many empty buckets of a log are taken out at once: each is loaded for it.
_PRUNE_BATCH = 64


class Log(Persistent):
    """A mapping moment (int) -> job id, to whose end one slot alone adds.

    A bucket's key is the first moment that it ever held.
    Attributes: ``others`` (int), how many ends count in the total that have
    never been entries here.
    """

    others = 0

    def __init__(self, others: int = 0) -> None:
        self.buckets: LOBTree[LLBucket] = LOBTree()
        self._count = Length()
        if others:
            self.others = others

    def extend(self, entries: Iterable[tuple[int, int]]) -> None:
        """Add entries at the end, in their order.

        Arguments: ``entries``, (moment, job id), later than ``latest()``.
        Cost: one bucket and a counter written; a new bucket every 16 entries.
        """
        bucket = (self.buckets[self.buckets.maxKey()] if self.buckets
                  else None)
        total = 0 if bucket is None else self._total(bucket)
        added = 0
        for moment, jobid in entries:
            if bucket is None or len(bucket) - (_TOTAL in bucket) >= _CHUNK:
                if bucket is not None and added:
                    bucket[_TOTAL] = total + added
                self.prune()
                bucket = self.buckets[moment] = LLBucket()
            bucket[moment] = jobid
            added += 1
        if added and bucket is not None:
            bucket[_TOTAL] = total + added
            self._count.change(added)

    def _total(self, bucket: LLBucket) -> int:
        # An earlier release has counted none of those that were cleaned.
        return bucket.get(_TOTAL, self._count())

    def total(self) -> int:
        """How many were ever added, also those that were cleaned."""
        if not self.buckets:
            return self.others
        return self.others + self._total(self.buckets[self.buckets.maxKey()])

    def latest(self) -> int:
        """The last moment that was noted, or less where it was cleaned."""
        if not self.buckets:
            return -1
        last: int = self.buckets.maxKey()
        bucket = self.buckets[last]
        latest = bucket.maxKey() if bucket else _TOTAL
        return last if latest == _TOTAL else latest

    def holds(self, moment: int, jobid: int) -> bool:
        """Is there an entry of this job at this moment?"""
        bucket = self._bucket(moment)
        return bucket is not None and bucket.get(moment) == jobid

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
        """Take out empty buckets at the front, at most a batch of them.

        To be called by the slot's thread, or for a slot that is free.  A
        finish must not wait for all the buckets of a large clean.
        Returns: False if no more are there.
        """
        for _ in range(_PRUNE_BATCH):
            if not self.begins_empty():
                return False
            del self.buckets[self.buckets.minKey()]
        return True

    def hole(self, moment: int) -> int | None:
        """The key of the bucket of a moment, if that is empty; not the last.
        """
        first: int = self.buckets.maxKey(moment)
        return (first if first != self.buckets.maxKey()
                and not holds_any(self.buckets[first]) else None)

    def drop(self, first: int) -> None:
        """Take out the bucket with this key, if it is empty.  See prune."""
        if (first in self.buckets and first != self.buckets.maxKey()
                and not holds_any(self.buckets[first])):
            del self.buckets[first]

    def sweep(self, start: int, limit: int) -> int | None:
        """Take out the empty buckets from a moment on; see prune.

        Arguments: ``limit``, at how many buckets it looks.
        Returns: where to go on; None: it has looked at all.
        """
        # Not only before a mark: beside an entry that waits for its thread,
        # later ones of other threads have gone.
        keys = list(islice(self.buckets.keys(start), limit))
        prefetch([self.buckets[first] for first in keys])
        for first in keys:
            self.drop(first)
        return keys[-1] + 1 if len(keys) == limit else None

    def begins_empty(self) -> bool:
        """Is there an empty bucket at the front for ``prune`` to take out?"""
        if not self.buckets:
            return False
        first = self.buckets.minKey()
        return bool(first != self.buckets.maxKey()
                    and not holds_any(self.buckets[first]))

    @property
    def length(self) -> Length:
        """The counter of its entries."""
        return self._count

    def __len__(self) -> int:
        return self._count()

    def down(self, start: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` downwards, latest first; lazy.

        Cost: O(log n) for the first.
        """
        count, first = 1, start
        while True:
            # One bucket is enough for most; who goes on needs ever more.
            found, first = self._before(first, count)
            if not found:
                return
            prefetch(found)
            for bucket in found:
                for moment in reversed(list(bucket.keys(_TOTAL + 1, start))):
                    yield moment, bucket[moment]
            count = min(count * 4, _MOST_AHEAD)

    def _before(self, start: int | None, count: int
                ) -> tuple[list[LLBucket], int | None]:
        """So many buckets from a moment downwards, and where to go on."""
        found: list[LLBucket] = []
        while len(found) < count:
            try:
                first = self.buckets.maxKey(start)
            except ValueError:
                break
            found.append(self.buckets[first])
            start = first - 1
        return found, start

    def up(self, start: int) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` upwards, earliest first; lazy.

        Cost: O(log n) for the first.
        """
        try:
            first = self.buckets.maxKey(start)
        except ValueError:
            first = None
        for bucket in self.buckets.values(first):
            yield from bucket.items(max(start, _TOTAL + 1))


def entries_of(bucket: LLBucket, below: int | None = None
               ) -> list[tuple[int, int]]:
    """The entries of a bucket of a log, (moment, job id).

    Arguments: ``below``: only those of earlier moments.
    """
    return list(bucket.items(
        _TOTAL + 1, None if below is None else below - 1))


def holds_any(bucket: LLBucket) -> bool:
    """Has a bucket of a log any entry?"""
    return len(bucket) > (_TOTAL in bucket)
