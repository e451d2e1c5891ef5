"""Settles what the code of a worker declares: schedules, and ages of jobs.

At the start of a worker, and again every ten seconds, for what was left to the
workers of another release: see store/declared.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.declaring.options import queue_of
from lovely.remotetask.declaring.scheduled import PREFIX
from lovely.remotetask.declaring.scheduled import RULE
from lovely.remotetask.declaring.scheduled import DeclaredSchedule
from lovely.remotetask.declaring.scheduled import as_changes
from lovely.remotetask.declaring.scheduled import check_schedule_key
from lovely.remotetask.declaring.scheduled import digest
from lovely.remotetask.declaring.scheduled import rule_of
from lovely.remotetask.declaring.scheduled import text_of
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.errors import UnreadableRecord
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.job import CronJob
from lovely.remotetask.peers import wakeup
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.schedule.plan import POLICIES
from lovely.remotetask.schedule.plan import planned
from lovely.remotetask.store import retention
from lovely.remotetask.store.copies import is_copied
from lovely.remotetask.store.declared import GONE
from lovely.remotetask.store.declared import LEAVE
from lovely.remotetask.store.declared import TAKE_OVER
from lovely.remotetask.store.declared import Record
from lovely.remotetask.store.declared import decide
from lovely.remotetask.store.declared import following
from lovely.remotetask.store.declared import note
from lovely.remotetask.store.declared import records
from lovely.remotetask.store.declared import said
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.states import is_final
from lovely.remotetask.task import kept_seconds
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

# How often (seconds) a worker looks again.
_LOOK_SECONDS = 10.0

# What else of a schedule is compared part by part; the rule counts as one, and
# so does what cannot be without the other.
_PARTS = (('task',), ('input',), ('priority',), ('queue',),
          ('missed', 'atMost'), ('deadline',), ('overlap',))
assert {*POLICIES} <= {name for part in _PARTS for name in part}

_USUAL = {'priority': 0, 'missed': 'once', 'overlap': 'skip'}


class Declared:
    """What the code of one worker declares, for its service."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._next = float('inf')
        # Key -> declaration, and the names of all tasks of this worker.
        self._wanted: dict[str, dict[str, Any]] = {}
        self._tasks: set[str] = set()
        # The keys of those that cannot be declared here.
        self._left_out: set[str] = set()
        # Since when (monotonic seconds) no worker knows the task of a key.
        self._unknown: dict[str, float] = {}
        # What was logged: each thing once.
        self._told: set[str] = set()

    def settle(self) -> None:
        """Let the service know what the code declares.

        A fault is logged, and keeps no job from running.
        Raises: ServiceGone.
        Txn: a snapshot, and where something is new, short ones of its own.
        """
        try:
            keeps = db.read(self._worker.database, self._find)
            if keeps:
                self._worker.executor.write(lambda service: (
                    retention.note_keeps(service.jobqueue, keeps)),
                    'remotetask declarations')
            self._look()
            for key, jobid in db.read(
                    self._worker.database, self._find_copied):
                self._tell(f'schedule {key} of the code was cancelled when '
                           f'this service was copied or imported: retryJob '
                           f'of job {jobid} lets it go on', log.warning)
        except ServiceGone:
            raise
        except Exception:
            log.exception('what the code of this worker declares could not be '
                          'settled; its jobs run all the same')
        self._next = SYSTEM_CLOCK.monotonic() + _LOOK_SECONDS

    def go_on(self) -> None:
        """Look again, if it is time; never raises."""
        if SYSTEM_CLOCK.monotonic() < self._next:
            return
        try:
            self._look()
        except ServiceGone:
            pass
        except Exception:
            trace.exception('the schedules of the code cannot be looked at')
        self._next = SYSTEM_CLOCK.monotonic() + _LOOK_SECONDS

    # -- what the code declares -----------------------------------------------

    def _find(self, connection: Connection) -> dict[str, float | None]:
        """Note what is declared; the ages that the service does not know."""
        executor = self._worker.executor
        service = executor.service(connection)
        with executor.host.running(service, None) as seen:
            tasks: dict[str, Any] = seen.getAvailableTasks()
            utilities = executor.host.tasks(seen, IDeclaredSchedule)
        self._tasks, self._wanted, self._left_out = set(tasks), {}, set()
        for key, one in (*((PREFIX + name, task)
                           for name, task in tasks.items()
                           if isinstance(task_option(task, 'schedule'),
                                         dict)),
                         *utilities.items()):
            try:
                self._declare(key, one, tasks)
            except RemoteTaskError as error:
                # Another worker may have the extra [cron].
                self._left_out.add(key)
                log.error('schedule %s of the code is left out: %s', key,
                          error)
        known = retention.keeps_of(service.jobqueue)
        keeps = {name: kept_seconds(task) for name, task in tasks.items()}
        return {name: seconds for name, seconds in keeps.items()
                if known.get(name) != seconds}

    def _declare(self, key: str, one: Any, tasks: dict[str, Any]) -> None:
        if not IDeclaredSchedule.providedBy(one):
            # A task, by its own option.  Registered by hand, its name was not
            # checked yet, nor the key of a schedule of its own.
            one = DeclaredSchedule(key.removeprefix(PREFIX), **one.schedule)
        check_schedule_key(key)
        path = show(self._worker.executor.path)
        if one.service is None or one.service.strip('/') == path.strip('/'):
            wanted = self._wanted[key] = dict(one.declaration)
            queue = queue_of(tasks.get(wanted['task']), None)
            if queue is not None:
                wanted['queue'] = queue

    def _says(self, queue: JobQueue) -> dict[str, str]:
        """What this worker says of each key: see store/declared.py."""
        found = {key: GONE for key, record in records(queue).items()
                 if record.declaration['task'] in self._tasks
                 and key not in self._left_out}
        return found | {key: digest(wanted)
                        for key, wanted in self._wanted.items()}

    # -- a look ---------------------------------------------------------------

    def _look(self) -> None:
        worker = self._worker
        if not db.read(worker.database, self._is_new):
            return
        mine = worker.executor.write(self._say, 'remotetask declarations')
        for key, digested in mine.items():
            self._take(key, digested)
        now = SYSTEM_CLOCK.monotonic()
        unknown = db.read(worker.database, self._find_unknown)
        self._unknown = {key: self._unknown.get(key, now) for key in unknown}
        for key, since in self._unknown.items():
            if now - since >= settings.GONE_SECONDS:
                self._take(key, GONE)

    def _is_new(self, connection: Connection) -> bool:
        """Is there any schedule of the code?"""
        service = self._worker.executor.service(connection)
        return bool(self._wanted or records(service.jobqueue))

    def _say(self, service: TaskService) -> dict[str, str]:
        """Write down what this worker says, where it is new."""
        queue = service.jobqueue
        mine = self._says(queue)
        record = queue.workers.get(self._worker.identity.id)
        # A worker that was retired enrolls anew, and says it in its next look.
        if record is not None and record.declares != mine:
            record.declares = mine
        return mine

    def _find_unknown(self, connection: Connection) -> list[str]:
        """The keys of which no worker that runs jobs says anything."""
        queue = self._worker.executor.service(connection).jobqueue
        return [key for key, record in records(queue).items()
                if record.digest != GONE and not said(queue, key)]

    def _find_copied(self, connection: Connection) -> list[tuple[str, int]]:
        """The keys of schedules that are cancelled in a copy, and their jobs.
        """
        service = self._worker.executor.service(connection)
        found = ((key, service.jobqueue.uniques.holder(key, service.jobs))
                 for key in self._wanted)
        return [(key, job.id) for key, job in found
                if job is not None and is_copied(job)]

    # -- one schedule ---------------------------------------------------------

    def _take(self, key: str, digested: str) -> None:
        """Let what this worker says of a key hold, if it may.

        Txn: a snapshot, and where it is new, one of its own.
        """
        worker, host = self._worker, self._worker.executor.host

        def verdict(service: TaskService) -> str:
            queue = service.jobqueue
            return decide(records(queue).get(key), digested,
                          said(queue, key, worker.identity.id))

        def apply(service: TaskService) -> tuple[str, bool] | None:
            if verdict(service) != TAKE_OVER:
                return None
            with host.running(service, None) as seen:
                return _Schedule(seen, key).settle(
                    digested, self._wanted.get(key))

        found = db.read(worker.database, lambda connection: verdict(
            worker.executor.service(connection)))
        if found == LEAVE:
            self._tell(f'schedule {key} of the code stays as a worker of '
                       f'another release declares it, for that one came later')
        if found != TAKE_OVER:
            return
        try:
            ended = worker.executor.write(apply, 'remotetask declarations')
        except ServiceGone:
            raise
        except Exception as error:
            self._tell(f'schedule {key} of the code cannot be settled: '
                       f'{describe(error)}', log.error)
            return
        if ended is None:
            return
        told, holds = ended
        if holds:
            log.info('schedule %s of the code %s', key, told)
            wakeup.notify(worker.home)
        else:
            self._tell(f'schedule {key} of the code {told}')

    def _tell(self, text: str, say: Any = log.info) -> None:
        if text not in self._told:
            self._told.add(text)
            say('%s', text)


