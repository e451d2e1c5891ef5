"""JobQueue: where each job stands, and the verbs that move it.

No transaction begins or ends here, and no task runs.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from typing import Any

from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.interface import implementer

from lovely.remotetask import listing
from lovely.remotetask import payload
from lovely.remotetask import states
from lovely.remotetask.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.interfaces import IJobQueue
from lovely.remotetask.job import Failure
from lovely.remotetask.job import Job
from lovely.remotetask.job import NextRun
from lovely.remotetask.job import key_time
from lovely.remotetask.job import time_key
from lovely.remotetask.lanes import Lanes
from lovely.remotetask.settings import DUE_BATCH
from lovely.remotetask.workers import WorkerRecord

_EPOCH_2020 = 1_577_836_800     # 2020-01-01 UTC: its microseconds fit 50 bits
_TAG_BITS = 10

# Not the module-level generator: applications seed that one to predict job
# ids, which are drawn from it.
_random = random.SystemRandom()


class _Local:
    """What one connection knows about one queue; never stored."""

    def __init__(self) -> None:
        self.next_id: int | None = None
        self.last_us = 0


# Keyed by the connection, never in _v_ attributes: those vanish with the
# object from the cache, and with them the id block and the order of adds.
_locals: weakref.WeakKeyDictionary[Any, dict[Any, _Local]] = (
    weakref.WeakKeyDictionary())


def local(persistent: Any) -> _Local:
    """The unstored state of a persistent object in its connection."""
    holder = persistent._p_jar
    if holder is None:
        holder = persistent
    known = _locals.setdefault(holder, {})
    key = persistent._p_oid if holder is not persistent else None
    if key not in known:
        # What a new object knew before it was stored goes on.
        before = {} if key is None else _locals.pop(persistent, {})
        known[key] = before.get(None) or _Local()
    return known[key]


def ready_key(priority: int, us: int) -> int:
    """The key of a ready job: priority, then time, then a random tag.

    Arguments: ``priority``, -4 to 3; ``us``, microseconds since 2020.
    Returns: an int of 63 bits.  50 bits of time last until 2055; beyond, jobs
    of one priority run in random order, and nothing else breaks.
    """
    return (((3 - priority) << 60)
            + (min(max(us, 0), 2**50 - 1) << _TAG_BITS)
            + _random.getrandbits(_TAG_BITS))


@implementer(IJobQueue)
class JobQueue(Persistent):
    """See IJobQueue"""

    def __init__(self, jobs: Any) -> None:
        self.jobs = jobs
        # 64 lanes where producers and workers meet; fewer where they do not.
        self.ready = Lanes(64)
        self.due = Lanes(16)
        self.waiting = Lanes(16)
        self.later = Lanes(16)
        self.completed = Lanes(16)
        self.error = Lanes(16)
        self.cancelled = Lanes(16)
        self.workers = OOBTree()

    # -- placing --------------------------------------------------------------

    def _place(self, job: Job, name: str, key: int, **values: Any) -> None:
        self._displace(job)
        key = getattr(self, name).insert(key, job.id)
        job.put(place=(name, key), **values)

    def _displace(self, job: Job) -> None:
        # A job may have been deleted and its id used again, or its place
        # may be from another queue: discard() looks whose entry it is.
        if job.place is not None:
            name, key = job.place
            getattr(self, name).discard(key, job.id)

    def _move(self, job: Job, status: str) -> str:
        states.check(job.id, job.status, status)
        return status

    def enqueue(self, job: Job) -> None:
        """See IJobQueue"""
        mine = local(self)
        # Adds of one connection keep their order within one microsecond.
        us = int((SYSTEM_CLOCK.now() - _EPOCH_2020) * 1_000_000)
        mine.last_us = us = max(us, mine.last_us + 1)
        self._place(job, 'ready', ready_key(job.priority or 0, us),
                    status=self._move(job, QUEUED))

    def schedule(self, job: Job, now: float) -> None:
        """See IJobQueue"""
        when = job.next_run(now)
        if when is None:
            raise InvalidSchedule(
                f'job {job.id!r} has no schedule: give it a delay, or at '
                f'least one of minute, hour, dayOfMonth, month, dayOfWeek')
        self._schedule_at(job, when, anchor=now)

    def schedule_at(self, job: Job, when: float) -> None:
        """Place a job to run once, at ``when``; no clock moves that."""
        self._schedule_at(job, when, anchor=None)

    def _schedule_at(self, job: Job, when: float,
                     anchor: float | None) -> None:
        key = time_key(when, _random.getrandbits(_TAG_BITS))
        if job.status == PROCESSING and not job.recurring:
            # Its schedule was replaced by a delay while it runs: this run
            # is the one it asks for.
            self._unnote_next(job)
        elif job.recurring:
            if job.status not in (QUEUED, PROCESSING):
                self._displace(job)
                job.put(status=self._move(job, CRONJOB), place=None)
            job.put(anchor=anchor)
            self._note_next(job, key)
        else:
            self._unnote_next(job)
            self._place(job, 'due', key, anchor=anchor,
                        status=self._move(job, DELAYED))

    def _note_next(self, job: Any, key: int) -> None:
        """Note a recurring job's next run, without writing the job."""
        note = job.next
        if note is None:
            note = NextRun(0)
            job.put(next=note)
        else:
            self.due.discard(note.key, job.id)
        note.key = self.due.insert(key, job.id)

    def _unnote_next(self, job: Any) -> None:
        note = getattr(job, 'next', None)
        if note is not None:
            self.due.discard(note.key, job.id)
            job.put(next=None)

    def shelve(self, job: Job) -> None:
        """See IJobQueue"""
        self._place(job, 'later', self._now_key(),
                    status=self._move(job, STARTLATER))

    def _now_key(self, now: float | None = None) -> int:
        if now is None:
            now = SYSTEM_CLOCK.now()
        return time_key(now, _random.getrandbits(_TAG_BITS))

    # -- taking ---------------------------------------------------------------

    def has_waiting(self, now: float) -> bool:
        """See IJobQueue"""
        limit = time_key(now, 15)
        return bool(self.ready) or (
            self.due.first(limit) is not None
            or self.waiting.first(limit) is not None)

    def reanchor(self, now: float) -> None:
        """See IJobQueue"""
        for _, jobid in list(self.due.up()):
            job = self.jobs.get(jobid)
            if job is None or job.anchor is None or now >= job.anchor:
                continue
            when = job.next_run(now)
            if when is not None:
                self._schedule_at(job, when, anchor=None)

    def _bring_due(self, now: float) -> None:
        """Make ready what is due, at most DUE_BATCH jobs."""
        limit = time_key(now, 15)
        for lanes in (self.due, self.waiting):
            for _ in range(DUE_BATCH):
                head = lanes.first(limit)
                if head is None:
                    break
                key, jobid = head
                lanes.pull(key)
                job = self.jobs.get(jobid)
                if job is not None:
                    self._wake(job, lanes is self.due, key, now)

    def _wake(self, job: Any, is_due: bool, key: int, now: float) -> None:
        if states.is_final(job.status):
            return              # its status was assigned from outside
        if is_due and job.recurring:
            when = job.next_run(now)
            if when is not None:
                job.next.key = self.due.insert(
                    time_key(when, _random.getrandbits(_TAG_BITS)), job.id)
            if job.status != CRONJOB:
                return          # still queued or running: this time is missed
            if when is None:
                # Its fields were assigned one by one, into a date that
                # never comes or until none was left.
                job.put(next=None)
                self.fail(job, Failure(
                    'InvalidSchedule', 'its schedule never occurs', '',
                    job.attempts, now), now)
                return
        job.put(anchor=None)
        self.enqueue(job)

    def pull(self, now: float) -> Any:
        """See IJobQueue"""
        self._bring_due(now)
        while (head := self.ready.first()) is not None:
            key, jobid = head
            self.ready.pull(key)
            job = self.jobs.get(jobid)
            # ``del service.jobs[id]`` leaves the entry behind, and so does a
            # status assigned from outside: they end here.
            if job is None or job.place != ('ready', key):
                continue
            if job.status == QUEUED:
                return job
            self.settle(job)
        return None

    def settle(self, job: Job) -> None:
        """Let a job whose status was assigned from outside be found by it."""
        lanes = {COMPLETED: 'completed', ERROR: 'error',
                 CANCELLED: 'cancelled'}.get(job.status)
        if lanes is not None:
            self._place(job, lanes, self._now_key())
        else:
            self._displace(job)
            job.put(place=None)

    # -- running --------------------------------------------------------------

    def restart(self, job: Any, token: tuple[str, int], now: float) -> bool:
        """Start a job again whose start was undone with a transaction.

        Returns: False if there is nothing to go on with: the job is over.
        """
        if job.claim == token:
            return True
        if states.is_final(job.status):
            return False
        if (job.recurring and job.next is not None
                and key_time(job.next.key) <= now):
            # Its move to the next time was undone as well; left alone it
            # would be due at once, for ever.
            when = job.next_run(now)
            if when is not None:
                self._note_next(job, self._now_key(when))
        if job.status in (DELAYED, CRONJOB):
            self.enqueue(job)
        self.start(job, token, now)
        return True

    def start(self, job: Job, token: tuple[str, int], now: float) -> None:
        """See IJobQueue"""
        self._displace(job)
        job.put(status=self._move(job, PROCESSING), claim=token, place=None,
                startedAt=now, attempts=(job.attempts or 0) + 1)

    def claim(self, token: tuple[str, int], now: float,
              jobid: int | None = None) -> Any:
        """Take a job and start it under a token, in the worker's record.

        Arguments: ``jobid``: this one, if it is queued.
        Returns: the job, or None.
        """
        if jobid is None:
            job = self.pull(now)
        else:
            # One that is claimed already changes hands: the token says who
            # may finish it.
            job = self.jobs.get(jobid)
            if job is not None and job.status not in (QUEUED, PROCESSING):
                job = None
        if job is None:
            return None
        self.start(job, token, now)
        record = self.workers.get(token[0])
        if record is None:
            record = self.workers[token[0]] = WorkerRecord(token[0])
        record.claims = tuple(
            old for old in record.claims
            if self.is_claimed(old, token[0])) + (job.id,)
        return job

    def is_claimed(self, jobid: int, worker: str) -> bool:
        """Is this job running under a claim of this worker?"""
        job = self.jobs.get(jobid)
        return (job is not None and job.status == PROCESSING
                and job.claim is not None and job.claim[0] == worker)

    def running(self) -> Iterator[int]:
        """The ids of the jobs that run."""
        for worker, record in self.workers.items():
            for jobid in record.claims:
                if self.is_claimed(jobid, worker):
                    yield jobid

    def finish(self, job: Job, output: Any, size: int, now: float) -> None:
        """See IJobQueue"""
        self._end(job, COMPLETED, now, error=None,
                  output=payload.wrap(output, size))

    def fail(self, job: Job, failure: Failure, now: float) -> None:
        """See IJobQueue"""
        self._end(job, ERROR, now, error=tuple(failure))

    def _end(self, job: Any, status: str, now: float, **values: Any) -> None:
        values.update(claim=None, completedAt=now, failures=0, missing=None)
        if job.recurring and job.next is not None:
            # Between its runs a recurring job is a cron job, whatever came
            # of this one; its next time stands in ``due`` already.
            self._displace(job)
            job.put(status=self._move(job, CRONJOB), place=None, **values)
        else:
            self._place(job, status, self._now_key(now), **values,
                        status=self._move(job, status))

    def park(self, job: Job, until: float, failure: Failure | None = None,
             charged: bool = True) -> None:
        """See IJobQueue"""
        values: dict[str, Any] = {}
        if failure is not None:
            values = {'error': tuple(failure),
                      'failures': job.failures + charged}
        self._place(job, 'waiting', self._now_key(until), claim=None,
                    status=self._move(job, QUEUED), **values)

    def cancel(self, job: Job) -> bool:
        """See IJobQueue"""
        if job.status is None or states.is_final(job.status):
            return False
        self._unnote_next(job)
        self._place(job, 'cancelled', self._now_key(), claim=None,
                    status=self._move(job, CANCELLED))
        return True

    def forget(self, job: Job) -> None:
        """See IJobQueue"""
        self._unnote_next(job)
        self._displace(job)

    def clean(self, status: str) -> None:
        """See IJobQueue"""
        for key, jobid in list(getattr(self, status).up()):
            job = self.jobs.get(jobid)
            if job is None or job.place != (status, key):
                getattr(self, status).discard(key, jobid)
            elif job.status == status:
                self.forget(job)
                del self.jobs[jobid]
            else:
                self.settle(job)    # its status was assigned from outside

    # -- looking --------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """See IJobQueue"""
        return {name: len(getattr(self, name)) for name in (
            'ready', 'waiting', 'due', 'later', 'completed', 'error',
            'cancelled')}

    def page(self, status: str | None, task: str | None, start: str | None,
             limit: int) -> tuple[list[Any], str | None]:
        """See IJobQueue"""
        return listing.page(self, status, task, start, limit)


class QueueView:
    """The queue as 0.5.2 showed it: a sequence of the jobs that wait.

    Its ends are found without loading what lies between; ``view[-1]`` is the
    job that was added last.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def __len__(self) -> int:
        return len(self._queue.waiting) + len(self._queue.ready)

    def __bool__(self) -> bool:
        return bool(self._queue.ready) or bool(self._queue.waiting)

    def _jobs(self, backwards: bool) -> Iterator[Any]:
        jobs = self._queue.jobs
        parts = [self._queue.waiting, self._queue.ready]
        for lanes in reversed(parts) if backwards else parts:
            for _, jobid in lanes.down() if backwards else lanes.up():
                if jobid in jobs:
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
