"""Jobs that run again: when their next run is due, and what its time brings.

::

                   its time comes                    the run ends
      cronjob ------------------------> queued ... ---------------+
       ^  ^  |                            ^  |                    |
       |  |  | it was missed:             |  | overlap:           |
       |  +--+ skip, deadline             |  | skip, queue: stays |
       |                                  |  | cancel: anew       |
       |                                  +--+ allow: + a job     |
       +----------------------------------------------------------+

The record of a schedule is the job that runs.  Times that are still owed, by
``missed='all'`` or ``overlap='queue'``, are two numbers, however many there
are: the rule tells those between.  While times are owed, its entry in ``due``
is the moment at which a claim looks whether the run has ended.  The end of a
run cannot let the next one come: it does not see what was owed meanwhile, and
to write that record would undo the run.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.edge.losses import refuse_disowned
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors.bounds import NEVER
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.fields.next_run import NextRun
from lovely.remotetask.fields.runs import SKIPPED
from lovely.remotetask.fields.runs import LatestRuns
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.schedule import zones
from lovely.remotetask.store.local import local
from lovely.remotetask.store.order import ready_time
from lovely.remotetask.store.places import is_at_front
from lovely.remotetask.store.resting import Resting
from lovely.remotetask.store.workers import DIRECT_SLOT

# By how much (seconds) the clocks of two machines may differ.
_SKEW = 300.0

# By how much (seconds) a run may begin early, see last_key.
_EARLY = 0.002

# How long (seconds) after the begin of a run it is looked for its end, where
# more of them are owed; where none has begun; and at the longest.
_SOON = 0.05
_LOOK = 1.0
LONGEST_LOOK = 60.0

# The schedules of which this process has logged that it cannot tell them.
_told: set[tuple[int, str]] = set()
_MOST_TOLD = 1000


class Recurring(Resting):
    """Knows the times of jobs that run again, and lets them come."""

    # -- the next time --------------------------------------------------------

    def _after(self, tick: int, now: float) -> float:
        """The moment after which the run comes that follows ``tick``.

        A run may begin up to a millisecond early, see last_key, and the clock
        of its worker may be before ours.  One that ran later than that did so
        by a clock that was wrong.
        """
        began = key_time(tick)
        return max(now, began) if began < now + _SKEW else now

    def _due_key(self, job: Job) -> int | None:
        """The key of a recurring job in ``due``, or None.

        Cost: O(1); O(scheduled jobs) where its NextRun is lost.
        """
        key = job.next_key()
        if key is None and job.next is not None:
            key = next((found for found, jobid in self.due.up()
                        if jobid == job.id), None)
        return key

    def _note_next(self, job: Job, key: int,
                   enabled: bool | None = None) -> None:
        """Note a recurring job's next run, without writing the job.

        Arguments: ``enabled``: does its schedule run?  None: as before.
        """
        note, before = job.next, self._due_key(job)
        if note is None or job.next_key() is None:
            note = NextRun(0)
            job.put(next=note)
        elif note._p_jar is not self._p_jar:
            refuse_disowned(note, self)
        if before is not None:
            self.due.discard(before, job.id)
        if enabled is not None:
            note.enabled = enabled
        if not note.enabled:
            key = time_key(NEVER)
        note.key = self.due.insert(key, job.id)
        note.offset = _offset(job, key) if note.enabled else None

    def in_its_zone(self, job: Job, due: float) -> float:
        """When a time comes that was noted (seconds since 1970).

        The rules of its time zone may have changed since then: it is the
        moment at which the clock there shows what it was to show.
        """
        before = job.of_next('offset', None)
        if before is None or job.of_next('owed', None):
            return due
        where = zones.zone(_zone(job))
        if zones.offset(where, due) == before:
            return due
        return float(zones.moment(where, int(due + before)))

    def _unnote_next(self, job: Job) -> None:
        if getattr(job, 'next', None) is not None:
            key = self._due_key(job)
            if key is not None:
                self.due.discard(key, job.id)
            job.put(next=None)

    def is_replaced(self, job: Job) -> bool:
        """Has another job got the key of this one while it ran?

        A schedule that has lost its key ends: a replace does not write a job
        that runs, for that would undo its work.
        """
        return job.key is not None and not self.uniques.has(job.key, job.id)

    def is_known(self, job: Job) -> bool:
        """Can this process tell when a schedule runs?  Logs once if not.

        Without its time zone, or the extra [cron], it leaves the schedule to
        workers that have them: it must not keep the other jobs from running.
        """
        if not isinstance(job, CronJob) or not job.coming('plan'):
            return True
        try:
            job.rule.check_known()
        except (InvalidSchedule, ConfigurationError) as error:
            told = job.id, str(error)
            if told not in _told and len(_told) < _MOST_TOLD:
                _told.add(told)
                log.warning('job %s is left to other workers: this one cannot '
                            'tell when it runs: %s', *told)
            return False
        return True

    # -- a time comes ---------------------------------------------------------

    def _come(self, job: CronJob, key: int, now: float) -> None:
        """Let a time of a schedule come, and note the one after it."""
        due = self.in_its_zone(job, key_time(key))
        if due > now + _EARLY:
            self._note_next(job, time_key(due))
            return
        if job.status != CRONJOB:
            self._overlap(job, due, key, now)
            return
        if self.is_replaced(job):
            # At the moment at which its run ended.
            self._unnote_next(job)
            self.put_in(job, 'cancelled', time_key(SYSTEM_CLOCK.now()),
                        status=self._move(job, CANCELLED))
            return
        policy, owed = job.policy, job.of_next('owed', None)
        busy = self._busy_until(job, now)
        if policy.overlap == 'queue' and (owed or due < busy):
            owed = (owed[0], max(owed[1], busy)) if owed else (due, busy)
        elif policy.overlap == 'skip' and not owed and due < busy:
            following = job.next_run(busy)
            if following is not None:
                due, key = following, time_key(following)
                if due > now + _EARLY:
                    self._note_next(job, key)
                    return
        times = (policy.in_time(job.next_run, owed, now) if owed else
                 policy.made_up(job.next_run, due, now))
        when = job.next_run(owed[1] if owed else self._after(key, now))
        if when is None:
            # Its fields were assigned one by one: they name a date that
            # never comes, or all are empty.
            job.put(next=None)
            failure = Failure(
                'InvalidSchedule', 'its schedule never occurs', '',
                job.attempts, now)
            self.log(job, ERROR, DIRECT_SLOT, now, completedAt=now,
                     error=tuple(failure), status=self._move(job, ERROR))
            return
        if times is None:
            self._note_next(job, time_key(when))
            self._owe(job, None)
            since = owed[0] if owed else due
            self._note(job, now, 0.0, SKIPPED, (
                f'it was due at {as_utc(since):%Y-%m-%d %H:%M} UTC'))
            return
        first, last = times
        rest = job.next_run(first) if first < last else None
        owed = None if rest is None or rest > last else (rest, last)
        self._note_next(job, time_key(when if owed is None else now + _SOON))
        self._owe(job, owed)
        self._begin_tick(job, key if first == due else time_key(first))
        job.put(anchor=None)
        self.enqueue(job)

    def _overlap(self, job: CronJob, due: float, key: int,
                 now: float) -> None:
        """Let a time come while a run of the schedule waits or goes on."""
        # One that has lost its key ends with this run.
        ends = self.is_replaced(job)
        owed = job.of_next('owed', None)
        if not ends and (owed or job.overlap == 'queue'):
            if job.overlap == 'queue':
                self._owe(job, (owed[0] if owed else due, max(due, now)))
            # The end of the run cannot tell: it has not seen this.
            self._note_next(job, time_key(now + self._pause(job, now)))
            return
        when = job.next_run(self._after(key, now))
        if when is not None:
            self._note_next(job, time_key(when))
        if ends:
            return
        if job.overlap == 'allow' and job.status == PROCESSING:
            # One that still waits for a thread is this run: others beside it
            # would wait, too.
            self._add_run(job, key, now)
        elif job.overlap == 'cancel':
            self._begin_anew(job, key, now)

    def _busy_until(self, job: CronJob, now: float) -> float:
        """When the latest run of a schedule has ended (seconds since 1970).

        A time before that has come amid it: whether a thread was free to see
        that makes no difference.
        Returns: 0 where none has, or by a clock that was wrong.
        """
        ended = job.completedAt
        seconds = 0.0 if ended is None else ended.timestamp()
        return seconds if seconds <= now else 0.0

    def _pause(self, job: CronJob, now: float) -> float:
        """How long (seconds) until the next look for the end of a run."""
        name, key = job.position or ('', 0)
        if name == 'missing':
            return LONGEST_LOOK
        if name == 'waiting':
            return min(max(key_time(key) - now, _LOOK), LONGEST_LOOK)
        began = job.startedAt
        if job.status == PROCESSING and began is not None:
            return min(max((now - began.timestamp()) / 8, _SOON),
                       LONGEST_LOOK)
        if is_at_front(job.position):
            # Each look is a commit, and behind a limit, or in a queue that
            # rests, it may wait for days.  Both moments are of this clock.
            since = ready_time((name == 'barred' and job.ready_key) or key)
            return min(max((SYSTEM_CLOCK.now() - since) / 8, _LOOK),
                       LONGEST_LOOK)
        return _LOOK

    def _add_run(self, job: CronJob, key: int, now: float) -> None:
        """Add a job that does what the schedule does, beside its run."""
        run = Job.__new__(Job)
        run.put(id=self.jobs.draw_id(local(self.jobs), self.jobs.end - 1),
                task=job.coming('task'), createdAt=now,
                priority=job.coming('priority') or None,
                submitter=job.coming('submitter'), shows=job.coming('shows'),
                schedule=job.id, tick=key, **{
                    name: job.kept(name)
                    for name in ('input', 'retry', 'ownPolicy', 'timeout',
                                 'queue', 'concurrencyKey', 'edges')})
        self.jobs[run.id] = run
        self.enqueue(run)

    def _begin_anew(self, job: CronJob, key: int, now: float) -> None:
        """Cancel the run of a schedule, and begin the next one."""
        before = job.queue, job.concurrencyKey
        self._begin_tick(job, key)
        if is_at_front(job.position) and (
                before == (job.queue, job.concurrencyKey)):
            # It keeps its place: behind all others it might never run.
            return
        if job.status == PROCESSING:
            self._note_end(job, CANCELLED, now, None)
        job.put(claim=None, rests=None, missing_since=None, anchor=None,
                interruptions=None, conflicts=None, stops=None)
        self.enqueue(job)

    def _begin_tick(self, job: Job, key: int | None) -> None:
        """Let a scheduled run begin: what was counted is of another one."""
        job.put(tick=key, attempts=None, failures=None, checkpoint=None)
        self._take_edit(job)

    def _take_edit(self, job: Job) -> None:
        """Let a job be as it was edited while it ran."""
        edit = job.of_next('edit', {})
        if edit and job.next is not None:
            job.put(**edit)
            job.next.edit = {}

    # -- a run ends -----------------------------------------------------------

    def _goes_on(self, job: Job) -> bool:
        """Does a schedule go on when a run of this job has ended?"""
        return (job.recurring and job.next is not None
                and not self.is_replaced(job))

    def _note_end(self, job: Job, outcome: str, now: float,
                  failure: Any) -> None:
        began = job.startedAt
        seconds = 0.0 if began is None else max(0.0, now - began.timestamp())
        self._note(job, now, seconds, outcome,
                   failure and f'{failure[0]}: {failure[1]}')

    def _note(self, job: Job, now: float, seconds: float, outcome: str,
              error: str | None) -> None:
        if job.ends is not None:
            # A record that is lost must not keep a run from its end.
            with suppress(*UNREADABLE):
                job.ends.note(now, seconds, outcome, error)
                return
        job.put(ends=LatestRuns())
        job.ends.note(now, seconds, outcome, error)

    # -- what is owed ---------------------------------------------------------

    def _owe(self, job: Job, times: tuple[float, float] | None) -> None:
        if job.of_next('owed', None) != times and job.next is not None:
            job.next.owed = times


def _zone(job: Job) -> str:
    """The time zone of the next run of a schedule."""
    plan = job.coming('plan') if isinstance(job, CronJob) else None
    name: str = (plan or {}).get('timezone', 'UTC')
    return name


def _offset(job: Job, key: int) -> int | None:
    """How far the clock of a schedule's zone is before UTC at a key of due.

    Returns: None for UTC.
    """
    name = _zone(job)
    if name == 'UTC':
        return None
    return zones.offset(zones.zone(name), key_time(key))