class _Schedule:
    """One schedule of the code, in the current transaction."""

    def __init__(self, service: TaskService, key: str) -> None:
        self._service, self._key = service, key
        self._queue: JobQueue = service.jobqueue
        self._record = records(self._queue).get(key)
        found = self._queue.uniques.holder(key, service.jobs)
        if isinstance(found, UnreadableJob):
            raise UnreadableRecord(found.id, str(found.error))
        self._job = (found if isinstance(found, CronJob) and found.recurring
                     and not is_final(found.status) else None)
        self._copied = is_copied(found)

    def settle(self, digested: str, wanted: dict[str, Any] | None
               ) -> tuple[str, bool]:
        """Let this declaration hold.

        Not where the schedule is over: it is to hold once that is retried.
        Returns: what has become of it, and whether it holds.
        """
        record, job = self._record, self._job
        after = following(record, digested, wanted)
        if wanted is None:
            after, told = self._pause(after)
        elif record is None and job is None:
            jobid = self._add(wanted)
            told = f'was added as job {jobid}: {text_of(wanted)}'
        elif job is None:
            return ('is cancelled in this copy' if self._copied else
                    'was ended by a person, and stays so: add it with that '
                    'key to have it again'), False
        else:
            told = '; '.join(self._change(job, record, wanted))
        note(self._queue, self._key, after)
        return told, True

    def _pause(self, after: Record) -> tuple[Record, str]:
        job = self._job
        if job is None:
            return after, 'is no longer declared; it has ended before'
        if not job.enabled:
            return after, 'is no longer declared; a person has paused it'
        after = after._replace(paused=True, due=job.due_at())
        self._service.pauseCronJob(job.id)
        return after, (f'is no longer declared: job {job.id} is paused; '
                       f'cancel it if it is not to come back')

    def _add(self, wanted: dict[str, Any]) -> int:
        times = {name: value for name, value in wanted.items()
                 if name not in ('task', 'input', 'priority')}
        jobid: int = self._service.addCronJob(
            wanted['task'], wanted['input'], key=self._key,
            onDuplicate='error', priority=wanted['priority'], **times)
        return jobid

    def _change(self, job: CronJob, record: Record | None,
                wanted: dict[str, Any]) -> list[str]:
        """Change what the code has changed, and no person has.

        Returns: what was done, a text for each.
        """
        told: list[str] = []
        changes: dict[str, Any] = {}
        # One that a person has added with that key is theirs.
        before = {} if record is None else record.declaration
        stored = _stored(job)
        if rule_of(wanted) != rule_of(before):
            if rule_of(stored) == rule_of(before):
                changes |= as_changes(wanted)
                told.append(f'was changed: {text_of(rule_of(wanted))}')
            elif rule_of(stored) != rule_of(wanted):
                told.append(f'keeps the times that a person gave it '
                            f'({text_of(rule_of(stored))})')
        for part in _PARTS:
            new, old, now = ([one.get(name, _USUAL.get(name)) for name in part]
                             for one in (wanted, before, stored))
            if new == old:
                continue
            if now == old:
                changes |= zip(part, new, strict=True)
                told += [f'was changed: {name}={one!r:.80}' for name, one, was
                         in zip(part, new, old, strict=True) if one != was]
            elif now != new:
                told.append(f'keeps the {part[0]} that a person gave it')
        if changes:
            self._service.editCronJob(job.id, **changes)
        if record is not None and record.paused and not job.enabled:
            self._service.resumeCronJob(job.id)
            self._make_up(job, record)
            told.append('is declared again, and goes on')
        return told or ['was known already']

    def _make_up(self, job: CronJob, record: Record) -> None:
        """Let a time come that has passed while no worker had the task.

        As if there had been no worker at all: ``missed`` says what becomes of
        it.
        """
        now = self._service.clock.now()
        if (record.due is not None
                and now - settings.MISSING_GIVE_UP < record.due <= now
                and rule_of(_stored(job)) == rule_of(record.declaration)):
            self._queue.let_come(job, time_key(record.due))


def _stored(job: CronJob) -> dict[str, Any]:
    """A schedule as a declaration that would give it."""
    found = {name: list(job.coming(name)) for name in RULE[:5]
             if job.coming(name)}
    if job.coming('delay') is not None:
        found['delay'] = job.coming('delay')
    return {'task': job.coming('task'), 'input': job.coming('input'),
            'priority': job.coming('priority') or 0,
            'queue': job.coming('queue'),
            **found, **planned(job.coming('plan'))}
