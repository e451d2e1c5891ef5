"""Jobs that wait for a time: placed by it, and made ready when it comes."""

from __future__ import annotations

from itertools import islice
from itertools import takewhile
from typing import Any

from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.edge.clock import last_key
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors.bounds import NEVER
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.schedule.plan import TIMES
from lovely.remotetask.schedule.rule import check_next
from lovely.remotetask.store import states
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.store.places import is_at_front
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.recurring import LONGEST_LOOK
from lovely.remotetask.store.recurring import Recurring

# How many scheduled jobs one claim makes ready: bounds its transaction.
_DUE_BATCH = 60

#: By how much (seconds) a job may wait for longer than it should, until it is
#: placed anew.
LATE = 5.0


class Timetable(Recurring):
    """Places jobs by their next run, and makes them ready when it comes."""

    def schedule(self, job: Job, now: float) -> None:
        """Place a job with a schedule by its next run after ``now``.

        A run that is due becomes ready, unless it comes too late: its
        schedule is changed for those that follow.
        Raises: InvalidSchedule where it has none; nothing is written then.
        """
        after, due = now, self._due_key(job) if job.recurring else None
        if job.recurring and job.tick is not None:
            after = self._after(job.tick, now)
        if due is not None and (job.status != CRONJOB
                                or due > last_key(now)):
            due = None
        if due is not None:
            after = self._after(due, now)
        when = check_next(job.id, job.next_run(after))
        if due is not None and isinstance(job, CronJob) and not (
                job.policy.is_too_late(key_time(due), now)):
            self._begin_tick(job, due)
            self.enqueue(job)
        self._schedule_at(job, when, anchor=now)
        self._owe(job, None)

    def is_late(self, job: Job, now: float) -> bool:
        """Is a job to wait for longer than its delay or schedule says?

        So it is where the clock has gone back since it was placed, or the
        rules of its time zone have changed.
        """
        until = job.due_at()
        if job.of_next('owed', None) and until is not None:
            return until > now + LONGEST_LOOK + LATE
        if job.status == CRONJOB and until is not None:
            if not self.is_known(job):
                return False
            true = self.in_its_zone(job, until)
            if true != until:
                return until > true + LATE
            when = job.next_run(
                now if job.tick is None else self._after(job.tick, now))
            return when is not None and until > when + LATE
        return (job.position is not None
                and job.position[0] in ('due', 'waiting')
                and job.anchor is not None and job.anchor > now + LATE)

    def place_anew(self, job: Job, now: float) -> None:
        """Let a late job wait as long as its delay or schedule says."""
        if job.status == CRONJOB:
            until = job.due_at()
            true = until and self.in_its_zone(job, until)
            owed = job.of_next('owed', None)
            if owed and owed[0] <= now:
                # Those ahead come again.
                self._owe(job, (owed[0], min(owed[1], now)))
                self._note_next(job, time_key(now))
            elif true and true != until:
                self._note_next(job, time_key(true))
            else:
                self.schedule(job, now)
        elif job.position is not None and job.anchor is not None:
            name, key = job.position
            self.put_in(job, name, time_key(
                now + key_time(key) - job.anchor), anchor=now)

    def edit_schedule(self, job: Job, values: dict[str, Any], now: float
                      ) -> None:
        """Change a cron job: at once, or for the runs after one under way.

        Arguments: ``values``, attributes as ``put`` takes them.  The caller
        has made sure that the schedule occurs.
        Txn: does not write a job that runs, so that its run is not undone,
        unless it has or gets a rule for one run: that is this one.
        """
        self.check_owned(job)
        once = (values.get('delay') is not None
                or 'at' in (values.get('plan') or {}))
        if job.status != PROCESSING or not job.recurring or once:
            self._take_edit(job)
            job.put(**values)
            if is_at_front(job.position) and not values.keys().isdisjoint(
                    ('queue', 'concurrencyKey')):
                # It waits among those of another queue, or of another key.
                self.enqueue(job)
            if not values.keys().isdisjoint(TIMES):
                self.schedule(job, now)
            return
        if job.next_key() is None:
            # The record of its next run is lost.
            self._note_next(job, self._due_key(job) or time_key(NEVER))
        assert job.next is not None
        job.next.edit = {**job.next.edit, **values}
        if not values.keys().isdisjoint(TIMES):
            when = job.next_run(now if job.tick is None
                                else self._after(job.tick, now))
            self._note_next(job, time_key(check_next(job.id, when)))
            self._owe(job, None)

    def schedule_at(self, job: Job, when: float) -> None:
        """Place a job to run once, at ``when``; made-up clocks move it not."""
        self._schedule_at(job, when, anchor=None)

    def _schedule_at(self, job: Job, when: float,
                     anchor: float | None) -> None:
        key = time_key(when)
        if job.status == PROCESSING and not job.recurring:
            # Its schedule was replaced by a delay while it runs: the delay is
            # fulfilled by this run.
            self._unnote_next(job)
        elif job.recurring:
            # One that is a cron job may stand among the errors of its runs.
            if job.status not in (QUEUED, PROCESSING, CRONJOB):
                self.take_out(job)
                job.put(status=self._move(job, CRONJOB), position=None)
            job.put(anchor=anchor)
            self._note_next(job, key)
        else:
            self._unnote_next(job)
            self.put_in(job, 'due', key, anchor=anchor,
                        status=self._move(job, DELAYED))

    def pause_schedule(self, job: Job) -> None:
        """Let a schedule make no further run; one under way goes on.

        It keeps its place among the scheduled jobs, as the last.
        Txn: does not write the job, so that its run is not undone.
        """
        self._note_next(job, 0, enabled=False)
        self._owe(job, None)

    def resume_schedule(self, job: Job, now: float) -> None:
        """Let a schedule that rests run again, at its next time.

        Raises: InvalidSchedule where none comes; nothing is written then.
        Txn: does not write the job, so that its run is not undone.
        """
        when = check_next(job.id, job.next_run(now))
        self._note_next(job, time_key(when), enabled=True)
        self._owe(job, None)

    def let_come(self, job: Job, key: int) -> None:
        """Let a time of a schedule come that has passed.

        Arguments: ``key``, its time_key.
        """
        self._note_next(job, key)

    def run_now(self, job: Job, now: float) -> bool:
        """Begin a run of a schedule that was not due.

        Returns: False where one waits or is under way already.
        """
        self.check_owned(job)
        if job.status != CRONJOB or not isinstance(job, CronJob):
            return False
        due = self._due_key(job)
        if job.of_next('owed', None):
            due = time_key(now)         # it need not wait for the next look
        if due is not None and due <= last_key(now):
            # This is the run that is due: otherwise two would begin.
            self._come(job, due, now)
            if job.status != CRONJOB:
                return job.status == QUEUED
        # By its microsecond a run differs from all others of the job.
        before = 0.0 if job.tick is None else key_time(job.tick)
        due = time_key(max(now, before + 2e-6))
        self._begin_tick(job, due)
        job.put(anchor=None)
        self.enqueue(job)
        return True

    def start_now(self, job: Job) -> bool:
        """Make a job ready that waits for its time, a retry or startJob.

        Returns: False if it is ready already, or runs.
        Raises: InvalidTransition for one that is over.
        """
        self.check_owned(job)
        if states.is_final(job.status):
            raise InvalidTransition(job.id, str(job.status), QUEUED)
        if job.status == PROCESSING or is_at_front(job.position):
            return False
        job.put(anchor=None)
        self.enqueue(job)
        return True

    def has_due(self, now: float) -> bool:
        """Is there a scheduled or waiting job whose time has come?"""
        limit = last_key(now)
        return any(self._due_entries(lanes, limit, 1)
                   for lanes in (self.due, self.waiting))

    def comes(self, now: float) -> list[float]:
        """When the next ones' times come (seconds since 1970)."""
        limit = last_key(now)
        return [key_time(key) for lanes in (self.due, self.waiting)
                for key, _ in (self._due_entries(lanes, limit, 1)
                               or islice(lanes.up(limit + 1), 1))]

    def _due_entries(self, lanes: Lanes, limit: int, count: int
                     ) -> list[tuple[int, int]]:
        """The first entries at or below ``limit``; of jobs that cannot be
        read, and schedules that are not known here, none.
        """
        if lanes.first(limit) is None:
            return []
        due = takewhile(lambda entry: entry[0] <= limit, lanes.up())
        return list(islice((entry for entry in due
                            if self._may_come(entry[1])), count))

    def _may_come(self, jobid: int) -> bool:
        job = look(self.jobs, jobid)
        return job is None or (
            not isinstance(job, UnreadableJob) and self.is_known(job))

    def reanchor(self, now: float) -> None:
        """Let scheduled jobs count from a made-up ``now`` before their add.

        Cost: O(scheduled jobs).
        """
        for _, jobid in list(self.due.up()):
            job = look(self.jobs, jobid)
            if job is None or job.anchor is None or now >= job.anchor:
                continue
            when = job.next_run(now)
            if when is not None:
                self._schedule_at(job, when, anchor=None)

    def make_due_ready(self, now: float) -> None:
        """Make ready the jobs that are due, at most _DUE_BATCH of a kind."""
        limit = last_key(now)
        for lanes in (self.due, self.waiting):
            for key, jobid in self._due_entries(lanes, limit, _DUE_BATCH):
                lanes.pull(key)
                job = self.jobs.get(jobid)
                if job is not None:
                    self._make_ready(job, lanes is self.due, key, now)

    def _make_ready(self, job: Job, is_due: bool, key: int,
                    now: float) -> None:
        if states.is_final(job.status):
            return              # its status was assigned from outside
        if is_due and isinstance(job, CronJob) and job.recurring:
            self._come(job, key, now)
            return
        if is_due and job.tick is not None:
            self._begin_tick(job, None)
        job.put(anchor=None)
        self.enqueue(job)
