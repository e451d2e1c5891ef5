"""JobQueue: where each job stands, and the verbs that move it.

No transaction begins or ends here, and no task runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from zope.interface import implementer

from lovely.remotetask import cleaning
from lovely.remotetask import listing
from lovely.remotetask import payload
from lovely.remotetask import states
from lovely.remotetask.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import InvalidTransition
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
from lovely.remotetask.keys import draw
from lovely.remotetask.keys import key_time
from lovely.remotetask.keys import last_key
from lovely.remotetask.keys import ready_key
from lovely.remotetask.keys import time_key
from lovely.remotetask.lanes import Lanes
from lovely.remotetask.settings import DUE_BATCH
from lovely.remotetask.settings import POISON
from lovely.remotetask.uniques import UniqueKeys
from lovely.remotetask.workers import DIRECT
from lovely.remotetask.workers import Retired
from lovely.remotetask.workers import Roster

#: What is noted in a slot's logs: the place of such a job is
#: ``(name, (slot, bucket, moment))``; that of others ``(name of lanes, key)``.
_LOGS = ('completed', 'error')


@implementer(IJobQueue)
class JobQueue(Roster):
    """See IJobQueue"""

    paused = False
    poison = POISON

    def __init__(self, jobs: Any) -> None:
        super().__init__(jobs)
        # 64 lanes where producers and workers meet; fewer where they do not.
        self.ready = Lanes(64)
        self.due = Lanes(16)
        self.waiting = Lanes(16)
        self.later = Lanes(16)
        self.cancelled = Lanes(16)
        self.uniques = UniqueKeys()

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
            if name in _LOGS:
                number, *position = key
                slot = self.slots.get(number)
                if slot is not None:
                    getattr(slot, name).discard(*position, job.id)
            else:
                getattr(self, name).discard(key, job.id)

    def _move(self, job: Job, status: str) -> str:
        states.check(job.id, job.status, status)
        return status

    def _log(self, job: Job, name: str, number: int, now: float,
             **values: Any) -> None:
        self._displace(job)
        position = getattr(self.slots[number], name).append(
            time_key(now), job.id)
        job.put(place=(name, (number, *position)), **values)

    def enqueue(self, job: Job) -> None:
        """See IJobQueue"""
        self._place(job, 'ready', ready_key(job.priority or 0, self),
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
        key = time_key(when)
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
        self._place(job, 'later', time_key(SYSTEM_CLOCK.now()),
                    status=self._move(job, STARTLATER))

    # -- taking ---------------------------------------------------------------

    def has_waiting(self, now: float) -> bool:
        """See IJobQueue"""
        return self.has_ready() or self.has_due(now)

    def has_ready(self) -> bool:
        head = self.ready.first()
        # Mostly the first is one; behind it may lie what was claimed and
        # has not been removed yet.
        return head is not None and (
            self.is_here(*head) or any(itertools.starmap(
                self.is_here, self.ready.up())))

    def is_here(self, key: int, jobid: int) -> bool:
        """Is that entry more than the trace of a claim?"""
        job = self.jobs.get(jobid)
        return job is not None and job.place == ('ready', key)

    def has_due(self, now: float) -> bool:
        """See IJobQueue"""
        limit = last_key(now)
        return (self.due.first(limit) is not None
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
        limit = last_key(now)
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
            # After the time it was due at, too: see last_key.
            when = job.next_run(max(now, key_time(key)))
            if when is not None:
                job.next.key = self.due.insert(time_key(when), job.id)
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
        for key, job in self._queued(None):
            self.ready.pull(key)
            return job
        return None

    def _queued(self, allowed: Any) -> Iterator[tuple[int, Any]]:
        """The jobs to run next, with their keys; whoever takes one pulls it.
        """
        for key, jobid in self.ready.ahead(allowed):
            job = self.jobs.get(jobid)
            here = job is not None and job.place == ('ready', key)
            if here and job.status == QUEUED:
                yield key, job
                continue
            # ``del service.jobs[id]`` leaves the entry behind, and so does a
            # status assigned from outside: they end here.  So does what was
            # claimed and not removed yet, which has been counted.
            self.ready.pull(key, counted=here or job is None)
            if here:
                self.settle(job)

    def _ahead(self, ahead: Any, allowed: Any) -> Iterator[tuple[int, Any]]:
        """The same for a thread that takes many and removes them later."""
        for key, jobid in ahead.entries(
                self.ready, SYSTEM_CLOCK.monotonic(), allowed):
            job = self.jobs.get(jobid)
            if (job is not None and job.place == ('ready', key)
                    and job.status == QUEUED):
                yield key, job

    def remove(self, spent: Any) -> None:
        """See IJobQueue"""
        for key, jobid in spent:
            # Nobody else ever puts this job there again: see requeue.
            if self.ready.holds(key, jobid):
                self.ready.pull(key, counted=False)

    def settle(self, job: Job) -> None:
        """Let a job whose status was assigned from outside be found by it."""
        if job.status in _LOGS:
            self._log(job, job.status, DIRECT, SYSTEM_CLOCK.now())
        elif job.status == CANCELLED:
            self._place(job, 'cancelled', time_key(SYSTEM_CLOCK.now()))
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
                and job.next.key <= last_key(now)):
            # Its move to the next time was undone as well; left alone it
            # would be due at once, for ever.
            when = job.next_run(max(now, key_time(job.next.key)))
            if when is not None:
                self._note_next(job, time_key(when))
        if job.status in (DELAYED, CRONJOB):
            self.enqueue(job)
        self.start(job, token, now)
        return True

    def start(self, job: Job, token: tuple[str, int], now: float) -> None:
        """See IJobQueue"""
        turn = job.turn
        if job.place is not None:
            turn = job.place[1] if job.place[0] == 'ready' else None
            self._displace(job)
        job.put(status=self._move(job, PROCESSING), claim=token, place=None,
                turn=turn, startedAt=now, attempts=(job.attempts or 0) + 1)

    def claim(self, tokens: Iterator[tuple[str, int]], slot: int, now: float,
              jobid: int | None = None, allowed: Any = None,
              ahead: Any = None, more: Any = None) -> list[Any]:
        """See IJobQueue"""
        place = self.slots.get(slot)
        worker, number = next(tokens)
        if place is None or place.owner != worker:
            raise Retired
        claims = place.claims
        if jobid is not None:
            # One that is claimed already changes hands: the token says who
            # may finish it.
            job = self.jobs.get(jobid)
            taken = ([job] if job is not None
                     and job.status in (QUEUED, PROCESSING) else [])
        else:
            taken = []
            if ahead is None:
                self._bring_due(now)
            for key, job in (self._queued(allowed) if ahead is None
                             else self._ahead(ahead, allowed)):
                # Asked of the first, too: may others join it?
                fits = more is not None and more(job, len(taken))
                if taken and not fits:
                    break
                # Counted in our own record, which is written anyway: a
                # counter beside each lane costs a tenth of the whole claim.
                if ahead is None:
                    self.ready.pull(key, counted=False)
                else:
                    ahead.take(self.ready, key, job.id)
                claims.pulled += 1
                job.put(place=None, turn=key)
                taken.append(job)
                if not fits:
                    break
        if not taken:
            return taken
        # Looked at before the start: it may be among them already, given
        # back and claimed anew.
        others = [i for i in self._claimed(claims) if i != jobid]
        for job in taken:
            self.start(job, (worker, number), now)
            worker, number = next(tokens)
        claims.jobs = (*others, *[job.id for job in taken])
        if claims.ids is None or self.jobs.free(claims.ids) is None:
            claims.ids = self.jobs.reserve(draw)
        return taken

    def requeue(self, job: Job) -> None:
        """See IJobQueue"""
        # Beside its old key, never on it: who claimed it there may remove that
        # entry later.
        key = (ready_key(job.priority or 0, self) if job.turn is None
               else job.turn + len(self.ready.trees))
        self._place(job, 'ready', key, claim=None,
                    status=self._move(job, QUEUED))

    def interrupt(self, job: Job, now: float) -> None:
        """See IJobQueue"""
        job.put(interruptions=job.interruptions + 1)
        if job.interruptions < self.poison:
            self.requeue(job)
            return
        self.fail(job, Failure(
            'Poison', f'poison: its worker died {job.interruptions} times '
            f'while the job ran; see the logs of the workers, then retry it',
            '', job.attempts, now), now)

    def finish(self, job: Job, output: Any, size: int, now: float,
               slot: int = DIRECT) -> None:
        """See IJobQueue"""
        self._end(job, COMPLETED, now, slot, error=None,
                  output=payload.wrap(output, size))

    def fail(self, job: Job, failure: Failure, now: float,
             slot: int = DIRECT) -> None:
        """See IJobQueue"""
        self._end(job, ERROR, now, slot, error=tuple(failure))

    def _end(self, job: Any, status: str, now: float, slot: int,
             **values: Any) -> None:
        values.update(claim=None, completedAt=now, failures=None,
                      missing=None)
        if job.recurring and job.next is not None:
            # Between its runs a recurring job is a cron job, whatever came
            # of this one; its next time stands in ``due`` already.
            self._displace(job)
            job.put(status=self._move(job, CRONJOB), place=None, **values)
        else:
            self._log(job, status, slot, now, **values,
                      status=self._move(job, status))

    def park(self, job: Job, until: float, failure: Failure | None = None,
             charged: bool = True) -> None:
        """See IJobQueue"""
        values: dict[str, Any] = {}
        if failure is not None:
            values = {'error': tuple(failure),
                      'failures': job.failures + charged}
        self._place(job, 'waiting', time_key(until), claim=None,
                    status=self._move(job, QUEUED), **values)

    def retry(self, job: Job, now: float) -> None:
        """See IJobQueue"""
        if job.status not in (QUEUED, ERROR, CANCELLED):
            raise InvalidTransition(job.id, str(job.status), QUEUED)
        job.put(failures=0, interruptions=0, missing=None)
        if job.recurring:
            self.schedule(job, now)
        elif job.place is None or job.place[0] != 'ready':
            self.enqueue(job)

    def cancel(self, job: Job) -> bool:
        """See IJobQueue"""
        if job.status is None or states.is_final(job.status):
            return False
        self._unnote_next(job)
        self._place(job, 'cancelled', time_key(SYSTEM_CLOCK.now()), claim=None,
                    status=self._move(job, CANCELLED))
        return True

    def forget(self, job: Job) -> None:
        """See IJobQueue"""
        self._unnote_next(job)
        self._displace(job)
        if job.key is not None:
            self.uniques.release(job)
        # What a claim of it has left in its lane.
        if job.turn is not None and self.ready.holds(job.turn, job.id):
            self.ready.pull(job.turn, counted=False)

    def clean(self, status: str) -> None:
        """See IJobQueue"""
        cleaning.clean(self, status)

    def clean_some(self, status: str, start: str | None, limit: int,
                   again: bool = False) -> tuple[int, str | None]:
        """See IJobQueue"""
        return cleaning.some(self, status, start, limit, again)

    def retire(self, worker: str, now: float, charged: bool) -> list[int]:
        """See IJobQueue"""
        left = self.dismiss(worker)
        for jobid in left:
            job = self.jobs[jobid]
            if charged:
                self.interrupt(job, now)
            else:
                self.requeue(job)
        return left

    # -- looking --------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """See IJobQueue"""
        found = {name: len(getattr(self, name)) for name in (
            'ready', 'waiting', 'due', 'later', 'cancelled')}
        found['ready'] -= sum(slot.claims.pulled
                              for slot in self.slots.values())
        for name in _LOGS:
            found[name] = sum(len(getattr(slot, name))
                              for slot in self.slots.values())
        return found

    def page(self, status: str | None, task: str | None, start: str | None,
             limit: int) -> tuple[list[Any], str | None]:
        """See IJobQueue"""
        return listing.page(self, status, task, start, limit)
