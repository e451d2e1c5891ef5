"""What was removed before the history of its slot had it.

A worker stores what has ended with commits that it makes anyway, and until
then charts and totals read the logs.  They must not lose what retention has
taken out of these meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from persistent.mapping import PersistentMapping
from ZODB.POSException import POSKeyError

from lovely.remotetask.store.history import Sums
from lovely.remotetask.store.history import sums_of
from lovely.remotetask.store.order import waited_ms
from lovely.remotetask.store.records import UnreadableJob

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

#: (minute since 1970, name of the task).
_Place = tuple[int, str]


class Uncounted:
    """The jobs that one transaction removes, and no history has yet."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._found: defaultdict[int, dict[_Place, Sums]] = defaultdict(dict)

    def add(self, number: int, job: Job, failed: bool) -> None:
        """Note a job of a slot's log that is about to be removed."""
        until = _until(self._queue, number)
        ended = job.__dict__.get('completedAt')
        if (until is None or isinstance(job, UnreadableJob)
                or ended is None or ended < until):
            return
        start = job.__dict__.get('startedAt')
        sums = sums_of(
            [0.0 if start is None else max(0.0, ended - start)],
            waited_ms([job.ready_key], [start]), int(failed))
        sums_of_slot, place = self._found[number], (int(ended) // 60, job.task)
        before = sums_of_slot.get(place)
        sums_of_slot[place] = sums if before is None else before.plus(sums)

    def note(self) -> None:
        """Store them, beside what was stored before."""
        for number, found in self._found.items():
            if self._queue.uncounted is None:
                self._queue.uncounted = PersistentMapping()
            kept = {(minute, name): sums for minute, name, sums in uncounted(
                self._queue, number, _until(self._queue, number) or 0.0)}
            for place, sums in found.items():
                before = kept.get(place)
                kept[place] = sums if before is None else before.plus(sums)
            # As plain tuples: a record must not need our classes.
            self._queue.uncounted[number] = {
                place: tuple(sums) for place, sums in kept.items()}


def uncounted(queue: JobQueue, number: int, since: float
              ) -> Iterator[tuple[int, str, Sums]]:
    """What was removed of a slot: (minute, name of the task, Sums).

    Arguments: ``since`` (seconds since 1970), up to when its history goes.
    """
    for (minute, name), sums in (queue.uncounted or {}).get(
            number, {}).items():
        if minute * 60 >= since:
            yield minute, name, Sums(*sums)


def _until(queue: JobQueue, number: int) -> float | None:
    """Up to when a slot's history goes; None: it has none."""
    with suppress(POSKeyError):
        history = queue.slots[number].history
        if history is not None:
            return float(history.until) if history.folds else 0.0
    return None
