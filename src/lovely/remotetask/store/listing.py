"""Pages of jobs, merged from the heads of the lanes; never the whole tree."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from typing import Any

from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.interfaces import STATUSES
from lovely.remotetask.store.keys import ready_time

# How many entries one page of a listing looks at when it filters by task.
_PAGE_LOOKS = 1000

# How many of its latest entries each log is asked for when rates are told.
_RATE_LOOKS = 32

#: status -> the lanes such jobs stand in, in the order they are listed.
_LANES = {
    PROCESSING: ('running',),
    QUEUED: ('ready', 'waiting'),
    DELAYED: ('due',),
    CRONJOB: ('due',),
    STARTLATER: ('later',),
    ERROR: ('error',),
    COMPLETED: ('completed',),
    CANCELLED: ('cancelled',),
}
# All of them: what moves first, what is over last.
_ALL = ('running', 'ready', 'waiting', 'due', 'later', 'error', 'completed',
        'cancelled')


def page(queue: Any, status: str | None, task: str | None, start: str | None,
         limit: int) -> tuple[list[Any], str | None]:
    """See ITaskService.listJobs"""
    if status is not None and status not in STATUSES:
        raise ValueError(f'unknown status {status!r}; one of '
                         f'{", ".join(map(repr, STATUSES))}')
    if not 1 <= limit <= 1000:
        raise ValueError(f'limit is {limit!r}; from 1 to 1000')
    names = _ALL if status is None else _LANES[status]
    found: list[Any] = []
    looks = 0
    for name, key, jobid in _entries(queue, names, start):
        # The cursor is the first entry of the next page, so that a page
        # does not depend on the entry before it still being there.
        if len(found) == limit or looks == _PAGE_LOOKS:
            return found, f'{name}.{key}'
        looks += 1
        job = queue.jobs.get(jobid)
        if (job is not None and (status is None or job.status == status)
                and (task is None or job.task == task)
                and not _elsewhere(job, name, key)):
            found.append(job)
    return found, None


def _elsewhere(job: Any, name: str, key: int) -> bool:
    """Does this job stand in another lane, too, and is listed there?

    A recurring job is noted in ``due`` while it is queued or runs; a claimed
    one may not have been removed from ``ready`` yet.
    """
    return ((name == 'due' and job.status not in (DELAYED, CRONJOB))
            or (name == 'ready' and job.position != (name, key)))


def _entries(queue: Any, names: tuple[str, ...],
             start: str | None) -> Iterator[tuple[str, int, int]]:
    key: int | None = None
    if start is not None:
        name, _, number = start.partition('.')
        try:
            key = int(number)
            names = names[names.index(name):]
        except ValueError:
            raise ValueError(
                f'{start!r} is no cursor of this listing; use the one that '
                f'came with the page before') from None
    for name in names:
        if name == 'running':
            ids = sorted(queue.running(), reverse=True)
            entries: Any = ((i, i) for i in ids if key is None or i <= key)
        elif name in ('due', 'waiting'):
            # Scheduled: the next run first.
            lanes = getattr(queue, name)
            _fetch(queue, lanes.trees)
            entries = lanes.up() if key is None else lanes.up(key)
        elif name in ('completed', 'error'):
            entries = heapq.merge(*(getattr(slot, name).down(key)
                                    for slot in queue.slots.values()),
                                  reverse=True)
        else:
            lanes = getattr(queue, name)
            _fetch(queue, lanes.trees)
            entries = lanes.down(key)
        for at, jobid in entries:
            yield name, at, jobid
        key = None


def stats(queue: Any, now: float) -> dict[str, Any]:
    """See ITaskService.stats"""
    parts = list(queue.ready.trees)
    for lanes in (queue.ready, queue.waiting, queue.due, queue.later,
                  queue.cancelled):
        parts += lanes.lengths
    _fetch(queue, parts)
    counts = queue.counts()
    oldest = _oldest(queue)
    return {
        QUEUED: counts['ready'] + counts['waiting'],
        PROCESSING: sum(1 for _ in queue.running()),
        'scheduled': counts['due'],
        STARTLATER: counts['later'],
        COMPLETED: counts['completed'],
        ERROR: counts['error'],
        CANCELLED: counts['cancelled'],
        'oldest': None if oldest is None else max(0.0, now - oldest),
        'completedPerMinute': _rate(queue, 'completed', now),
        'errorPerMinute': _rate(queue, 'error', now),
        'workers': len(queue.workers),
        'paused': queue.paused,
    }


def _oldest(queue: Any) -> float | None:
    """Since when the first of the ready jobs has been waiting."""
    trees = queue.ready.trees
    heads = [(ready_time(key), lane, key) for lane, key in queue.ready.heads()]
    heapq.heapify(heads)
    while heads:
        moment, lane, key = heads[0]
        if queue.is_here(key, trees[lane][key]):
            return moment
        for following in trees[lane].keys(key + 1):
            heapq.heapreplace(
                heads, (ready_time(following), lane, following))
            break
        else:
            heapq.heappop(heads)
    return None


def _fetch(queue: Any, parts: Iterable[Any]) -> None:
    """Load objects in one round trip to a server, not in one for each."""
    # Only ghosts have no answer to this.
    cold = [part for part in parts if part._p_changed is None]
    if cold:
        queue._p_jar.prefetch(cold)


def _rate(queue: Any, name: str, now: float) -> float:
    """How many jobs ended per minute lately, from the logs' last entries.

    Of a slot that ended more in the last minute than are looked at, the rate
    is that of those.
    """
    total = 0.0
    for slot in queue.slots.values():
        moments = [key_time(key) for key, _ in islice(
            getattr(slot, name).down(), _RATE_LOOKS)]
        recent = [moment for moment in moments if moment > now - 60]
        if len(recent) == _RATE_LOOKS:
            total += 60 * len(recent) / max(now - recent[-1], 0.001)
        else:
            total += len(recent)
    return round(total, 1)


def workers(queue: Any) -> list[dict[str, Any]]:
    """See ITaskService.listWorkers"""
    return [{'id': worker,
             'evidence': [str(part[0]) for part in record.evidence],
             'claims': queue.claims_of(worker),
             'slots': [number for number, slot in queue.slots.items()
                       if slot.owner == worker]}
            for worker, record in queue.workers.items()]


class QueueView:
    """The queue as 0.5.2 showed it: a sequence of the jobs that wait.

    Its ends are found without loading what lies between; ``view[-1]`` is the
    job that was added last.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __len__(self) -> int:
        counts = self._queue.counts()
        return counts['waiting'] + counts['ready']

    def __bool__(self) -> bool:
        return self._queue.has_ready() or bool(self._queue.waiting)

    def _jobs(self, backwards: bool) -> Iterator[Any]:
        jobs = self._queue.jobs
        parts = [self._queue.waiting, self._queue.ready]
        for lanes in reversed(parts) if backwards else parts:
            for key, jobid in lanes.down() if backwards else lanes.up():
                # Not what was claimed and is not removed yet.
                if jobid in jobs and (lanes is not self._queue.ready
                                      or self._queue.is_here(key, jobid)):
                    yield jobs[jobid]

    def __iter__(self) -> Iterator[Any]:
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
