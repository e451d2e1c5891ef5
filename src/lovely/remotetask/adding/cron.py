"""Adds cron jobs, and changes the one that has the key already."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import payload
from lovely.remotetask.adding import jobs
from lovely.remotetask.bounds import shown
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import ON_DUPLICATE_CRON
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.log import log
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.states import is_final
from lovely.remotetask.store.uniques import check_key

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

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
    _check_times(service, wanted)
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
                return _update(
                    service, holder, wanted, input, priority,
                    jobs.find_submitter(service, service.host, runAs))
            if onDuplicate == 'keep':
                _tell_difference(service, holder, wanted)
    return jobs.add_one(
        service, task, input, make, place, priority, key,
        'keep' if onDuplicate == 'update' else onDuplicate, runAs)


def change_cron(service: TaskService, job: CronJob, task: str, input: Any,
                times: dict[str, Any], delay: float | None) -> None:
    """Give a cron job another task, input or schedule.

    It keeps its priority, and the principal as whom it runs.
    Arguments: ``times``, the five fields by their names.
    Raises: as ``add_cron``; InvalidTransition for a job that is over.
    """
    wanted = CronJob(0, task, None, **times, delay=delay)
    _check_times(service, wanted)
    if is_final(job.status):
        raise InvalidTransition(job.id, str(job.status), CRONJOB)
    _update(service, job, wanted, input, job.priority, job.submitter)


def _check_times(service: TaskService, wanted: CronJob) -> None:
    if wanted.next_run(service.clock.now()) is None:
        raise InvalidSchedule(
            'no schedule: give at least one of minute, hour, dayOfMonth, '
            'month, dayOfWeek, or a delay')


def _update(service: TaskService, job: Job, wanted: CronJob, input: Any,
            priority: int, submitter: str | None) -> int:
    """Let a job be as the one that was asked for.

    What does not differ is not written: that would undo a run.
    """
    if isinstance(job, UnreadableJob) or not isinstance(job, CronJob):
        raise DuplicateJob(job.key, job.id)
    queue, jar, host = service.jobqueue, caller.jar_of(service), service.host
    queue.check_owned(job)
    _, task = jobs.check_task(service, wanted.task, priority)
    packed, size = jobs.check_input(task, wanted.task, input, jar, host)
    values = {name: value or None for name, value in (
        ('task', wanted.task), ('priority', priority),
        ('submitter', submitter)) if getattr(job, name) != value}
    if not _is_same(job.input, packed):
        values['input'] = payload.wrap(packed, size)
    if values:
        job.put(**values)
        if 'input' in values:
            jobs.mark_input_at_commit(jar, job)
            if packed is input:
                jobs.check_input_at_commit(service, task, jar, job)
    if _times(job) != _times(wanted):
        job.update(**_named(wanted), delay=wanted.delay)
        queue.schedule(job, service.clock.now())
    elif not values:
        # As where it is kept: see adding/jobs.py.
        caller.read_current(jar, job)
        return job.id
    notify_after_commit(service, jar)
    return job.id


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
    return dict(zip(('minute', 'hour', 'dayOfMonth', 'month', 'dayOfWeek'),
                    job.fields(), strict=True))
