"""Pages of jobs, merged from the heads of the lanes; never the whole tree."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.errors.bounds import whole
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import SCHEDULED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.interfaces import STATUSES
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.store.lanes import LAST
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.records import load_ahead
from lovely.remotetask.store.records import look
from lovely.remotetask.store.selection import Selection
from lovely.remotetask.store.states import is_final

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

# At how many entries one page of a listing looks while it selects some.
_FILTER_LOOKS = 750

# At so many it looks however late it is: they come in one round trip.
_LEAST_LOOKS = 100

#: status -> the lanes in which such jobs stand, in the order of a listing.
_LANES = {
    PROCESSING: ('running',),
    QUEUED: ('suspects', 'ready', 'barred', 'waiting', 'missing'),
    DELAYED: ('due',),
    CRONJOB: ('due',),
    SCHEDULED: ('due',),
    STARTLATER: ('later',),
    ERROR: ('error',),
    COMPLETED: ('completed',),
    CANCELLED: ('cancelled',),
}
# Every lane in the order of a listing: running jobs first, ended ones last.
_ALL = ('running', 'suspects', 'ready', 'barred', 'waiting', 'missing', 'due',
        'later', 'error', 'completed', 'cancelled')


class Page(NamedTuple):
    """A page of a listing.

    Attributes: ``jobs``; ``next``, the cursor of the page behind it, None at
    the end; ``looked``, at how many jobs it has looked.
    """

    jobs: list[Job]
    next: str | None
    looked: int


def page(queue: JobQueue, status: str | None, selection: Selection,
         start: str | None, limit: int, seconds: float | None = None,
         monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic,
         runs: bool = False) -> Page:
    """See ITaskService.listJobs; only jobs of the selection.

    Arguments: ``seconds``, for how long it looks: after that, the page ends
    with what it has found; None: as long as it takes; ``runs``: of what is
    scheduled, schedules whose run waits or is under way, too.
    """
    if status is not None and status not in (*STATUSES, SCHEDULED):
        known = ', '.join(map(repr, (*STATUSES, SCHEDULED)))
        raise ValueError(f'unknown status {shown(status)}; one of {known}')
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise ValueError(f'limit is {shown(limit)}; give a whole number from '
                         f'1 to {MAX_PAGE}')
    names = tuple(
        place for name in (_ALL if status is None else _LANES[status])
        for place in ([ready.place for ready in queue.all_ready()]
                      if name == 'ready' else [name]))
    found: list[Job] = []
    looks = 0
    end = None if seconds is None else monotonic() + seconds
    # The first job of the next page is looked at, too.
    most, needed = ((MAX_PAGE, limit + 1) if selection == Selection()
                    else (_FILTER_LOOKS, _FILTER_LOOKS))
    for name, key, jobid in _entries(queue, names, start, needed):
        # The cursor is the first entry of the next page, so that a page
        # does not depend on the entry before it still being there.
        if len(found) == limit or looks == most or (
                looks >= _LEAST_LOOKS and end is not None
                and monotonic() >= end):
            return Page(found, f'{name}.{key}', looks)
        looks += 1
        job = look(queue.jobs, jobid)
        if job is None or job not in selection:
            continue
        under_way = runs and name == 'due' and not is_final(job.status)
        if under_way or _is_shown(job, status, name, key):
            found.append(job)
    return Page(found, None, looks)


def _split(start: Any) -> tuple[str, int]:
    """The name and the key of a cursor.  Raises: InvalidCursor."""
    if isinstance(start, str):
        name, _, text = start.partition('.')
        key = whole(text, SENT + 1, LAST)
        if key is not None:
            return name, key
    raise _no_cursor(start)


def _no_cursor(start: Any) -> InvalidCursor:
    return InvalidCursor(f'{shown(start)} is no cursor of this listing; use '
                         f'the one that came with the page before')


def _is_shown(job: Job, status: str | None, name: str, key: int) -> bool:
    """Is this job to be listed here, and not by another of its entries?

    A recurring job stands in ``due`` also while it is queued or runs, and
    after a run that has failed among the errors, too.
    """
    if job.status == UNKNOWN:
        return True
    if name == ERROR and job.status == CRONJOB:
        return (status == ERROR and job.position is not None
                and job.position[0] == ERROR and job.position[1][1] == key)
    if name == 'due' and job.status not in (DELAYED, CRONJOB):
        return False
    if status == SCHEDULED:
        return job.status in (DELAYED, CRONJOB)
    return status is None or job.status == status


def _entries(queue: JobQueue, names: tuple[str, ...], start: str | None,
             needed: int) -> Iterator[tuple[str, int, int]]:
    key: int | None = None
    if start is not None:
        name, key = _split(start)
        if name not in names:
            raise _no_cursor(start)
        names = names[names.index(name):]
    queue.load_slots()
    prefetch([tree for name in names if name not in ('running', *LOGS)
              for tree in queue.lanes(name).trees])
    for name in names:
        if name == 'running':
            ids = sorted(queue.running(), reverse=True)
            entries: Iterator[tuple[int, int]] = (
                (i, i) for i in ids if key is None or i <= key)
        elif name in ('due', 'waiting'):
            # Scheduled: the next run first.
            lanes = queue.lanes(name)
            entries = load_ahead(
                queue.jobs, lanes.up() if key is None else lanes.up(key),
                needed)
        elif name in LOGS:
            entries = load_ahead(queue.jobs, queue.ended(name, key), needed)
        elif name.startswith('ready'):
            entries = queue.lanes(name).shown(key, needed)
        else:
            entries = load_ahead(queue.jobs, getattr(queue, name).down(key),
                                 needed)
        for at, jobid in entries:
            yield name, at, jobid
        key = None


def _first(entry: tuple[int, Job]) -> int:
    return entry[0]


class QueueView:
    """The queue as 0.5.2 showed it: a sequence of the jobs that wait.

    Both ends are found without loading the jobs between them; ``view[-1]`` is
    the job that was added last.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def __len__(self) -> int:
        counts = self._queue.counts()
        return sum(counts[name] for name in (
            'waiting', 'missing', 'barred', 'suspects', 'ready'))

    def __bool__(self) -> bool:
        return (any(ready.any() for ready in self._queue.all_ready())
                or bool(self._queue.suspects)
                or bool(self._queue.barred) or bool(self._queue.waiting)
                or bool(self._queue.missing))

    def _jobs(self, backwards: bool) -> Iterator[Job]:
        queue = self._queue
        ready = heapq.merge(*(
            one.down() if backwards else one.up()
            for one in queue.all_ready()), key=_first, reverse=backwards)
        others = [lanes.down() if backwards else lanes.up()
                  for lanes in (queue.waiting, queue.missing, queue.barred,
                                queue.suspects)]
        parts = [*((look(queue.jobs, jobid) for _, jobid in entries)
                   for entries in others), (job for _, job in ready)]
        for part in reversed(parts) if backwards else parts:
            yield from (job for job in part if job is not None)

    def __iter__(self) -> Iterator[Job]:
        return self._jobs(backwards=False)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        backwards = index < 0
        steps = -index - 1 if backwards else index
        for number, job in enumerate(self._jobs(backwards)):
            if number == steps:
                return job
        raise IndexError(index)
