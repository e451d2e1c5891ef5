"""Retention: how long jobs that are over are kept.

::

    bounds of a status    7 days, or the 100,000 newest      settable
    keep of a task        an age of its own, in their place  declared by code

Workers remove the others by themselves: see pruning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import astuple
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from persistent.mapping import PersistentMapping

from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import LONGEST
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue

DAY = 86_400.0

#: The largest number of jobs that a bound can name.
MOST_JOBS = 10**12


@dataclass(frozen=True)
class Bounds:
    """How long jobs of a status are kept: until either bound is passed.

    Attributes: ``days`` (number) since their end, None: any number of them;
    ``count`` (int), of the newest, None: any number of them.
    """

    days: float | None
    count: int | None


#: What holds for a service that nobody has told otherwise.
DEFAULTS = {
    COMPLETED: Bounds(7, 100_000),
    ERROR: Bounds(90, 10_000),
    CANCELLED: Bounds(90, 10_000),
}


# --- what holds --------------------------------------------------------------

def bounds_of(queue: JobQueue) -> dict[str, Bounds]:
    """The bounds of each final status."""
    return {status: Bounds(*(queue.retention or {}).get(
        status, astuple(default))) for status, default in DEFAULTS.items()}


def told(queue: JobQueue) -> dict[str, dict[str, Any]]:
    """See ITaskService.getRetention"""
    return {status: asdict(bounds)
            for status, bounds in bounds_of(queue).items()}


def text_of(bounds: Bounds) -> str:
    """Bounds as people read them."""
    days, count = bounds.days, bounds.count
    parts = [] if days is None else [f'for {days:g} days']
    parts += [] if count is None else [f'the newest {count}']
    return ', and of those at most '.join(parts) if parts else 'for ever'


def change(queue: JobQueue, status: Any, changes: dict[str, Any]) -> None:
    """See ITaskService.setRetention"""
    if status not in FINAL:
        raise UsageError(f'status is {shown(status)}; jobs are removed that '
                         f'are over: give {", ".join(DEFAULTS)}')
    unknown = sorted(changes.keys() - {'days', 'count'})
    if unknown:
        raise UsageError(f'{unknown[0]!r:.80} is no bound of a retention; '
                         f'there are days and count')
    days, count = changes.get('days'), changes.get('count')
    if days is not None and not (
            is_seconds(days) and 0 < days <= LONGEST / DAY):
        raise UsageError(f'days is {shown(days)}; give a number greater than '
                         f'0, at most {LONGEST / DAY:.0f}, or None to keep '
                         f'jobs of any age')
    if count is not None and not (
            type(count) is int and 1 <= count <= MOST_JOBS):
        raise UsageError(f'count is {shown(count)}; give a whole number from '
                         f'1 on, or None to keep any number of jobs')
    before = bounds_of(queue)
    after = before | {status: replace(before[status], **changes)}
    if after != before or queue.retention is None:
        # As plain tuples: a record must not need our classes.
        queue.retention = {one: (bounds.days, bounds.count)
                           for one, bounds in after.items()}


def keeps_of(queue: JobQueue) -> dict[str, float]:
    """How long jobs of some tasks are kept: name -> seconds.

    A worker notes it when it starts.  What was declared of a task that no
    worker has any more holds for its jobs further on: the worker that removes
    them may be one that never had it.
    """
    found: dict[str, float] = (queue.declared or {}).get('keeps', {})
    return found


def note_keeps(queue: JobQueue, keeps: Mapping[str, float | None]) -> None:
    """Note how long jobs are kept, as the tasks of a worker declare it.

    Arguments: ``keeps``, name -> seconds; None: as the service keeps them.
    Txn: writes where it differs from what is noted.
    """
    before = keeps_of(queue)
    after = {name: seconds for name, seconds in {**before, **keeps}.items()
             if seconds is not None}
    if after != before:
        declared(queue)['keeps'] = after


def declared(queue: JobQueue) -> PersistentMapping[str, Any]:
    """What the code of the workers declares; a record of its own."""
    found: PersistentMapping[str, Any] | None = queue.declared
    if found is None:
        found = queue.declared = PersistentMapping()
    return found
