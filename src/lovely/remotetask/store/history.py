"""History: how many jobs have ended in each minute and hour, and how quickly.

::

    memory of the worker      record of an hour            of an older hour
    task, seconds, wait  -->  60 minutes, 32 tasks    -->  its sums, 32 tasks
      of each run       fold  (Hour)              a day later  30 days long

Each slot has a History of its own, which its worker alone writes, within a
commit that happens anyway: it costs no commit and meets nobody.  What a killed
worker had in memory is lost: these are statistics, and no job is.
Direct processing keeps none.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from BTrees.LOBTree import LOBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

#: Where the bins of run times end (milliseconds); the last one has no end.
EDGES = (5, 20, 100, 500, 2_000, 10_000, 60_000)

#: Of how many tasks an hour has sums of their own, and the name of the rest.
TASKS = 32
OTHER = 'other'

# For how many hours minutes are kept, and hours.
_MINUTES_KEPT = 24
HOURS_KEPT = 30 * 24

# How many old hours one fold takes care of: it is part of another commit.
_OLD = 48

# done, failed, run, wait, longest, bins: see Sums.
_MINUTE = struct.Struct('<BIIIQI8H')
_HOUR = struct.Struct('<IIQQI8I')
_EVER = struct.Struct('<QQQQQ8Q')
_MINUTE_MOST = (2**32 - 1,) * 3 + (2**64 - 1, 2**32 - 1) + (2**16 - 1,) * 8
_HOUR_MOST = (2**32 - 1,) * 2 + (2**64 - 1,) * 2 + (2**32 - 1,) * 9


class Sums(NamedTuple):
    """What has ended: how many jobs, and their times in milliseconds.

    ``run``, the sum of the run times; ``wait``, that of the times from ready
    to start; ``longest``, the longest run; ``bins``, how many runs took as
    long as the EDGES say.  Numbers too large for a record stay at its most.
    """

    done: int = 0
    failed: int = 0
    run: int = 0
    wait: int = 0
    longest: int = 0
    bins: tuple[int, ...] = (0,) * 8

    def plus(self, other: Sums) -> Sums:
        return Sums(
            self.done + other.done, self.failed + other.failed,
            self.run + other.run, self.wait + other.wait,
            max(self.longest, other.longest), tuple(
                map(int.__add__, self.bins, other.bins)))

    def times(self, factor: float) -> Sums:
        """As if so many times as many jobs had ended."""
        return Sums(
            round(self.done * factor), round(self.failed * factor),
            round(self.run * factor), round(self.wait * factor),
            self.longest, tuple(round(one * factor) for one in self.bins))

    def quantile(self, part: float) -> int | None:
        """About how long (ms) this part of the runs took at most.

        Interpolated within a bin; None: there are none.
        """
        left = part * sum(self.bins)
        if not left:
            return None
        for number, (first, end) in enumerate(
                zip((0, *EDGES), (*EDGES, self.longest), strict=True)):
            inside = self.bins[number]
            if inside and left <= inside:
                return min(self.longest, round(
                    first + (max(end, first) - first) * left / inside))
            left -= inside
        return self.longest


def sums_of(seconds: list[float], wait: int, failed: int) -> Sums:
    """The sums of some runs.

    Arguments: ``seconds``, how long each took; sorted here; ``wait``, the sum
    of their waits (ms); ``failed``, how many of them have failed.
    Cost: without a step of ours for each run.
    """
    seconds.sort()
    below = [bisect_right(seconds, edge / 1000) for edge in EDGES]
    return Sums(
        len(seconds) - failed, failed, round(sum(seconds) * 1000), wait,
        round(seconds[-1] * 1000), tuple(map(
            int.__sub__, (*below, len(seconds)), (0, *below))))


#: Minute (since 1970) -> name of a task -> Sums.
Minutes = dict[int, dict[str, Sums]]


def add_to(found: dict[str, Sums], name: str, sums: Sums) -> None:
    """Add sums to those that a mapping has under this name."""
    before = found.get(name)
    found[name] = sums if before is None else before.plus(sums)


class Hour(Persistent):
    """The jobs of a slot that ended within an hour.

    Attributes: ``minutes`` (bytes), those of the hour, as long as they are
    kept; ``whole`` (bytes), the sums of what they no longer hold; ``tasks``,
    name -> bytes, the sums of each task.
    """

    def __init__(self) -> None:
        self.minutes = self.whole = b''
        self.tasks: dict[str, bytes] = {}

    def by_minute(self) -> dict[int, Sums]:
        """The sums of its minutes, 0 to 59."""
        return {minute: Sums(done, failed, run, wait, longest, tuple(bins))
                for minute, done, failed, run, wait, longest, *bins
                in _MINUTE.iter_unpack(self.minutes)}

    def by_task(self) -> dict[str, Sums]:
        return {name: _unpack(packed) for name, packed in self.tasks.items()}

    def sums(self) -> Sums:
        """The sums of the hour."""
        found = _unpack(self.whole) if self.whole else Sums()
        for one in self.by_minute().values():
            found = found.plus(one)
        return found

    def add(self, minutes: Mapping[int, Mapping[str, Sums]]) -> None:
        """Add jobs that ended: minute of the hour -> task -> Sums."""
        kept, tasks = self.by_minute(), self.by_task()
        for minute, by_task in minutes.items():
            for sums in by_task.values():
                before = kept.get(minute)
                kept[minute] = sums if before is None else before.plus(sums)
            add_tasks(tasks, by_task)
        self.minutes = b''.join(
            _MINUTE.pack(minute, *_capped(kept[minute], _MINUTE_MOST))
            for minute in sorted(kept))
        self.tasks = {name: _pack(sums) for name, sums in tasks.items()}

    def collapse(self) -> None:
        """Keep the sums of the hour, without those of its minutes."""
        if self.minutes:
            self.whole, self.minutes = _pack(self.sums()), b''


def _capped(sums: Sums, most: tuple[int, ...]) -> Iterator[int]:
    return map(min, (*sums[:5], *sums.bins), most)


def _pack(sums: Sums) -> bytes:
    return _HOUR.pack(*_capped(sums, _HOUR_MOST))


def _unpack(packed: bytes) -> Sums:
    return _sums(_HOUR.unpack(packed))


def _sums(numbers: tuple[int, ...]) -> Sums:
    done, failed, run, wait, longest, *bins = numbers
    return Sums(done, failed, run, wait, longest, tuple(bins))


class Past(Persistent):
    """What has ever ended in a slot, in hours that are over.

    A record of its own, because it is written once an hour.
    Attributes: ``until``, the first hour (since 1970) that is not in here;
    ``tasks``, name -> bytes, the sums of each task.
    """

    def __init__(self) -> None:
        self.until = 0
        self.tasks: dict[str, bytes] = {}

    def by_task(self) -> dict[str, Sums]:
        return {name: _sums(_EVER.unpack(packed))
                for name, packed in self.tasks.items()}

    def add(self, parts: Iterable[Mapping[str, Sums]], until: int) -> None:
        """Add hours that are over, and what came late for earlier ones."""
        found = self.by_task()
        for part in parts:
            add_tasks(found, part)
        self.tasks = {name: _EVER.pack(*sums[:5], *sums.bins)
                      for name, sums in found.items()}
        self.until = until


def add_tasks(found: dict[str, Sums], more: Mapping[str, Sums]) -> None:
    """Add the sums of tasks; beyond TASKS names they are those of OTHER."""
    for name, sums in more.items():
        known = name in found or len(found) < TASKS - 1
        add_to(found, name if known else OTHER, sums)


class History(Persistent):
    """What has ended in a slot, hour by hour.

    Attributes: ``hours``, hour (since 1970) -> Hour; ``until``, seconds since
    1970: what ended before is in here; ``folds``, how often it was written, by
    which a worker sees that its last fold was committed; ``counted``, the
    slot's total at ``until``; ``past`` (Past), the hours that are over, all
    together.
    """

    def __init__(self) -> None:
        self.hours: LOBTree[Hour] = LOBTree()
        self.past = Past()
        self.until = 0.0
        self.folds = self.counted = 0

    def fold(self, minutes: Minutes, until: float, counted: int) -> None:
        """Add what has ended until then, and drop what is too old.

        Txn: writes this record and those of the hours; a lost one of an hour
        is begun anew.
        """
        by_hour: dict[int, dict[int, dict[str, Sums]]] = {}
        for minute, tasks in minutes.items():
            by_hour.setdefault(minute // 60, {})[minute % 60] = tasks
        for number, found in by_hour.items():
            try:
                hour = self.hours[number]
                hour.add(found)
            # Also one that is lost.
            except KeyError:
                hour = self.hours[number] = Hour()
                hour.add(found)
        newest = int(until) // 3600
        self._close(by_hour, newest)
        self._collapse(newest - _MINUTES_KEPT)
        for number in list(self.hours.keys(
                None, newest - HOURS_KEPT))[:_OLD]:
            del self.hours[number]
        self.until, self.counted = until, counted
        self.folds += 1

    def _close(self, by_hour: Mapping[int, Mapping[int, Mapping[str, Sums]]],
               newest: int) -> None:
        """Add the hours that are over to those before them."""
        past = self.past
        # The clock had gone back: their hours are in there already.
        parts: list[Mapping[str, Sums]] = [
            tasks for number, found in by_hour.items() if number < past.until
            for tasks in found.values()]
        if past.until < newest:
            parts += self.tasks_since(past.until, newest - 1)
        if parts or past.until < newest:
            past.add(parts, max(past.until, newest))

    def tasks_since(self, first: int, last: int | None = None
                    ) -> list[dict[str, Sums]]:
        """The sums of the tasks of each hour; without those of lost ones."""
        found = []
        for number in self.hours.keys(first, last):
            with suppress(POSKeyError):
                found.append(self.hours[number].by_task())
        return found

    def ever(self) -> dict[str, Sums]:
        """What has ever ended and is stored: name of the task -> Sums."""
        found = self.past.by_task()
        for part in self.tasks_since(self.past.until):
            add_tasks(found, part)
        return found

    def _collapse(self, last: int) -> None:
        # Those before have been collapsed by earlier folds.
        for number in list(self.hours.keys(last - _OLD, last)):
            try:
                self.hours[number].collapse()
            except KeyError:
                del self.hours[number]


def total_of(parts: Iterable[Sums]) -> Sums:
    """The sums of some sums."""
    found = Sums()
    for one in parts:
        found = found.plus(one)
    return found
