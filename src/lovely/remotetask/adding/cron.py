"""Adds cron jobs, and changes the one that has the key already."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import payload
from lovely.remotetask.adding import jobs
from lovely.remotetask.adding import steering
from lovely.remotetask.bounds import shown
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ON_DUPLICATE_CRON
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.log import log
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.schedule import FIELDS
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.states import is_final
from lovely.remotetask.store.uniques import check_key
from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

#: What ``editCronJob`` can change.
_CHANGES = ('task', 'input', *FIELDS, 'delay', 'priority', 'runAs')

_KEEP = object()

# What was logged by this process: (oid of the service, key, schedule).
_told: set[Any] = set()
_MOST_TOLD = 10_000


def add_cron(service: TaskService, given: Any, input: Any,
             times: dict[str, Any], delay: float | None, priority: int,
             key: Any, onDuplicate: Any, runAs: Any,
             enabled: Any = True) -> int:
    """Add a cron job; see ITaskService.addCronJob.

    Arguments: ``given``, the task; ``times``, the five fields by their names.
    """
    def make(jobid: int, task: str, input: Any) -> CronJob:
        return CronJob(jobid, task, input, **times, delay=delay)

    def place(queue: JobQueue, job: Job, number: int) -> None:
        queue.schedule(job, service.clock.now())
        if not enabled:
            queue.pause_schedule(job)

    task, _ = jobs.check_task(service, given, priority)
    # Tried out first: a schedule that never occurs must not draw an id.
    wanted = make(0, task, None)
    check_occurs(service, wanted)
    if type(enabled) is not bool:
        raise UsageError(f'enabled is {shown(enabled)}; give True or False')
    if not enabled and delay is not None:
        raise UsageError('enabled=False needs a schedule, and a delay is none:'
                         ' add(..., startLater=True) adds a job that waits')
    if onDuplicate not in ON_DUPLICATE_CRON:
        raise UsageError(f'onDuplicate is {shown(onDuplicate)}; one of '
                         f'{", ".join(map(repr, ON_DUPLICATE_CRON))}')
    if key is not None or onDuplicate != 'keep':
        check_key(key)
        holder = service.jobqueue.uniques.holder(key, service.jobs)
        if holder is not None and not is_final(holder.status):
            if onDuplicate == 'update':
                return _update(service, holder, wanted, input, priority,
                               runAs)
            if onDuplicate == 'keep':
                _tell_difference(service, holder, wanted)
    return jobs.add_one(
        service, task, input, make, place, priority, key,
        'keep' if onDuplicate == 'update' else onDuplicate, runAs)


def check_occurs(service: TaskService, job: CronJob) -> None:
    """Raise InvalidSchedule for a cron job that would never run."""
    if job.next_run(service.clock.now()) is None:
        raise InvalidSchedule(
            'no schedule: give at least one of minute, hour, dayOfMonth, '
            'month, dayOfWeek, or a delay')


def edit_cron(service: TaskService, jobid: Any, changes: dict[str, Any]
              ) -> None:
    """See ITaskService.editCronJob"""
    unknown = sorted(changes.keys() - _CHANGES)
    if unknown:
        raise UsageError(f'{unknown[0]!r:.80} of a cron job cannot be '
                         f'changed; there are {", ".join(_CHANGES)}')
    job = steering.schedule_of(service, jobid, or_delay=True)
    if not changes:
        return
    priority = changes.get('priority', job.coming('priority'))
    name = job.coming('task')
    if 'task' in changes:
        name, _ = jobs.check_task(service, changes['task'], priority)
    wanted = CronJob(0, name, None, **_new_times(job, changes))
    check_occurs(service, wanted)
    if job.status == PROCESSING and not (job.recurring and wanted.recurring):
        raise InvalidTransition(job.id, PROCESSING, DELAYED)
    submitter = (jobs.find_submitter(service, service.host, changes['runAs'])
                 if 'runAs' in changes else job.coming('submitter'))
    _change(service, job, wanted, changes.get('input', _KEEP),
            priority, submitter)


def _new_times(job: CronJob, changes: dict[str, Any]) -> dict[str, Any]:
    """Fields and delay, of which the one takes the place of the other."""
    given = {name: changes[name] for name in (*FIELDS, 'delay')
             if name in changes}
    times = {name: job.coming(name) for name in (*FIELDS, 'delay')}
    if given.get('delay') is not None:
        times = dict.fromkeys(FIELDS, ())
    elif given:
        times['delay'] = None
    return {**times, **given}


def _update(service: TaskService, job: Job, wanted: CronJob, input: Any,
            priority: int, runAs: Any) -> int:
    """Let a job be as the one that was asked for."""
    if isinstance(job, UnreadableJob) or not isinstance(job, CronJob):
        raise DuplicateJob(job.key, job.id)
    _change(service, job, wanted, input, priority,
            jobs.find_submitter(service, service.host, runAs))
    return job.id


def _change(service: TaskService, job: CronJob, wanted: CronJob, input: Any,
            priority: int, submitter: str | None) -> None:
    """Change what differs; to write more would undo a run.

    Arguments: ``input``, _KEEP: as it is.
    """
    queue, jar, host = service.jobqueue, caller.jar_of(service), service.host
    queue.check_owned(job)
    jobs.check_priority(priority)
    values: dict[str, Any] = {
        key: value for key, value in (
            ('task', wanted.task), ('priority', priority),
            ('submitter', submitter)) if job.coming(key) != value}
    noted, stays = job.coming('shows'), input is _KEEP
    if stays and 'task' in values:
        # It stays, and has to fit the other task.
        input = host.unpack(service, job.coming('input'))
    task, packed = None, input
    if input is not _KEEP:
        _, task = jobs.check_task(service, wanted.task, priority)
        packed, size = jobs.check_input(task, wanted.task, input, jar, host)
        if not _is_same(job.coming('input'), packed):
            values['input'] = payload.wrap(packed, size)
        shows = shown_keys(task)
        if stays and noted is not None:
            # What the one task has hidden, the other must not show.
            shows = tuple(key for key in noted if shows is None
                          or key in shows)
        if noted != shows:
            values['shows'] = shows
    values |= {key: getattr(wanted, key) for key in (*FIELDS, 'delay')
               if job.coming(key) != getattr(wanted, key)}
    if not values:
        # As where it is kept: see adding/jobs.py.
        caller.read_current(jar, job)
        return
    queue.edit_schedule(job, values, service.clock.now())
    if 'input' in values:
        jobs.mark_input_at_commit(jar, job)
        if packed is input:
            jobs.check_input_at_commit(service, task, jar, job)
    notify_after_commit(service, jar)


def _is_same(stored: Any, given: Any) -> bool:
    try:
        return type(stored) is type(given) and bool(stored == given)
    except Exception:
        return False            # an array, for instance


def _times(job: CronJob) -> Any:
    return job.delay, job.delay is None and job.fields()


def _tell_difference(service: TaskService, job: Job,
                     wanted: CronJob) -> None:
    """Log a schedule that is not taken, once in each process."""
    if isinstance(job, CronJob):
        if _times(job) == _times(wanted):
            return
        known = f'its schedule {_text(job)}'
    else:
        known = 'no schedule'
    told = service._p_oid, job.key, _text(wanted)
    if told in _told or len(_told) >= _MOST_TOLD:
        return
    _told.add(told)
    log.warning("cron job %s with the key %.200r keeps %s; addCronJob has "
                "asked for %s: give onDuplicate='update' to change it",
                job.id, job.key, known, _text(wanted))


def _text(job: CronJob) -> str:
    if job.delay is not None:
        return f'delay={job.delay:g}'
    return ', '.join(
        f'{name}={value}' for name, value in _named(job).items() if value)


def _named(job: CronJob) -> dict[str, Any]:
    return dict(zip(FIELDS, job.fields(), strict=True))
