"""Counts: how many jobs wait, run or have ended, and how many end a minute.

Counted by the counters of lanes and logs: no lane is read from end to end.
"""

from __future__ import annotations

from itertools import chain
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.edge.clock import last_key
from lovely.remotetask.fields.limits import DEFAULT_QUEUE
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import SCHEDULED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.order import ready_time
from lovely.remotetask.store.pauses import Pause
from lovely.remotetask.store.records import load
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue

# How many of the latest entries of each log a rate is computed from.
_RATE_LOOKS = 32


def counted(queue: JobQueue) -> dict[str, int]:
    """See JobQueue.counts"""
    found = {name: len(getattr(queue, name)) for name in (
        'suspects', 'barred', 'waiting', 'missing', 'due', 'later',
        'cancelled')}
    found['ready'] = sum(ready.count() for ready in queue.all_ready())
    for name in LOGS:
        found[name] = queue.count_ended(name)
    return found


def by_status(queue: JobQueue) -> dict[str, int]:
    """How many jobs have each status; delayed jobs and schedules together.

    Cost: O(lanes + slots); in some round trips to a server.
    """
    lanes = (queue.suspects, queue.barred, queue.waiting, queue.missing,
             queue.due, queue.later, queue.cancelled)
    prefetch([length for ready in queue.all_ready()
              for length in ready.lengths])
    prefetch([length for one in lanes for length in one.lengths])
    queue.load_slots()
    load(queue.jobs, [jobid for slot in queue.slots.values()
                      for _, jobid in slot.claims.page()])
    number = counted(queue)
    return {
        QUEUED: (number['ready'] + number['suspects'] + number['barred']
                 + number['waiting'] + number['missing']),
        PROCESSING: sum(1 for _ in queue.running()),
        SCHEDULED: number['due'],
        STARTLATER: number['later'],
        COMPLETED: number['completed'],
        ERROR: number['error'],
        CANCELLED: number['cancelled'],
    }


def stats(queue: JobQueue, now: float) -> dict[str, Any]:
    """See ITaskService.stats"""
    number = by_status(queue)
    prefetch([tree for lanes in (queue.suspects, queue.waiting, queue.missing,
                                 queue.due) for tree in lanes.trees])
    oldest = min((moment for ready in queue.all_ready()
                  if (moment := ready.oldest()) is not None), default=None)
    suspect = queue.suspects.first()
    if suspect is not None:
        moment = ready_time(suspect[0])
        oldest = moment if oldest is None else min(oldest, moment)
    # Jobs whose time has come wait as well, until a claim makes them ready,
    # and so do those that no worker can run.
    for lanes in (queue.waiting, queue.due, queue.missing):
        due = lanes.first(last_key(now))
        if due is not None:
            moment = key_time(due[0])
            oldest = moment if oldest is None else min(oldest, moment)
    return {
        **number,
        'oldest': None if oldest is None else max(0.0, now - oldest),
        'completedPerMinute': _rate(queue, 'completed', now),
        'errorPerMinute': _rate(queue, 'error', now),
        **totals(queue),
        'workers': len(queue.workers),
        **_pausing(queue, now),
        'reruns': queue.reruns(),
    }


def schedule_lag(queue: JobQueue, now: float) -> float:
    """For how long (seconds) the earliest run that is due has waited for a
    worker that makes it ready; 0: none is due.
    """
    due = queue.due.first(last_key(now))
    return 0.0 if due is None else max(0.0, now - key_time(due[0]))


def totals(queue: JobQueue) -> dict[str, int]:
    """How many runs have ended so, ever: these never fall."""
    return {f'{name}Total': sum(queue.total(number, name)
                                for number in queue.slots) for name in LOGS}


def queues(queue: JobQueue, now: float) -> list[dict[str, Any]]:
    """See ITaskService.listQueues"""
    return [{'name': ready.queue or DEFAULT_QUEUE, 'ready': ready.count(),
             **_told(ready.pause(now))} for ready in queue.all_ready()]


def _pausing(queue: JobQueue, now: float) -> dict[str, Any]:
    return _told(queue.pause_now(now))


def _told(pause: Pause | None) -> dict[str, Any]:
    by, since, why, until = pause or Pause()
    return {'paused': pause is not None, 'pausedBy': by,
            'pausedAt': iso(since), 'pauseReason': why, 'resumeAt': iso(until)}


def _rate(queue: JobQueue, name: str, now: float) -> float:
    """How many jobs ended per minute lately, from the logs' last entries.

    Where a slot has ended more in the last minute than are looked at, its rate
    is computed from those.
    """
    total = 0.0
    for number, slot in queue.slots.items():
        entries = getattr(slot, name).down()
        if name == COMPLETED:
            entries = chain(reversed(queue.unlogged(number)), entries)
        moments = [_ended_at(queue, key, jobid, now)
                   for key, jobid in islice(entries, _RATE_LOOKS)]
        recent = [moment for moment in moments if abs(now - moment) < 60]
        if len(recent) == _RATE_LOOKS:
            total += 60 * len(recent) / max(now - recent[-1], 0.001)
        else:
            total += len(recent)
    return round(total, 1)


def _ended_at(queue: JobQueue, key: int, jobid: int, now: float) -> float:
    """When (seconds since 1970) the job of a log's entry ended."""
    moment = key_time(key)
    if moment < now + 60:
        return moment
    # Noted behind one that ended by a clock that was ahead: see next_moment.
    job = look(queue.jobs, jobid)
    ended = None if job is None else job.completedAt
    return moment if ended is None else ended.timestamp()
