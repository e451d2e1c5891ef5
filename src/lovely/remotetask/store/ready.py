"""The ready jobs: in which order they run, and which entries are live.

An entry of a lane is live while its job waits there.  A thread that runs one
job after another leaves behind the entries of the jobs that it has claimed,
and removes many at once: to remove one writes its bucket, 60 numbers on
average, which is a third of the cost of a short job.  Only this module and
``claiming`` know of entries that were left.
"""

from __future__ import annotations

import heapq
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Iterator
from typing import TYPE_CHECKING

from BTrees.Length import Length
from BTrees.LLBTree import LLBTree
from persistent import Persistent

from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.job import Job
from lovely.remotetask.store import records
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.claims import Claims
from lovely.remotetask.store.claims import Left
from lovely.remotetask.store.claims import Slot
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.store.lanes import down
from lovely.remotetask.store.lanes import first_key
from lovely.remotetask.store.lanes import prefetch_ends
from lovely.remotetask.store.order import ready_time
from lovely.remotetask.store.pauses import Pause
from lovely.remotetask.store.pauses import pause_of

if TYPE_CHECKING:
    from BTrees.IOBTree import IOBTree

#: How many lanes there are; each thread of a worker has some of its own.  The
#: number is stored with each service, for ever.  A queue that has a name has
#: fewer, which are made at its first job.
LANES = 64
_LANES_OF_NAMED = 16


