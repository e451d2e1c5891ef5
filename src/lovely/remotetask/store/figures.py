"""Figures of what has ended, for charts: read from the histories of slots.

What is not stored there yet is read from the logs, so that the last jobs of an
idle thread show at once.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from itertools import takewhile
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from ZODB.POSException import POSKeyError

from lovely.remotetask.edge.clock import first_key
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.store.history import HOURS_KEPT
from lovely.remotetask.store.history import Hour
from lovely.remotetask.store.history import Sums
from lovely.remotetask.store.history import add_tasks
from lovely.remotetask.store.history import sums_of
from lovely.remotetask.store.history import total_of
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.order import waited_ms
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import load
from lovely.remotetask.store.records import look
from lovely.remotetask.store.uncounted import uncounted

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue

# At how many of the latest entries of the logs it looks, all slots together
# and in each at least; and how many of the jobs are loaded for their times.
_LOOKS = 1000
_LEAST_LOOKS = 64
_COMPLETED_LOADED = 200
_FAILED_LOADED = 50

# Up to so many hours, minutes are shown.
_HOURS_OF_MINUTES = 24


def rows(queue: JobQueue, now: float, hours: Any, task: Any
         ) -> list[dict[str, Any]]:
    """See ITaskService.history"""
    _check(hours)
    if task is not None and not isinstance(task, str):
        raise UsageError(f'task is {shown(task)}; give the name of a task, or '
                         f'None for all')
    size = (60 if task is None and hours <= _HOURS_OF_MINUTES else 3600)
    found: dict[int, Sums] = {}
    for moment, name, sums in _all(queue, now, hours, size, task is not None):
        if task is None or name == task:
            before = found.get(moment)
            found[moment] = sums if before is None else before.plus(sums)
    return [{'start': iso(moment * size), 'seconds': size,
             **_row(found[moment])} for moment in sorted(found)]


def by_task(queue: JobQueue, now: float, hours: Any
            ) -> dict[str, dict[str, Any]]:
    """See ITaskService.historyOfTasks"""
    _check(hours)
    found: defaultdict[str, list[Sums]] = defaultdict(list)
    for _, name, sums in _all(queue, now, hours, 3600, True):
        found[name].append(sums)
    return {name: _row(total_of(found[name])) for name in sorted(found)}


def ever(queue: JobQueue) -> dict[str, Sums]:
    """What has ever ended in workers: name of the task -> Sums.

    Not in direct processing, which keeps no history.  Of more than TASKS
    tasks, the rest are OTHER.
    """
    found: dict[str, Sums] = {}
    queue.load_slots()
    kept = [slot.history for slot in queue.slots.values()
            if slot.history is not None]
    prefetch(kept)
    for history in kept:
        with suppress(POSKeyError):
            add_tasks(found, history.ever())
    for _, name, sums in _tails(queue, 0.0, [
            number for number, slot in queue.slots.items()
            if slot.history is not None]):
        add_tasks(found, {name: sums})
    return found


def _check(hours: Any) -> None:
    if type(hours) is not int or not 1 <= hours <= HOURS_KEPT:
        raise UsageError(f'hours is {shown(hours)}; give a whole number from '
                         f'1 to {HOURS_KEPT}')


def _row(sums: Sums) -> dict[str, Any]:
    return {'done': sums.done, 'failed': sums.failed, 'runMs': sums.run,
            'waitMs': sums.wait, 'longestMs': sums.longest,
            'p50Ms': sums.quantile(0.5), 'p95Ms': sums.quantile(0.95)}


def _all(queue: JobQueue, now: float, hours: int, size: int, tasks: bool
         ) -> Iterator[tuple[int, str, Sums]]:
    """What has ended: (minute or hour since 1970, name of the task, Sums).

    Arguments: ``size``, 60 or 3600: seconds of a row; ``tasks``: by their
    names; without it, stored sums have none.
    """
    first = int(now) // size - hours * 3600 // size + 1
    stored = [(number, hour) for slot in queue.slots.values()
              for number, hour in _hours_of(slot, first * size // 3600)]
    # In one round trip to a server.
    prefetch([hour for _, hour in stored if hour._p_changed is None])
    for number, hour in stored:
        try:
            found = ([(number, name, sums)
                      for name, sums in hour.by_task().items()] if tasks
                     else [(number, '', hour.sums())] if size == 3600
                     else [(number * 60 + minute, '', sums)
                           for minute, sums in hour.by_minute().items()])
        except POSKeyError:
            continue            # the record of an hour is lost
        yield from (one for one in found if one[0] >= first)
    for minute, name, sums in _tails(queue, first * size, queue.slots):
        yield minute * 60 // size, name, sums


def _hours_of(slot: Any, first: int) -> list[tuple[int, Hour]]:
    try:
        return ([] if slot.history is None
                else list(slot.history.hours.items(first)))
    except POSKeyError:
        return []


class _Tail(NamedTuple):
    """What has ended in a slot and is not stored in its history yet.

    Attributes: ``since``, seconds since 1970; ``completed``, ``failed``, ids
    of jobs, the latest first; ``factor``, for how many runs one of these
    stands, where more have ended.
    """

    since: float
    completed: list[int]
    failed: list[int]
    factor: float


def _tails(queue: JobQueue, since: float, slots: Iterable[int]
           ) -> Iterator[tuple[int, str, Sums]]:
    """What has ended and is not stored in the histories yet.

    Arguments: ``since``, seconds since 1970; ``slots``, their numbers.
    Returns: (minute, name of the task, Sums).  Where more have ended than are
    loaded, each of these stands for some.
    """
    queue.load_slots()
    slots = list(slots)
    tails = [_tail(queue, number, since) for number in slots]
    for number, tail in zip(slots, tails, strict=True):
        if tail.factor == 1:        # else it stands for these, too
            yield from uncounted(queue, number, tail.since)
    samples = []
    for failed, most in ((False, _COMPLETED_LOADED), (True, _FAILED_LOADED)):
        parts = [(one, one.failed if failed else one.completed)
                 for one in tails]
        step = -(-sum(len(ids) for _, ids in parts) // most) or 1
        # As far apart as they lie in each log.
        samples += [(one, ids[::step], len(ids), failed)
                    for one, ids in parts if ids]
    load(queue.jobs, [jobid for _, ids, _, _ in samples for jobid in ids])
    for one, ids, count, failed in samples:
        weight = one.factor * count / len(ids)
        for (minute, name), sums in _sums(
                queue, ids, one.since, failed).items():
            yield minute, name, sums if weight == 1 else sums.times(weight)


def _tail(queue: JobQueue, number: int, since: float) -> _Tail:
    slot, counted = queue.slots[number], None
    looks = _LOOKS
    try:
        if slot.history is not None and slot.history.folds:
            since = max(since, slot.history.until)
            counted = slot.history.counted
            looks = max(_LEAST_LOOKS, _LOOKS // len(queue.slots))
    except POSKeyError:
        pass
    entries = heapq.merge(
        ((moment, jobid, False) for moment, jobid in chain(
            reversed(queue.unlogged(number)), slot.completed.down())),
        ((moment, jobid, True) for moment, jobid in slot.error.down()),
        reverse=True)
    first = first_key(since)
    taken = [one for one, _ in zip(
        takewhile(lambda entry: entry[0] >= first, entries), range(looks),
        strict=False)]
    more = (queue.total_ended(number) - counted
            if counted is not None and len(taken) == looks else 0)
    return _Tail(
        since, [jobid for _, jobid, failed in taken if not failed],
        [jobid for _, jobid, failed in taken if failed],
        max(1, more / looks))


def _sums(queue: JobQueue, ids: list[int], since: float, failed: bool
          ) -> dict[tuple[int, str], Sums]:
    """The sums of some jobs: (minute, name of the task) -> Sums."""
    parts: defaultdict[tuple[int, str], list[Any]] = defaultdict(list)
    for jobid in ids:
        job = look(queue.jobs, jobid)
        if job is None or isinstance(job, UnreadableJob):
            continue
        ended = job.__dict__.get('completedAt')
        # Noted at a later moment, where the clock has gone back.
        if ended is None or ended < since:
            continue
        start = job.__dict__.get('startedAt')
        parts[int(ended) // 60, job.task].append((
            0.0 if start is None else max(0.0, ended - start),
            job.ready_key, start))
    found: dict[tuple[int, str], Sums] = {}
    for place, ends in parts.items():
        seconds, keys, starts = zip(*ends, strict=True)
        found[place] = sums_of(list(seconds), waited_ms(keys, starts),
                               len(ends) if failed else 0)
    return found
