"""JobQueue: where each job stands, and the verbs that move it.

No transaction begins or ends here, and no task runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from zope.interface import implementer

from lovely.remotetask import payload
from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.edge.clock import last_key
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import IJobQueue
from lovely.remotetask.job import Failure
from lovely.remotetask.job import Job
from lovely.remotetask.store import cleaning
from lovely.remotetask.store import listing
from lovely.remotetask.store import states
from lovely.remotetask.store.keys import draw
from lovely.remotetask.store.keys import ready_key
from lovely.remotetask.store.places import LOGS
from lovely.remotetask.store.timetable import Timetable
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.store.workers import Retired


@implementer(IJobQueue)
class JobQueue(Timetable):
    """See IJobQueue"""

    paused = False
    poison = None       # None: settings.POISON

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
        return job is not None and job.position == ('ready', key)

    def pull(self, now: float) -> Any:
        """See IJobQueue"""
        self._make_due_ready(now)
        for key, job in self._queued(None):
            self.ready.pull(key)
            return job
        return None

    def _queued(self, allowed: Any) -> Iterator[tuple[int, Any]]:
        """The jobs to run next, with their keys; whoever takes one pulls it.
        """
        for key, jobid in self.ready.ahead(allowed):
            job = self.jobs.get(jobid)
            here = job is not None and job.position == ('ready', key)
            if here and job.status == QUEUED:
                yield key, job
                continue
            # ``del service.jobs[id]`` leaves the entry behind, and so does a
            # status assigned from outside: they end here.  So does what was
            # claimed and not removed yet, which has been counted.
            self.ready.pull(key, counted=here or job is None)
            if here:
                self.rehome(job)

    def _ahead(self, ahead: Any, allowed: Any) -> Iterator[tuple[int, Any]]:
        """The same for a thread that takes many and removes them later."""
        for key, jobid in ahead.entries(
                self.ready, SYSTEM_CLOCK.monotonic(), allowed):
            job = self.jobs.get(jobid)
            if (job is not None and job.position == ('ready', key)
                    and job.status == QUEUED):
                yield key, job

    def remove(self, spent: Any) -> None:
        """See IJobQueue"""
        for key, jobid in spent:
            # Nobody else ever puts this job there again: see requeue.
            if self.ready.holds(key, jobid):
                self.ready.pull(key, counted=False)

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
        key = job.ready_key
        if job.position is not None:
            key = job.position[1] if job.position[0] == 'ready' else None
            self.take_out(job)
        job.put(status=self._move(job, PROCESSING), claim=token,
                position=None, ready_key=key, startedAt=now,
                attempts=(job.attempts or 0) + 1)

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
                self._make_due_ready(now)
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
                job.put(position=None, ready_key=key)
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
        key = (ready_key(job.priority or 0, self) if job.ready_key is None
               else job.ready_key + len(self.ready.trees))
        self.put_in(job, 'ready', key, claim=None,
                    status=self._move(job, QUEUED))

    def interrupt(self, job: Job, now: float) -> None:
        """See IJobQueue"""
        job.put(interruptions=job.interruptions + 1)
        if job.interruptions < (self.poison or settings.POISON):
            self.requeue(job)
            return
        self.fail(job, Failure(
            'Poison', f'poison: its worker died {job.interruptions} times '
            f'while the job ran; see the logs of the workers, then retry it',
            '', job.attempts, now), now)

    def finish(self, job: Job, output: Any, size: int, now: float,
               slot: int = DIRECT_SLOT) -> None:
        """See IJobQueue"""
        self._end(job, COMPLETED, now, slot, error=None,
                  output=payload.wrap(output, size))

    def fail(self, job: Job, failure: Failure, now: float,
             slot: int = DIRECT_SLOT) -> None:
        """See IJobQueue"""
        self._end(job, ERROR, now, slot, error=tuple(failure))

    def _end(self, job: Any, status: str, now: float, slot: int,
             **values: Any) -> None:
        values.update(claim=None, completedAt=now, failures=None,
                      missing_since=None)
        if job.recurring and job.next is not None:
            # Between its runs a recurring job is a cron job, whatever came
            # of this one; its next time stands in ``due`` already.
            self.take_out(job)
            job.put(status=self._move(job, CRONJOB), position=None, **values)
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
        self.put_in(job, 'waiting', time_key(until), claim=None,
                    status=self._move(job, QUEUED), **values)

    def retry(self, job: Job, now: float) -> None:
        """See IJobQueue"""
        if job.status not in (QUEUED, ERROR, CANCELLED):
            raise InvalidTransition(job.id, str(job.status), QUEUED)
        job.put(failures=0, interruptions=0, missing_since=None)
        if job.recurring:
            self.schedule(job, now)
        elif job.position is None or job.position[0] != 'ready':
            self.enqueue(job)

    def cancel(self, job: Job) -> bool:
        """See IJobQueue"""
        if job.status is None or states.is_final(job.status):
            return False
        self._unnote_next(job)
        self.put_in(job, 'cancelled', time_key(SYSTEM_CLOCK.now()), claim=None,
                    status=self._move(job, CANCELLED))
        return True

    def forget(self, job: Job) -> None:
        """See IJobQueue"""
        self._unnote_next(job)
        self.take_out(job)
        if job.key is not None:
            self.uniques.release(job)
        # What a claim of it has left in its lane.
        key = job.ready_key
        if key is not None and self.ready.holds(key, job.id):
            self.ready.pull(key, counted=False)

    def clean(self, status: str) -> None:
        """See IJobQueue"""
        cleaning.clean(self, status)

    def clean_step(self, status: str, start: str | None, limit: int,
                   skip_live: bool = False) -> tuple[int, str | None]:
        """See IJobQueue"""
        return cleaning.some(self, status, start, limit, skip_live)

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
        for name in LOGS:
            found[name] = sum(len(getattr(slot, name))
                              for slot in self.slots.values())
        return found

    def page(self, status: str | None, task: str | None, start: str | None,
             limit: int) -> tuple[list[Any], str | None]:
        """See IJobQueue"""
        return listing.page(self, status, task, start, limit)
