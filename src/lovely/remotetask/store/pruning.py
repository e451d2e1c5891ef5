"""Pruning: removes the jobs that were kept for long enough, step by step.

::

    mark ->  looked at: removed, or left  |  to be looked at  |  not due yet
             -----------------------------+-------------------+------------>
                                         mark               below    moments

Each bound, and each age that a task declares, has a mark of its own in each
status.  An entry is looked at once for each of them, when it comes to its age:
jobs that stay longer are not read again and again.  Marks are in the memory of
the worker that removes jobs, which begins anew once an hour: what was left for
another reason has its turn then.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from collections.abc import Mapping
from functools import partial
from itertools import islice
from itertools import takewhile
from typing import TYPE_CHECKING
from typing import NamedTuple

from lovely.remotetask.edge.clock import first_key
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.store import batches
from lovely.remotetask.store.cleaning import is_busy
from lovely.remotetask.store.cleaning import take
from lovely.remotetask.store.lanes import LAST
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import load
from lovely.remotetask.store.retention import DAY
from lovely.remotetask.store.retention import DEFAULTS
from lovely.remotetask.store.retention import bounds_of
from lovely.remotetask.store.retention import keeps_of
from lovely.remotetask.store.uncounted import Uncounted
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.store.workers import LOOP

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.log import Log
    from lovely.remotetask.store.queue import JobQueue

# How many holes of a log are known one by one.
_MOST_HOLES = 4096

# For how long (seconds) a job stays to which others may come in its block of
# ids.  A process that adds jobs more rarely than that meets a removal hardly
# ever.
_OPEN_SECONDS = 3600.0


class Mark(NamedTuple):
    """How far a look has come.

    Attributes: ``moment``, a time_key: the entries before it were looked at;
    ``passed``, how many of those are still there.
    """

    moment: int = 0
    passed: int = 0


#: (status, age in seconds that tasks declare; None: the bounds of the status).
Level = tuple[str, 'float | None']

#: (number of the slot, status) -> keys of buckets that were emptied behind
#: others, and wait until the thread of the slot rests; or, where they are not
#: known, a moment: all buckets from there on are looked at.
Holes = dict[tuple[int, str], 'frozenset[int] | int']

#: (moment, job id, number of the slot; None: cancelled).
Entry = tuple[int, int, 'int | None']
Marks = Mapping[Level, Mark]


class Step(NamedTuple):
    """What one transaction has removed, and where the next one goes on.

    Attributes: ``removed``, status -> how many; ``marks``; ``holes``;
    ``tidied``: has it taken empty buckets out of logs?
    """

    removed: dict[str, int]
    marks: dict[Level, Mark]
    holes: Holes
    tidied: bool


def remover(queue: JobQueue) -> str | None:
    """The id of the worker that removes jobs: one, so that none meets another.

    None: no worker runs jobs on and on.
    """
    first: str | None = next(iter(queue.workers.keys(LOOP)), None)
    return first if first is not None and first.startswith(LOOP) else None


def is_due(queue: JobQueue, marks: Marks, holes: Holes, now: float) -> bool:
    """Is there an entry to look at?  Writes nothing.

    Cost: O(slots) for each bound and each age that tasks declare.
    """
    for level in _levels(queue):
        mark = marks.get(level, Mark())
        below = _below(queue, level, mark, now, 1)
        if any(True for _ in _entries(queue, level[0], mark.moment, below)):
            return True
    return any(True for _ in _ragged(queue, holes, now))


def step(queue: JobQueue, marks: Marks, holes: Holes, now: float, limit: int,
         careful: bool = False) -> Step:
    """Remove jobs that were kept for long enough; look at most at ``limit``.

    Arguments: ``careful``: a transaction that called this has conflicted, so
    keep out of the way of the threads that end jobs.
    Txn: each call wants one of its own.  It writes no Job, and of a slot whose
    thread is at work neither the last bucket of a log nor its tree.
    """
    after = dict(marks)
    # What a worker before this one has emptied is not known.
    holes = dict(holes) if marks else {
        (number, name): 0 for number in queue.slots for name in LOGS}
    removed: dict[str, int] = {}
    left, tidied = limit, False
    for level in _levels(queue):
        status, mark = level[0], after.get(level, Mark())
        below = _below(queue, level, mark, now, left)
        entries = list(islice(
            _entries(queue, status, mark.moment, below), left))
        if not entries:
            continue
        left -= len(entries)
        walk = _Walk(queue, level, now, careful)
        walk.go(entries)
        # Of two slots with the same moment, one may be passed by: an hour
        # later it is looked at.
        after[level] = walk.mark_after(
            mark, below if left else entries[-1][0] + 1)
        removed[status] = removed.get(status, 0) + len(walk.removed)
        for place, found in walk.holes().items():
            holes[place] = _with_holes(holes.get(place, frozenset()), found)
        first = after.get((status, None), Mark())
        if level[1] is not None and first.passed:
            gone = sum(moment < first.moment for moment in walk.removed)
            after[status, None] = first._replace(
                passed=max(0, first.passed - gone))
        if not left:
            break
    if not careful:
        for place, log in list(_ragged(queue, holes, now)):
            log.prune()
            rest = _without_holes(
                log, holes.pop(place, frozenset()), limit)
            if rest is not None:
                holes[place] = rest
            tidied = True
    return Step(removed, after, holes, tidied)


def _with_holes(known: frozenset[int] | int, found: set[int]
                ) -> frozenset[int] | int:
    """The holes of a log, with further ones."""
    if isinstance(known, int):
        return min(known, *found)
    both = known | found
    return both if len(both) <= _MOST_HOLES else min(both)


def _without_holes(log: Log, known: frozenset[int] | int, limit: int
                   ) -> frozenset[int] | int | None:
    """Take out some empty buckets of a log whose thread rests.

    Returns: what is left of the holes; None: nothing.
    """
    if isinstance(known, int):
        return log.sweep(known, limit)
    first = sorted(known)
    for hole in first[:limit]:
        log.drop(hole)
    return frozenset(first[limit:]) or None


def _ragged(queue: JobQueue, holes: Holes, now: float
            ) -> Iterator[tuple[tuple[int, str], Log]]:
    """The logs whose empty buckets can be taken out.

    A thread at work does that itself, when it opens a new one.
    """
    for number, slot in queue.slots.items():
        for name in LOGS:
            log = getattr(slot, name)
            if ((log.begins_empty() or (number, name) in holes)
                    and not is_at_work(queue, number, log, now)):
                yield (number, name), log


def is_at_work(queue: JobQueue, number: int, log: Log, now: float) -> bool:
    """May a thread write the last bucket of this log soon?"""
    if queue.slots[number].owner is None:
        # Direct processing is in nobody's slot.
        return number == DIRECT_SLOT and is_busy(log, now)
    return is_busy(log, now) or bool(queue.claimed(number))


def _levels(queue: JobQueue) -> Iterator[Level]:
    ages = sorted(set(keeps_of(queue).values()))
    for status in DEFAULTS:
        yield status, None
        for age in ages:
            yield status, age


def _below(queue: JobQueue, level: Level, mark: Mark, now: float, most: int
           ) -> int:
    """The time_key before which jobs were kept for long enough.

    Arguments: ``most``: where there are too many jobs, not more than so many
    of them are before it.
    """
    status, age = level
    if age is not None:
        return first_key(now - age)
    bounds, below = bounds_of(queue)[status], mark.moment
    if bounds.days is not None:
        below = max(below, first_key(now - bounds.days * DAY))
    if bounds.count is not None:
        over = _stored(queue, status) - mark.passed - bounds.count
        if over > 0:
            first = next(islice(_entries(queue, status, mark.moment, LAST),
                                min(over, most), None), None)
            below = max(below, LAST if first is None else first[0])
    return below


def _stored(queue: JobQueue, status: str) -> int:
    """How many jobs are in the logs, or lanes, of a status."""
    if status not in LOGS:
        return len(queue.cancelled)
    return sum(len(getattr(slot, status)) for slot in queue.slots.values())


def _entries(queue: JobQueue, status: str, start: int, below: int
             ) -> Iterator[Entry]:
    """The jobs that have ended so, the earliest first; lazy."""
    if status not in LOGS:
        found: Iterator[Entry] = (
            (key, jobid, None) for key, jobid in queue.cancelled.up(
                max(start, SENT + 1)))
    else:
        found = heapq.merge(*(
            _of_slot(getattr(slot, status), number, start)
            for number, slot in queue.slots.items()))
    return takewhile(lambda entry: entry[0] < below, found)


def _of_slot(log: Log, number: int, start: int) -> Iterator[Entry]:
    return ((moment, jobid, number) for moment, jobid in log.up(start))


class _Walk:
    """A look at some entries of a level, in the current transaction.

    Attributes: ``removed``, the moments of the jobs that were removed.
    """

    def __init__(self, queue: JobQueue, level: Level, now: float,
                 careful: bool) -> None:
        self._queue, self._now, self._careful = queue, now, careful
        self._status, self._age = level
        self._keeps = keeps_of(queue)
        # Group -> see _is_awaited.
        self._groups: dict[int, bool] = {}
        self.removed: list[int] = []
        self._left: list[int] = []
        # What was removed: (number of the slot, moment).
        self._gone: list[tuple[int, int]] = []
        # The first moment that waits until a thread has gone on.
        self._held: int | None = None
        # Slot -> the first moment of a bucket that its thread may write.
        self._written: dict[int, int | None] = {}

    def go(self, entries: list[Entry]) -> None:
        load(self._queue.jobs, [jobid for _, jobid, _ in entries])
        gone = Uncounted(self._queue)
        for moment, jobid, number in entries:
            if number is not None and self._is_written(number, moment):
                self._held = moment if self._held is None else self._held
                continue
            place, log = ((moment, self._queue.cancelled) if number is None
                          else ((number, moment), self._log(number)))
            if take(self._queue, jobid, (self._status, place),
                    partial(log.discard, moment, jobid),
                    partial(self._goes, gone, number)):
                self.removed.append(moment)
                if number is not None:
                    self._gone.append((number, moment))
            elif log.holds(moment, jobid):
                self._left.append(moment)

        gone.note()

    def _holds_block(self, job: Job) -> bool:
        """Does this job stay, for a process may be adding others beside it?

        One job of each process at most, and for an hour.
        """
        ended = job.completedAt
        return (ended is not None
                and ended.timestamp() > self._now - _OPEN_SECONDS
                and self._queue.jobs.is_front(job.id))

    def _is_awaited(self, job: Job) -> bool:
        """Does what follows the group of this job have its result to read?

        One that failed has none, and goes: a group that is never mended would
        keep all of its jobs for ever.
        """
        if job.groupPlace is None or self._status != COMPLETED:
            return False
        number = job.groupPlace[0]
        if number not in self._groups:
            self._groups[number] = batches.needs_results(self._queue, number)
        return self._groups[number]

    def holes(self) -> dict[tuple[int, str], set[int]]:
        """The buckets that were emptied; see Holes."""
        found: dict[tuple[int, str], set[int]] = {}
        for number, moment in self._gone:
            first = self._log(number).hole(moment)
            if first is not None:
                found.setdefault((number, self._status), set()).add(first)
        return found

    def mark_after(self, before: Mark, end: int) -> Mark:
        """The mark behind the entries that were looked at."""
        if self._held is not None:
            end = min(end, self._held)
        return Mark(end, before.passed + sum(
            moment < end for moment in self._left))

    def _log(self, number: int) -> Log:
        found: Log = getattr(self._queue.slots[number], self._status)
        return found

    def _is_written(self, number: int, moment: int) -> bool:
        """May a thread write the bucket of this entry now?"""
        if number not in self._written:
            log = self._log(number)
            live = (number == DIRECT_SLOT
                    or self._queue.slots[number].owner is not None)
            self._written[number] = (
                log.buckets.maxKey() if (self._careful and live)
                or is_at_work(self._queue, number, log, self._now) else None)
        first = self._written[number]
        return first is not None and moment >= first

    def _goes(self, gone: Uncounted, number: int | None, job: Job) -> bool:
        """Is this job removed at this age?"""
        status = job.status
        if isinstance(job, UnreadableJob):
            # Of a record that is lost nothing is known: people decide.
            status = job.known.get('status', '')
        # A schedule stands with the errors of its runs, and stays.
        goes = (status == self._status
                and self._keeps.get(job.task) == self._age
                and not self._holds_block(job) and not self._is_awaited(job))
        if goes and number is not None:
            gone.add(number, job, self._status == ERROR)
        return goes
