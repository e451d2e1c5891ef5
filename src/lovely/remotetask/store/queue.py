"""JobQueue: where each job stands, and the verbs that move it.

No transaction begins or ends here, and no task runs.
"""

from __future__ import annotations

from typing import Any

from lovely.remotetask import payload
from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import last_key
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.schedule.rule import check_next
from lovely.remotetask.store import batches
from lovely.remotetask.store import cleaning
from lovely.remotetask.store import counts
from lovely.remotetask.store import listing
from lovely.remotetask.store import states
from lovely.remotetask.store.claiming import Claiming
from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.following import follow
from lovely.remotetask.store.order import ready_key
from lovely.remotetask.store.places import is_at_front
from lovely.remotetask.store.places import is_ready
from lovely.remotetask.store.places import no_longer_missing
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.selection import Selection
from lovely.remotetask.store.workers import DIRECT_SLOT

# The time in a row from which on a job that is given back waits, and for how
# long (seconds): others get their turn, and a long job is not held up much by
# one deploy after the other.
_STOPS = 3
_STOPS_WAIT = 10.0


class JobQueue(Claiming):
    """Where each job of a service stands; the one way to move it.

    Every verb writes the Job record, which is the mutex: two transactions
    that move the same job conflict, and exactly one commits.  Times are
    seconds since 1970 (float).
    Txn: the caller commits.
    """

    #: The form of all that is stored of a queue: lanes, slots, logs.
    FORM = 1

    # The oid that an import had where it was exported, or a copy in memory has
    # of its original; None: it is neither, or has been resumed.
    origin = None   # type: bytes | None
    batches = None  # type: Any     # Batches, once a group was added
    # None: settings.POISON.  No annotation: see job.
    poison = None   # type: int | None

    def __getstate__(self) -> Any:
        return super().__getstate__() | {
            'form': self.FORM, 'origin': self.origin or self._p_oid}

    def __setstate__(self, state: Any) -> None:
        form = state.pop('form')
        if form > self.FORM:
            raise NewerRecord(
                f'a newer release of lovely.remotetask has written this '
                f'service (form {form}, this one knows {self.FORM}): upgrade '
                f'before you open it')
        # importFile gives new oids to what it brings, and a copy in memory has
        # none yet; neither need tell us.  Jobs that the original runs must not
        # be run here as well.
        origin = state.pop('origin', None)
        if origin is not None and self._p_oid != origin:
            state |= {'origin': origin, 'paused': True}
        super().__setstate__(state)

    # -- waiting --------------------------------------------------------------

    def has_waiting(self, now: float) -> bool:
        """Could a job run at ``now``?  Writes nothing."""
        return (any(ready.any() for ready in self.all_ready())
                or any(True for _ in self.able_suspects()) or bool(self.barred)
                or self.has_due(now))

    def pull(self, now: float) -> Job | None:
        """Take the next job out of the ready ones; due ones come in first.

        Returns: the job, its status unchanged; None: there is none.
        """
        self.make_due_ready(now)
        def runs(key: int, job: Job) -> bool:
            return self.ready_of(job.queue).pause(now) is None

        suspect = self._next_suspect(runs)
        if suspect is not None:
            return suspect
        for ready in self.awake(now):
            for key, job in self._queued(ready):
                ready.take(key)
                return job
        # A run of its caller passes no gate: it runs one job after another.
        return self.next_barred(runs)

    # -- running --------------------------------------------------------------

    def restart(self, job: Job, token: Token, now: float) -> bool:
        """Start a job again whose start was undone with a transaction.

        Returns: False if there is nothing to go on with: the job is over.
        """
        if job.claim == token:
            return True
        if states.is_final(job.status):
            return False
        due = self._due_key(job) if job.recurring else None
        if due is not None and due <= last_key(now):
            # Its move to the next time was undone as well; left alone it
            # would be due at once, for ever.
            if isinstance(job, CronJob) and job.status == CRONJOB:
                self._come(job, due, now)
            else:
                when = job.next_run(self._after(due, now))
                if when is not None:
                    self._note_next(job, time_key(when))
        if job.status in (DELAYED, CRONJOB, STARTLATER):
            self.enqueue(job)
        self.start(job, token, now)
        return True

    def start(self, job: Job, token: Token, now: float) -> None:
        """Mark a job as running under ``token``: see claiming.Token."""
        key = job.ready_key
        if job.position is not None:
            name, at = job.position
            if name != 'barred':    # else it has its key already
                key = at if is_at_front(job.position) else None
            self.take_out(job)
        job.put(status=self._move(job, PROCESSING), claim=token,
                position=None, ready_key=key, startedAt=now,
                attempts=(job.attempts or 0) + 1)

    def requeue(self, job: Job, begun: bool = True) -> None:
        """Put a claimed job back to where it stood, uncharged.

        Arguments: ``begun``: False: the claim was no attempt: the task was not
        called, or its run has conflicted.
        """
        key = (ready_key(job.priority or 0, self, job.concurrencyKey)
               if job.ready_key is None
               else self.ready_of(job.queue).beside(job.ready_key))
        before: dict[str, Any] = no_longer_missing(job) if begun else {}
        if not begun:
            before['attempts'] = (job.attempts or 1) - 1 or None
            if before['attempts'] is None:
                before['startedAt'] = None
        self.put_in(job, self._front(job), key, claim=None,
                    status=self._move(job, QUEUED), **before)

    def give_back(self, job: Job, now: float) -> None:
        """Put back a job whose worker was stopped in order, uncharged.

        After some in a row it waits before it runs again.  Its task may be
        what stops its workers: run first by each, it would be the only one.
        """
        stops = job.stops + 1
        if stops < _STOPS:
            self.requeue(job)
        else:
            self.park(
                job, now + _STOPS_WAIT, charged=False, now=now, reason=(
                    f'its worker was stopped {stops} times in a row while it '
                    f'ran; it waits for {_STOPS_WAIT:.0f} s, so that others '
                    f'run before it'))
        job.put(stops=stops)

    def interrupt(self, job: Job, now: float, share: float = 1) -> list[Job]:
        """Put back a job whose worker died; at last it ends as poison.

        Arguments: ``share``, how much of the death is charged to this job: 1
        if it ran alone.
        Returns: as ``fail``.
        """
        job.put(interruptions=job.interruptions + share)
        # Thirds do not add up to exactly one.
        if job.interruptions < (self.poison or settings.POISON) - 0.001:
            self.requeue(job)
            return []
        return self.fail(job, Failure(
            'Poison', f'poison: its worker died {job.interruptions:.0f} times '
            f'while the job ran; find out what ends the process (memory, a C '
            f'library, os._exit), then retry the job',
            '', job.attempts, now), now)

    def finish(self, job: Job, output: Any, size: int, now: float,
               slot: int = DIRECT_SLOT, holds: bool = False) -> list[Job]:
        """End a run well; a recurring job waits for its next time.

        Arguments: ``size``, about how long the output's pickle is (bytes);
        ``slot`` (int), whose log notes it: the caller's own, 0 for direct
        processing; ``holds``: the run was long; see following.
        Returns: the jobs that are added because they follow it.
        """
        past = ({'errors': job.past_errors(), 'rests': None}
                if job.failures or job.rests else {})
        return self._end(
            job, COMPLETED, now, slot, slot if holds else None, error=None,
            checkpoint=None, output=payload.wrap(output, size), **past)

    def fail(self, job: Job, failure: Failure, now: float,
             slot: int = DIRECT_SLOT) -> list[Job]:
        """End a run with an error record.  Returns: as ``finish``."""
        return self._end(job, ERROR, now, slot, error=tuple(failure),
                         errors=job.past_errors(failure))

    def _end(self, job: Job, status: str, now: float, slot: int,
             held: int | None = None, **values: Any) -> list[Job]:
        added = ([] if job.edges is None
                 else follow(self, job, status, values, now, held))
        values.update(claim=None, completedAt=now, failures=None,
                      missing_since=None)
        if job.conflicts or job.stops:
            values.update(conflicts=None, stops=None)
        if job.recurring:
            self._note_end(job, status, now, values['error'])
            if self._goes_on(job):
                # Between its runs a recurring job is a cron job, also after a
                # run that failed; its next time stands in ``due`` already.
                values.update(
                    status=self._move(job, CRONJOB), interruptions=None)
                if status == ERROR:
                    # Among the errors, too, until its next run begins.
                    self.log(job, ERROR, slot, now, **values)
                else:
                    self.take_out(job)
                    job.put(position=None, **values)
                    if status == COMPLETED and slot != DIRECT_SLOT:
                        # Direct runs would meet here, and in no other record.
                        self.slots[slot].completed.others += 1
                return added
        if job.next is not None:
            self._unnote_next(job)
        self.log(job, status, slot, now, **values,
                 status=self._move(job, status))
        return added

    def cancel_run(self, job: Job, now: float) -> None:
        """End a run as cancelled, and with it the job.

        Of a job with a schedule the run alone ends: see cancel.
        """
        if self._goes_on(job):
            self._end(job, CANCELLED, now, DIRECT_SLOT, error=None)
        else:
            self.cancel(job)

    def park(self, job: Job, until: float, failure: Failure | None = None,
             charged: bool = True, now: float | None = None,
             reason: str = '') -> None:
        """Let a job wait, as ``queued``, until then: for another attempt.

        Arguments: ``charged``: does the failure count against the task?
        ``now``: it waits from this moment on for some seconds; None: until a
        moment, however the clock is set meanwhile; ``reason``, why it waits
        where it has not failed.
        """
        values: dict[str, Any] = no_longer_missing(job) | {
            'rests': reason or None, 'anchor': now, 'stops': None}
        if failure is not None:
            values |= {'error': tuple(failure),
                       'errors': job.past_errors(failure),
                       'failures': job.failures + charged}
        if charged:
            # The task has ended by itself: it has killed no worker this time.
            values['interruptions'] = None
        self.put_in(job, 'waiting', time_key(until), claim=None,
                    status=self._move(job, QUEUED), **values)

    def miss(self, job: Job, failure: Failure, now: float) -> None:
        """Set a job aside until a worker that can run it makes it ready.

        Arguments: ``failure``, why none can now.
        """
        # No later: the clock may have been ahead.
        since = min(job.missing_since or now, now)
        self.take_from_front(job)
        self.put_in(job, 'missing', time_key(since), missing_since=since,
                    claim=None, status=self._move(job, QUEUED),
                    error=tuple(failure), errors=job.past_errors(failure))

    def retry(self, job: Job, now: float, anew: bool = False) -> None:
        """Queue a failed or cancelled job once more; see retryJob."""
        self.check_owned(job)
        # A schedule whose latest run has failed: that one runs once more.
        failed = job.status == CRONJOB and job.position is not None
        if job.status not in (QUEUED, ERROR, CANCELLED) and not failed:
            raise InvalidTransition(job.id, str(job.status), QUEUED)
        begins = job.recurring and job.status not in (QUEUED, CRONJOB)
        if begins:
            # Before the first write: a schedule may have no next time.
            check_next(job.id, job.next_run(now))
        job.put(failures=0, interruptions=0, missing_since=None, anchor=None,
                conflicts=None, stops=None,
                checkpoint=None if anew else job.checkpoint)
        if failed:
            self._take_edit(job)
        if begins:
            self.schedule(job, now)
        elif not is_ready(job.position):
            self.enqueue(job)

    def cancel(self, job: Job) -> bool:
        """Cancel the job; delete one whose record cannot be read.

        Returns: False if it was over already.
        Raises: NewerRecord.
        """
        if isinstance(job, UnreadableJob):
            if states.is_final(job.known.get('status')):
                return False
            self.drop(job)
            return True
        self.check_owned(job)
        if job.status is None or states.is_final(job.status):
            return False
        self._unnote_next(job)
        ran = job.status == PROCESSING
        self.put_in(job, 'cancelled', time_key(SYSTEM_CLOCK.now()), claim=None,
                    status=self._move(job, CANCELLED))
        if ran:
            self.unbar_after([job.id])
        return True

    def forget(self, job: Job) -> None:
        """Remove every trace of a job that is about to be deleted."""
        self._unnote_next(job)
        self.take_out(job)
        self.uniques.release(job)
        batches.forget(self, job)

    def clean(self, status: str) -> None:
        """Delete all jobs with this final status.  Cost: O(such jobs)."""
        cleaning.clean(self, status)

    def clean_step(self, status: str, start: str | None, limit: int,
                   skip_live: bool = False, below: int | None = None
                   ) -> tuple[int, str | None]:
        """Delete about ``limit`` jobs with this final status.

        Arguments: ``start``, what the call before returned, at first None;
        ``below``, a time_key: only jobs that ended before that;
        ``skip_live``: a transaction that called this has conflicted, so keep
        out of the workers' way: what has just ended stays.
        Returns: how many were deleted, and the ``start`` of the next call
        (str), None at the end.
        Txn: each call wants one of its own.
        """
        return cleaning.some(self, status, start, limit, skip_live,
                             below=below)

    # -- looking --------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many jobs wait or have ended where: name -> int.

        Cost: O(lanes + slots); no lane is loaded.
        """
        return counts.counted(self)

    def stats(self, now: float) -> dict[str, Any]:
        """See ITaskService.stats"""
        return counts.stats(self, now)

    def page(self, status: str | None, selection: Selection,
             start: str | None, limit: int, seconds: float | None = None
             ) -> listing.Page:
        """See listing.page"""
        return listing.page(self, status, selection, start, limit, seconds)