class Ready(Persistent):
    """The jobs that wait for a thread: an ordered multiset, key -> job.

    Arguments: ``jobs``, the mapping of all jobs; ``slots``, number -> Slot,
    whose claims tell which entries they have left behind; ``queue``, the name
    of the queue whose jobs they are, None: the default one.
    Attributes: ``queue``; ``place``, as the position of a job names it.
    """

    # The types stand in comments: see job.
    queue = None        # type: str | None
    place = 'ready'     # type: str
    # The Pause of this queue alone, as a plain tuple, or None.
    pausing = None      # type: tuple[object, ...] | None

    def __init__(self, jobs: Blocks, slots: IOBTree[Slot],
                 queue: str | None = None) -> None:
        self._jobs = jobs
        self._slots = slots
        self._lanes = Lanes(LANES if queue is None else _LANES_OF_NAMED)
        if queue is not None:
            self.queue, self.place = queue, f'ready/{queue}'

    def _claims(self) -> Iterator[Claims]:
        """The claims of the slots that work on this queue now."""
        for slot in self._slots.values():
            if slot.claims.queue == self.queue:
                yield slot.claims

    def pause(self, now: float) -> Pause | None:
        """By which this queue rests now; None: its jobs are run.

        Beside a pause of the whole service: see JobQueue.pause_now.
        """
        found = pause_of(self.pausing)
        return found if found is not None and found.holds(now) else None

    def insert(self, key: int, jobid: int) -> int:
        """Add an entry; returns the key it got: see Lanes.insert."""
        return self._lanes.insert(key, jobid)

    def holds(self, key: int, jobid: int) -> bool:
        """Is there an entry of this job at this key?"""
        return self._lanes.holds(key, jobid)

    def entries_up(self, start: int = SENT + 1) -> Iterator[tuple[int, int]]:
        """All entries, also those left behind, smallest key first; lazy."""
        return self._lanes.up(start)

    def last_key(self) -> int:
        """The largest key of all entries: see Lanes.last_key."""
        return self._lanes.last_key()

    def discard(self, key: int, jobid: int) -> bool:
        """Remove an entry by its key, if it still is this job's."""
        return self._lanes.discard(key, jobid)

    def renew(self) -> bool:
        """Put an empty lane in the place of each lost one: see Lanes.renew."""
        return self._lanes.renew()

    def beside(self, key: int) -> int:
        """The next key of the same lane.

        A job that goes back to its place gets this key, never its old one: the
        thread that has claimed it may remove the old entry later.
        """
        return key + len(self._lanes.trees)

    def stands(self, key: int, jobid: int) -> bool | None:
        """Does the job of an entry wait here?

        Returns: False for an entry that was left behind.  None for a job
        whose record cannot be read: it is left alone, and its entry stays;
        see records.
        """
        if records.found_any and records.noted(self._jobs, jobid) is not None:
            return records.may_stand(self._jobs, jobid, (self.place, key))
        try:
            job = self._jobs.get(jobid)
            return job is not None and job.position == (self.place, key)
        except UNREADABLE:
            return records.may_stand(self._jobs, jobid, (self.place, key))

    def live(self, key: int, jobid: int) -> Job | None:
        """The job, if it waits here and can be read."""
        found: Job | None = (self._jobs[jobid] if self.stands(key, jobid)
                             else None)
        return found

    # -- looking --------------------------------------------------------------

    def up(self, start: int | None = None) -> Iterator[tuple[int, Job]]:
        """The jobs that wait, next to run first, with their keys; lazy."""
        lanes = self._lanes
        return self._live(lanes.up() if start is None else lanes.up(start))

    def down(self, start: int | None = None) -> Iterator[tuple[int, Job]]:
        """The same, from ``start`` backwards, last to run first; lazy."""
        return self._live(self._lanes.down(start))

    def shown(self, start: int | None, first: int
              ) -> Iterator[tuple[int, int]]:
        """The entries, (key, job id), as ``down``; also of jobs that cannot
        be read.

        Arguments: ``first``, how many are needed at least.
        """
        if start is None:
            prefetch_ends(self._lanes.trees, -1)
        return self._standing(records.load_ahead(
            self._jobs, self._lanes.down(start), first), unreadable=True)

    def _live(self, entries: Iterable[tuple[int, int]]
              ) -> Iterator[tuple[int, Job]]:
        for key, jobid in self._standing(entries):
            yield key, self._jobs[jobid]

    def _standing(self, entries: Iterable[tuple[int, int]],
                  unreadable: bool = False) -> Iterator[tuple[int, int]]:
        left: set[int] | None = None
        for key, jobid in entries:
            # Once the left entries are known, their jobs are not looked at.
            if left is not None and key in left:
                continue
            stands = self.stands(key, jobid)
            if not stands and left is None:
                left = self.left()
            if stands or (unreadable and stands is None
                          and key not in (left or ())):
                yield key, jobid

    def any(self) -> bool:
        """Does any job wait here?

        Cost: one look for each lane, at its end: entries that were left are at
        the front.
        """
        left: set[int] | None = None
        for tree in self._lanes.trees:
            for key, jobid in down(tree):
                if left is not None and key in left:
                    continue
                if self.live(key, jobid) is not None:
                    return True
                if left is None:
                    left = self.left()
        return False

    def count(self) -> int:
        """How many jobs wait here: all entries but those left behind.

        Cost: O(lanes + slots); lanes are loaded only for the entries of pages
        that threads work on.
        """
        total = len(self._lanes)
        for claims in self._claims():
            total -= claims.taken + len(self.left_of(claims))
        return max(0, total)

    def oldest(self) -> float | None:
        """Since when (seconds since 1970) the oldest of them waits, or None.

        Of each lane the jobs of the highest priority are looked at.
        """
        prefetch_ends(self._lanes.trees, 0)
        left = self.left()
        heads = [(ready_time(key), key)
                 for key in map(first_key, self._lanes.trees)
                 if key is not None]
        heapq.heapify(heads)
        # The oldest first: it mostly is live, and no other job is loaded.
        while heads:
            moment, key = heads[0]
            jobid = self._lanes.get(key)
            if (key not in left and jobid is not None
                    and self.live(key, jobid) is not None):
                return moment
            following = self._lanes.following(key, left)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (ready_time(following), following))
        return None

    def heads(self, lanes: Iterable[int] | None = None,
              skip: Container[int] = ()) -> Iterator[tuple[int, int]]:
        """Each lane that has an entry, (lane, first key): see Lanes.heads."""
        return self._lanes.heads(lanes, skip)

    @property
    def lengths(self) -> tuple[Length, ...]:
        """The counters of the lanes: each add writes one of them."""
        return self._lanes.lengths

    @property
    def first_key(self) -> int | None:
        """The smallest key of all entries, None: there is none."""
        return min((key for _, key in self._lanes.heads()), default=None)

    @property
    def trees(self) -> tuple[LLBTree, ...]:
        """The trees of the lanes."""
        return self._lanes.trees

    # -- taking ---------------------------------------------------------------

    def entries(self, lanes: Iterable[int] | None = None,
                skip: Container[int] = ()) -> Iterator[tuple[int, int]]:
        """The entries, (key, job id), next to run first; lazy.

        Entries that were left behind are among them.  The caller may remove
        an entry, or leave it, before it asks for the next.
        Arguments: ``lanes``, the numbers of those to take from, None: all;
        ``skip``, keys that do not count.
        Cost: O(lanes) for the first, O(log n) for each that follows.
        """
        keys = [key for _, key in self._lanes.heads(lanes, skip)]
        heapq.heapify(keys)
        while keys:
            key = keys[0]
            jobid = self._lanes.get(key)
            following = self._lanes.following(key, skip)
            if following is None:
                heapq.heappop(keys)
            else:
                heapq.heapreplace(keys, following)
            if jobid is not None:
                yield key, jobid

    def take(self, key: int) -> None:
        """Remove an entry at the front of its lane."""
        self._lanes.pull(key)

    def left_of(self, claims: Claims) -> list[tuple[int, int]]:
        """The entries that the page of a slot has left in the lanes so far.

        Cost: O(entries of a page).
        """
        if not claims.ahead:
            return []
        return [(key, jobid) for key, jobid in claims.page()
                if self._lanes.holds(key, jobid)
                and self.stands(key, jobid) is False]

    def remove_left(self, left: Iterable[Left]) -> None:
        """Take entries that were left there out of the lanes."""
        for part in left:
            for key, jobid in part.entries():
                # A job never comes back to a key that it was claimed at.
                if self._lanes.holds(key, jobid):
                    self._lanes.pull(key)

    def left(self) -> set[int]:
        """The keys of all entries that earlier pages of slots have left."""
        return {key for claims in self._claims()
                for part in claims.left for key, _ in part.entries()}

    def all_left(self) -> set[int]:
        """The keys of all entries that slots have left, up to now."""
        found = self.left()
        for claims in self._claims():
            found.update(key for key, _ in self.left_of(claims))
        return found
