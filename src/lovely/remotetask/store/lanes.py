"""Lanes: the order of the jobs that wait.

Built from plain BTrees classes, never from subclasses: conflicts are
resolved in the ZEO server, and a server that has not installed this package
must be able to do it.
"""

from __future__ import annotations

import heapq
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from typing import Any

from BTrees.Length import Length
from BTrees.LLBTree import LLBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

#: The first key of every lane.  Keys of jobs are larger.
SENT = -2**62

#: The largest key that a lane can hold.
LAST = 2**63 - 1


class Lanes(Persistent):
    """An ordered multiset, key (int) -> job id, that many may write at once.

    The keys are spread over ``count`` trees by ``key % count``.  A transaction
    that deletes the first key of a bucket conflicts with each other write
    there, so each tree begins with a sentinel that is never taken.
    """

    def __init__(self, count: int) -> None:
        self.trees = tuple(LLBTree({SENT: 0}) for _ in range(count))
        self.lengths = tuple(Length() for _ in range(count))

    def insert(self, key: int, jobid: int) -> int:
        """Add an entry.

        Returns: the key it got: where ``key`` is taken, the next free one of
        its lane, for an assignment would replace another job unnoticed.
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

    def get(self, key: int) -> int | None:
        """The job id at a key; None: there is no entry."""
        found: int | None = self.trees[key % len(self.trees)].get(key)
        return found

    def first(self, below: int | None = None) -> tuple[int, int] | None:
        """The smallest entry, ``(key, job id)``, at or below ``below``.

        Cost: O(lanes).
        """
        heads = [key for tree in self.trees
                 for key in islice(tree.keys(SENT + 1, below), 1)]
        if not heads:
            return None
        key = min(heads)
        return key, self.trees[key % len(self.trees)][key]

    def heads(self, lanes: Iterable[int] | None = None,
              skip: Container[int] = ()) -> Iterator[tuple[int, int]]:
        """The number and the first key of each lane that has an entry.

        Arguments: ``lanes``, the numbers of those to look at, None: all;
        ``skip``, keys that do not count.
        """
        for lane in range(len(self.trees)) if lanes is None else lanes:
            # Not minKey(): with pure-Python BTrees it fails when a bucket in
            # the middle has been emptied.
            for key in self.trees[lane].keys(SENT + 1):
                if key not in skip:
                    yield lane, key
                    break

    def last_key(self) -> int:
        """The largest key of all lanes, SENT if there is no entry."""
        return max(tree.maxKey() for tree in self.trees)

    def following(self, key: int, skip: Container[int] = ()) -> int | None:
        """The key behind this one in its lane, or None at the end.

        Arguments: ``skip``, keys that do not count.
        """
        for found in self.trees[key % len(self.trees)].keys(key + 1):
            if found not in skip:
                return int(found)
        return None

    def pull(self, key: int) -> None:
        """Remove the head of a lane, or an entry not far behind it.

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

    def renew(self) -> bool:
        """Put an empty lane in the place of each that has lost a record.

        Its jobs stand nowhere then; a check puts them back.
        Returns: was there any?
        Cost: O(n): all records are loaded.
        """
        trees, lengths = list(self.trees), list(self.lengths)
        for lane, tree in enumerate(trees):
            try:
                for _ in tree.items():
                    pass
                lengths[lane]()
            except POSKeyError:
                trees[lane], lengths[lane] = LLBTree({SENT: 0}), Length()
        if trees == list(self.trees):
            return False
        self.trees, self.lengths = tuple(trees), tuple(lengths)
        return True

    def __len__(self) -> int:
        # From the counters: len() of a cold tree loads all of it.
        return sum(length() for length in self.lengths)

    def __bool__(self) -> bool:
        return self.first() is not None

    def up(self, start: int = SENT + 1) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` on, smallest key first; lazy."""
        return heapq.merge(*(tree.iteritems(start) for tree in self.trees))

    # The name that Ready has for it, too.
    entries_up = up

    def down(self, start: int | None = None) -> Iterator[tuple[int, int]]:
        """The entries from ``start`` downwards, largest key first; lazy."""
        return heapq.merge(*(down(tree, start) for tree in self.trees),
                           reverse=True)


def down(tree: LLBTree, start: int | None = None
         ) -> Iterator[tuple[int, int]]:
    """The entries of one lane, largest key first; lazy."""
    key = tree.maxKey() if start is None else tree.maxKey(start)
    while key > SENT:
        yield key, tree[key]
        key = tree.maxKey(key - 1)


def first_key(tree: LLBTree) -> int | None:
    """The first key of a lane; None: it has no entry."""
    try:
        # keys() would load the last bucket, too.
        return int(tree.minKey(SENT + 1))
    except ValueError:
        # Pure-Python BTrees look into one bucket alone.
        return next(iter(tree.keys(SENT + 1)), None)


def prefetch_ends(trees: Iterable[Any], side: int) -> None:
    """Load trees and their outermost buckets, in two round trips.

    Arguments: ``side``, 0 for the first bucket of each tree, -1 for the last.
    """
    trees = list(trees)
    prefetch(trees)
    # What a tree stores: its children among their keys, and its first bucket.
    # A small one has its only bucket within, and is loaded with that.
    states = [tree.__getstate__() for tree in trees]
    prefetch(state[0][side] for state in states
             if state is not None and len(state) == 2)


def prefetch(parts: Iterable[Persistent]) -> None:
    """Load objects in one round trip to a server, not one for each."""
    # None: it is a ghost.
    cold = [part for part in parts if part._p_changed is None]
    if not cold:
        return
    jar = cold[0]._p_jar
    # A ZEO client that is cut off fails in its own thread: no caller gets
    # the error, and asyncio logs an ERROR with a traceback for each call.
    if getattr(jar.db().storage, 'is_connected', lambda: True)():
        jar.prefetch(cold)
