"""Services as 0.5.2 wrote them: how they are recognised, and moved over.

0.5.2 kept ``jobs``, a flat IOBTree, two queues, which were tuples of jobs,
and ``_scheduledJobs``, time -> jobs.  A migration fills a mapping of jobs and
a queue of ours beside them, a batch at a time, and switches over at its end:
until then all that 0.5.2 kept is where it was, and what is left to do is what
the new mapping lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

import BTrees
from ZODB.broken import Broken

from lovely.remotetask import payload
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.host.paths import parents
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.rule import check_delay
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.queue import JobQueue
from lovely.remotetask.store.records import why_unreadable
from lovely.remotetask.store.workers import DIRECT_SLOT

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

# What 0.5.2 has stored of a service's jobs.  In memory and in records that we
# write it stands in a dict of this name, so that no code takes it for ours.
_ASIDE = '_upstream'
_PARTS = ('jobs', '_queue', '_scheduledQueue', '_scheduledJobs')

#: What jobs are otherwise after a migration, and what is said of them.
NOTES = {
    'lost': 'queued, and in no queue: 0.5.2 had taken them and not ended them',
    'interrupted': 'were processing, and are queued again',
    'never': 'have a schedule that never occurs, and are errors now',
    'repeated': 'had a delay after each run, and run once more',
}

#: The count of jobs that were made and never added.
NEVER_ADDED = 'never added'

#: How many jobs are read before the connection's cache is told to shrink.
_READ_BATCH = 500


# --- recognised when it is opened --------------------------------------------

def set_aside(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a service, with what 0.5.2 stored of jobs put aside."""
    if '_queue' in state and 'jobqueue' not in state:
        state[_ASIDE] = {name: state.pop(name) for name in _PARTS
                         if name in state}
    return state


