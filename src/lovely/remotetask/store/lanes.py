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


