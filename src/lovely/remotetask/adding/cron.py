"""Adds cron jobs, and changes the one that has the key already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import payload
from lovely.remotetask.adding import checks
from lovely.remotetask.adding import following
from lovely.remotetask.adding import jobs
from lovely.remotetask.adding import steering
from lovely.remotetask.adding.keys import check_key_options
from lovely.remotetask.adding.options import Options
from lovely.remotetask.adding.options import check_concurrency_key
from lovely.remotetask.adding.options import check_priority
from lovely.remotetask.adding.options import check_retry
from lovely.remotetask.adding.options import check_timeout
from lovely.remotetask.adding.options import find_submitter
from lovely.remotetask.declaring.options import queue_of
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ON_DUPLICATE_CRON
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.plan import PLANNED
from lovely.remotetask.schedule.plan import POLICIES
from lovely.remotetask.schedule.plan import TIMES
from lovely.remotetask.schedule.plan import continued
from lovely.remotetask.schedule.plan import planned
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.states import is_final
from lovely.remotetask.store.uniques import check_key
from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

#: What ``editCronJob`` can change.
_CHANGES = ('task', 'input', *FIELDS, 'delay', *PLANNED, 'priority', 'runAs',
            'retry', 'timeout', 'queue', 'concurrencyKey')

# Each of these takes the place of the others, and of the fields.
_RULES = ('delay', 'cron', 'every', 'at')

_KEEP = object()

# What was logged by this process: (oid of the service, key, schedule).
_told: set[Any] = set()
_MOST_TOLD = 10_000


def add_cron(service: TaskService, given: Any, input: Any,
             times: dict[str, Any], options: Options, enabled: Any = True
             ) -> int:
    """Add a cron job; see ITaskService.addCronJob.

    Arguments: ``given``, the task; ``times``, what says when it runs, by the
    names of the arguments.
    """
    def make(jobid: int, task: str, input: Any) -> CronJob:
        return _timed(service, CronJob(jobid, task, input), times)

    def place(queue: JobQueue, job: Job, number: int) -> None:
        queue.schedule(job, service.clock.now())
        if not enabled:
            queue.pause_schedule(job)

    task, _ = checks.check_task(service, given)
    check_priority(options.priority)
    key, onDuplicate = options.key, options.onDuplicate
    # Tried out first: a schedule that never occurs must not draw an id.
    wanted = make(0, task, None)
    check_occurs(service, wanted)
    if type(enabled) is not bool:
        raise UsageError(f'enabled is {shown(enabled)}; give True or False')
    if not enabled and not wanted.recurring:
        raise UsageError('enabled=False needs a schedule, and a delay is none:'
                         ' add(..., startLater=True) adds a job that waits')
    check_key_options(options, onDuplicate=ON_DUPLICATE_CRON)
    if key is not None:
        check_key(key)
        holder = service.jobqueue.uniques.holder(key, service.jobs)
        if holder is not None and not is_final(holder.status):
            if onDuplicate == 'update':
                return _update(service, holder, wanted, input, options)
            if onDuplicate == 'keep':
                _tell_difference(service, holder, wanted)
    if onDuplicate == 'update':
        options = options._replace(onDuplicate='keep')
    return jobs.add_one(service, task, input, make, place, options)


def _timed(service: TaskService, job: CronJob, times: dict[str, Any]
           ) -> CronJob:
    job.update(**times)
    if job.every is not None:
        job.plan = {**(job.plan or {}), 'since': service.clock.now()}
    return job


def check_occurs(service: TaskService, job: CronJob) -> None:
    """Raise InvalidSchedule for a cron job that would never run."""
    if job.next_run(service.clock.now()) is not None:
        return
    if job.cron is not None:
        raise InvalidSchedule(f'cron {job.cron!r} never occurs')
    if job.at is not None:
        raise InvalidSchedule(f'at={job.at} has passed: add() runs a job now')
    if any(job.fields()):
        raise InvalidSchedule(f'the schedule {_text(job)} never occurs')
    raise InvalidSchedule(
        'no schedule: give at least one of minute, hour, dayOfMonth, month, '
        'dayOfWeek, or one of cron, every, at, delay')


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
        name, _ = checks.check_task(service, changes['task'])
    wanted = _timed(service, CronJob(0, name, None), _new_times(job, changes))
    check_occurs(service, wanted)
    if job.status == PROCESSING and not (job.recurring and wanted.recurring):
        raise InvalidTransition(job.id, PROCESSING, DELAYED)
    kept: dict[str, Any] = {'priority': priority}
    if 'runAs' in changes:
        kept['submitter'] = find_submitter(
            service, service.host, changes['runAs'])
    if 'retry' in changes:
        kept |= check_retry(service, changes['retry'])
    if 'timeout' in changes:
        kept['timeout'] = check_timeout(changes['timeout'])
    if 'queue' in changes:
        kept['queue'] = queue_of(service._task(name), changes['queue'])
    if 'concurrencyKey' in changes:
        kept['concurrencyKey'] = check_concurrency_key(
            changes['concurrencyKey'])
    _change(service, job, wanted, changes.get('input', _KEEP), kept)


def _new_times(job: CronJob, changes: dict[str, Any]) -> dict[str, Any]:
    """What says when it runs: of the rules, the one that is given."""
    given = {name: value for name, value in changes.items()
             if name in (*FIELDS, 'delay', *PLANNED)}
    times = {name: job.coming(name) for name in (*FIELDS, 'delay')}
    times |= planned(job.coming('plan'))
    rules = [name for name in _RULES if given.get(name) is not None]
    by_fields = any(given.get(name) for name in FIELDS)
    if rules or by_fields:
        times |= dict.fromkeys(_RULES)
    if rules:
        times |= dict.fromkeys(FIELDS, ())
    if 'delay' in rules or 'every' in rules:
        times.pop('timezone', None)     # they ask no clock
    if 'delay' in rules or 'at' in rules:
        times = {name: value for name, value in times.items()
                 if name not in POLICIES}
    return {**times, **given}


def _update(service: TaskService, job: Job, wanted: CronJob, input: Any,
            options: Options) -> int:
    """Let a job be as the one that was asked for."""
    if isinstance(job, UnreadableJob) or not isinstance(job, CronJob):
        raise DuplicateJob(job.key, job.id)
    _change(service, job, wanted, input, {
        'priority': options.priority,
        'submitter': find_submitter(service, service.host, options.runAs),
        **check_retry(service, options.retry),
        'timeout': check_timeout(options.timeout),
        'queue': queue_of(service._task(wanted.task), options.queue),
        'concurrencyKey': check_concurrency_key(options.concurrencyKey)},
        following.edges_of(service, options.onSuccess, options.onFailure,
                           None))
    return job.id


def _change(service: TaskService, job: CronJob, wanted: CronJob, input: Any,
            kept: dict[str, Any], edges: Any = _KEEP) -> None:
    """Change what differs; to write more would undo a run.

    Arguments: ``input``, ``edges``, _KEEP: as they are; ``kept``, of the
    options, attributes as ``put`` takes them.
    """
    queue, jar, host = service.jobqueue, caller.jar_of(service), service.host
    queue.check_owned(job)
    check_priority(kept['priority'])
    values: dict[str, Any] = {
        key: value for key, value in kept.items()
        if (job.coming(key) if key == 'priority' else job.kept(key)) != value}
    if job.coming('task') != wanted.task:
        values['task'] = wanted.task
    if edges is not _KEEP and not following.is_same(
            edges, job.coming('edges')):
        values['edges'] = edges
    noted, stays = job.coming('shows'), input is _KEEP
    if stays and 'task' in values:
        # It stays, and has to fit the other task.
        input = host.unpack(service, job.coming('input'))
    task, packed = None, input
    if input is not _KEEP:
        _, task = checks.check_task(service, wanted.task)
        packed, size = checks.check_input(task, wanted.task, input, jar, host)
        if not _is_same(job.coming('input'), packed):
            values['input'] = payload.wrap(packed, size)
        shows = shown_keys(task)
        if noted is not None and (stays or _has_hidden(
                job.coming('input'), input, noted)):
            # What the task has hidden, another one must not show, nor the
            # same one that shows more by now.
            shows = tuple(key for key in noted if shows is None
                          or key in shows)
        if noted != shows:
            values['shows'] = shows
    wanted.plan = continued(wanted.plan, job.coming('plan'))
    values |= {key: getattr(wanted, key) for key in TIMES
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


def _has_hidden(stored: Any, given: Any, noted: Any) -> bool:
    """Does an input have again what was hidden of the one before?"""
    return isinstance(stored, Mapping) and isinstance(given, Mapping) and any(
        name in given and _is_same(stored[name], given[name])
        for name in stored if name not in noted)


def _is_same(stored: Any, given: Any) -> bool:
    try:
        return type(stored) is type(given) and bool(stored == given)
    except Exception:
        return False            # an array, for instance


def _is_same_time(job: CronJob, wanted: CronJob) -> bool:
    plan = continued(wanted.plan, job.plan)
    return (job.delay, job.plan) == (wanted.delay, plan) and (
        job.delay is not None or job.fields() == wanted.fields())


def _tell_difference(service: TaskService, job: Job,
                     wanted: CronJob) -> None:
    """Log a schedule that is not taken, once in each process."""
    if isinstance(job, CronJob):
        if _is_same_time(job, wanted):
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
    named = {**dict(zip(FIELDS, job.fields(), strict=True)),
             **planned(job.plan)}
    if job.delay is not None:
        return f'delay={job.delay:g}'
    return ', '.join(
        f'{name}={value}' for name, value in named.items() if value)
