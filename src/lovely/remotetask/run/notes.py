"""Notes: how the runs of a worker ended, in memory until its slots store them.

::

    a run is committed  ->  note: a tuple in a list           each run
    claim, chain        ->  gather: sums by minute and task   20 times a second
                        ->  fold: into the slot's History     once a minute
    leave               ->  fold: the open minute, too

A fold is part of a commit that happens anyway.  Whether that got through is
seen at the next fold, by the number of folds that the record has then.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from typing import NamedTuple
from typing import TypeAlias

from ZODB.POSException import POSKeyError

from lovely.remotetask.store.history import Minutes
from lovely.remotetask.store.history import Sums
from lovely.remotetask.store.history import add_to
from lovely.remotetask.store.history import sums_of
from lovely.remotetask.store.order import waited_ms

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

# A slot's closed minutes are stored once so many jobs have ended in them, or
# after so long (seconds).
_FOLD_JOBS = 64
_FOLD_SECONDS = 600.0

# What ends at the moment of a fold is in it; what ends this much later
# (seconds) is not.
_TICK = 1e-6

#: The end of a run: name of the task, how long it took (seconds), its key
#: among the ready ones, when it started and ended (seconds since 1970), and
#: whether it has failed.
Note: TypeAlias = tuple[
    str, float, 'int | None', 'float | None', float, bool]


def note_of(job: Job, seconds: float, now: float,
            failed: bool = False) -> Note:
    """The note of a run that is about to be committed."""
    # Not job.startedAt: that makes a datetime, for each run.
    return (job.task, seconds, job.ready_key, job.__dict__.get('startedAt'),
            now, failed)


class _Pending(NamedTuple):
    """A fold that may be committed or not."""

    folds: int
    minutes: Minutes


class Notes:
    """The notes of the slots of one worker.

    Attributes: ``ended``, slot -> notes; to append to one is all that a run
    does.
    """

    def __init__(self) -> None:
        self.ended: defaultdict[int, list[Note]] = defaultdict(list)
        self._minutes: defaultdict[int, Minutes] = defaultdict(dict)
        self._pending: dict[int, _Pending] = {}
        # When a slot's oldest sums came in (seconds since 1970).
        self._since: dict[int, float] = {}

    def forget(self) -> None:
        """The worker has other slots from now on."""
        for part in (self.ended, self._minutes, self._pending, self._since):
            part.clear()

    def fold(self, queue: JobQueue, slot: int, now: float,
             leaves: bool = False) -> None:
        """Store a slot's closed minutes, if it is time.

        Arguments: ``leaves``: the worker does: also the open minute.
        Txn: in that of the caller, who commits anyway; once the slot is known
        to be the worker's.
        """
        minutes = self._minutes[slot]
        self._gather(slot)
        if not minutes and slot not in self._pending:
            return
        closed = int(now) // 60
        if not leaves and not self._is_due(slot, closed, now):
            return
        history = queue.history_of(slot)
        pending = self._pending.pop(slot, None)
        if pending is not None and history.folds != pending.folds:
            _merge(minutes, pending.minutes)
        found = {minute: minutes.pop(minute) for minute in list(minutes)
                 if leaves or minute < closed}
        if not found:
            return
        until = now + _TICK if leaves else closed * 60.0
        counted = queue.total_ended(slot) - _jobs(minutes)
        try:
            history.fold(found, until, counted)
        except POSKeyError:
            # A record of it is lost: no run may fail for its statistics.
            history = queue.new_history(slot)
            history.fold(found, until, counted)
        self._pending[slot] = _Pending(history.folds, found)
        self._since[slot] = now

    def _is_due(self, slot: int, closed: int, now: float) -> bool:
        found = {minute: tasks for minute, tasks in self._minutes[slot].items()
                 if minute < closed}
        return bool(found) and (
            _jobs(found) >= _FOLD_JOBS
            # The clock may have gone back.
            or not 0 <= now - self._since[slot] < _FOLD_SECONDS)

    def _gather(self, slot: int) -> None:
        """Make sums of a slot's notes.

        Cost: hardly any for each note, where all are of a task and a minute.
        """
        notes = self.ended[slot]
        if not notes:
            return
        # The slot's thread may append meanwhile.
        taken = notes[:]
        del notes[:len(taken)]
        minutes = self._minutes[slot]
        if not minutes:
            self._since[slot] = taken[0][4]
        names, _, _, _, ends, _ = zip(*taken, strict=True)
        first, last = int(min(ends)) // 60, int(max(ends)) // 60
        if first == last and len(set(names)) == 1:
            _merge(minutes, {first: {names[0]: _sums(taken)}})
            return
        parts: defaultdict[tuple[int, str], list[Note]] = defaultdict(list)
        for note in taken:
            parts[int(note[4]) // 60, note[0]].append(note)
        for (minute, name), part in parts.items():
            _merge(minutes, {minute: {name: _sums(part)}})


def _sums(notes: list[Note]) -> Sums:
    _, seconds, keys, starts, _, failed = zip(*notes, strict=True)
    return sums_of(list(seconds), waited_ms(keys, starts), sum(failed))


def _merge(minutes: Minutes, more: Minutes) -> None:
    for minute, tasks in more.items():
        found = minutes.setdefault(minute, {})
        for name, sums in tasks.items():
            add_to(found, name, sums)


def _jobs(minutes: Minutes) -> int:
    return sum(sums.done + sums.failed for tasks in minutes.values()
               for sums in tasks.values())