class OfMigrated:
    """An attribute that a service has once it is migrated.

    Until then NotMigrated tells the caller what to do.  No data descriptor:
    what an instance has goes before it, and costs nothing.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, service: Any, owner: type) -> Any:
        if service is None:
            return self
        old = _old(service)
        if old is None:
            raise AttributeError(self._name)
        names = [obj.__name__ for obj in parents(service)
                 if getattr(obj, '__name__', None)]
        path = show(reversed(names))
        begun = (', and its migration has not come to its end'
                 if 'new' in old else '')
        raise NotMigrated(
            f'the service {path} was written by lovely.remotetask 0.5.2'
            f'{begun}: stop what uses it, and run: remotetask migrate --db '
            f'URI --service {path}')


def is_old(service: TaskService) -> bool:
    """Is this a service of 0.5.2 that waits for its migration?"""
    return _old(service) is not None


def _old(service: TaskService) -> dict[str, Any] | None:
    # To ask for the __dict__ of a ghost does not load it.
    service._p_activate()
    return service.__dict__.get(_ASIDE)


def refuse_old(service: TaskService) -> None:
    """Raise NotMigrated for a service of 0.5.2, before it is started."""
    service.jobqueue    # noqa: B018


# --- what there is to do -----------------------------------------------------

class Move(NamedTuple):
    """A job that has to be moved.

    Attributes: ``added`` (float), when that was; ``due`` (float), when 0.5.2
    would have run it, where it had noted that; ``lost``: it is queued, and
    was in no queue.
    """

    jobid: int
    added: float = 0.0
    due: float | None = None
    lost: bool = False


class Plan:
    """What a migration has to do, and what will come of it.

    Attributes: ``moves`` (list of Move), in the order in which jobs have to
    be moved; ``before``, status -> how many jobs 0.5.2 had; ``unreadable``,
    reason -> ids of jobs that cannot be read; ``notes``, the ids of jobs by
    the names of NOTES.
    """

    def __init__(self) -> None:
        self.moves: list[Move] = []
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self.unreadable: dict[str, list[int]] = {}
        self.notes: dict[str, list[int]] = {name: [] for name in NOTES}

    def stored(self) -> dict[str, Any]:
        """What a migration that goes on can no longer see, as plain data."""
        return {'before': dict(self.before), **self.notes}

    def recall(self, stored: dict[str, Any]) -> None:
        """Take over the notes of the call that has begun a migration."""
        self.before = Counter(stored['before'])
        self.notes = {name: list(stored[name]) for name in NOTES}


def plan(service: TaskService, cancel_lost: bool) -> Plan:
    """Look over a service of 0.5.2; nothing is written.

    What an interrupted migration has moved already is only counted.
    Arguments: ``cancel_lost``: jobs in no queue are to be cancelled.
    Cost: O(jobs), each is loaded; memory for their ids.
    """
    old = _old(service)
    assert old is not None
    done = old['new'][0] if 'new' in old else ()
    found = Plan()
    queued = {job._p_oid: number for number, job
              in enumerate(_items(old['_queue']))}
    due = dict(_due(old))
    ended: list[tuple[float, Move]] = []
    waiting: list[tuple[tuple[int, float], Move]] = []
    latest, equal = 0.0, 0
    for number, (jobid, job) in enumerate(old['jobs'].items()):
        if number % _READ_BATCH == 0 and service._p_jar is not None:
            service._p_jar.cacheGC()
        why = why_unreadable(job)
        if why is not None:
            found.unreadable.setdefault(why, []).append(jobid)
            found.before[UNKNOWN] += 1
            found.after[UNKNOWN] += 1
            if jobid not in done:
                found.moves.append(Move(jobid))
            continue
        added = _created(job)
        latest, equal = added, equal + 1 if added == latest else 0
        if jobid in done:
            found.after[count_as(job)] += 1
            continue
        move = Move(
            # A microsecond keeps those of one second in their order.
            jobid, added + equal / 1_000_000, due.get(job._p_oid),
            job.status == QUEUED and job._p_oid not in queued)
        found.before[count_as(job)] += 1
        found.after[_note(found, job, move, cancel_lost)] += 1
        if job.status in LOGS:
            ended.append((_ended(job), move))
        elif job.status in (QUEUED, PROCESSING):
            # Threads had taken the lost ones: before all that still wait.
            waiting.append(((queued.get(job._p_oid, -1), added), move))
        else:
            found.moves.append(move)
    if done:
        found.recall(old['new'][2])
    # A log takes entries at its end alone: first those that have ended, in
    # their order, before any that ends now.
    ended.sort(key=itemgetter(0))
    waiting.sort(key=itemgetter(0))
    found.moves = [*(move for _, move in ended), *found.moves,
                   *(move for _, move in waiting)]
    return found


def count_as(job: Job) -> str:
    """The status as which a job is counted."""
    return NEVER_ADDED if job.status is None else str(job.status)


def _note(found: Plan, job: Any, move: Move, cancel_lost: bool) -> str:
    """Note what will be other than it was; the status that the job gets."""
    if move.lost:
        found.notes['lost'].append(move.jobid)
        return CANCELLED if cancel_lost else QUEUED
    if job.status == PROCESSING:
        found.notes['interrupted'].append(move.jobid)
        return QUEUED
    if job.status in (CRONJOB, DELAYED):
        if _has_no_date(job):
            found.notes['never'].append(move.jobid)
            return ERROR
        if job.status == CRONJOB and not job.recurring:
            found.notes['repeated'].append(move.jobid)
        return CRONJOB if job.recurring else DELAYED
    return count_as(job)


def _due(old: dict[str, Any]) -> Iterator[tuple[Any, float]]:
    """When 0.5.2 would have run its scheduled jobs: oid -> moment."""
    # Services of 0.2 had no schedules.
    for moment, jobs in (old.get('_scheduledJobs') or {}).items():
        for number, job in enumerate(jobs):
            yield job._p_oid, moment + number / 1_000_000


def _items(queue: Any) -> Iterator[Any]:
    """The jobs in a queue of zc.queue, which may not be installed."""
    if not isinstance(queue, Broken):
        yield from queue
        return
    queue._p_activate()
    for item in queue.__Broken_state__['_data']:
        # A CompositeQueue is made of queues.
        if type(item).__module__.startswith('zc.queue'):
            yield from _items(item)
        else:
            yield item


def _created(job: Job) -> float:
    moment = job.createdAt
    return 0.0 if moment is None else moment.timestamp()


def _ended(job: Job) -> float:
    # 0.5.2 noted no end of a job whose task it did not find.
    moment = job.completedAt or job.startedAt
    return _created(job) if moment is None else moment.timestamp()


def _has_no_date(job: Any) -> bool:
    """Has this scheduled job a schedule that no calendar has?"""
    if not isinstance(job, CronJob):
        return job.delay is None
    try:
        check_delay(job.delay)
        check_fields(*job.fields())
    except InvalidSchedule:
        return True
    return False


# --- the steps ---------------------------------------------------------------

def begin(service: TaskService, found: Plan) -> None:
    """Make the new structures, empty, beside those of 0.5.2."""
    old = _old(service)
    if old is None or 'new' in old:
        return
    family = (BTrees.family32 if isinstance(
        old['jobs'], BTrees.family32.IO.BTree) else BTrees.family64)
    jobs = Blocks(family)
    old['new'] = (jobs, JobQueue(jobs), found.stored())
    service._p_changed = True


def move(service: TaskService, moves: Iterable[Move], cancel_lost: bool
         ) -> None:
    """Move jobs, each to its place; those that were moved before stay."""
    old = _old(service)
    if old is None:
        return
    jobs, queue, _ = old['new']
    now = service.clock.now()
    for one in moves:
        job = None if one.jobid in jobs else old['jobs'].get(one.jobid)
        if job is None:
            continue
        jobs[one.jobid] = job
        if why_unreadable(job) is not None:
            queue.set_aside([one.jobid], now)
        else:
            _rewrite(job, one.jobid)
            _place(queue, job, one, cancel_lost, now)


def finish(service: TaskService) -> None:
    """Let the service have its new structures; those of 0.5.2 are gone."""
    old = _old(service)
    if old is not None:
        del service.__dict__[_ASIDE]
        service.jobs, service.jobqueue, _ = old['new']


def moved(service: TaskService) -> tuple[Blocks, JobQueue]:
    """The new structures, before the end of a migration and after it."""
    old = _old(service)
    if old is None:
        return service.jobs, service.jobqueue
    jobs, queue, _ = old['new']
    return jobs, queue


def _rewrite(job: Any, jobid: int) -> None:
    """Write a job in our form, with large values in records of their own."""
    values = {}
    for name in ('input', 'output'):
        value = job.__dict__.get(name)
        size = payload.weigh(value)
        # A value without its class must not keep the job from being read.
        values[name] = payload.wrap(
            value, payload.INLINE_BYTES + 1 if size is None else size)
    if isinstance(job, CronJob) and not _has_no_date(job):
        fields = check_fields(*job.fields())
        if job.recurring and not any(fields):
            # 0.5.2 ran it each minute.
            fields = (tuple(range(60)), *fields[1:])
        values |= zip(FIELDS, fields, strict=True)
    job.put(id=jobid, **values)


def _place(queue: JobQueue, job: Any, move: Move, cancel_lost: bool,
           now: float) -> None:
    if move.lost and cancel_lost:
        queue.put_in(job, 'cancelled', time_key(move.added),
                     status=CANCELLED)
    elif job.status in (QUEUED, PROCESSING):
        queue.enqueue(job)
    elif job.status in LOGS:
        queue.log(job, job.status, DIRECT_SLOT, _ended(job))
    elif job.status == CANCELLED:
        queue.put_in(job, 'cancelled', time_key(move.added))
    elif job.status == STARTLATER:
        queue.put_in(job, 'later', time_key(move.added))
    elif job.status in (CRONJOB, DELAYED):
        if _has_no_date(job):
            queue.fail(job, Failure(
                'InvalidSchedule', 'its schedule never occurs', '',
                NO_ATTEMPT, now), now)
        else:
            queue.schedule_at(job, _when(job, move, now))


def _when(job: Any, move: Move, now: float) -> float:
    """When a scheduled job runs next."""
    if job.recurring:
        # 0.5.2 drifted by some seconds with each run.  A run that is due is
        # not lost.
        return (move.due if move.due is not None and move.due <= now
                else job.next_run(now))
    # No thread had seen it: it counts from its add.
    return move.added + job.delay if move.due is None else move.due
