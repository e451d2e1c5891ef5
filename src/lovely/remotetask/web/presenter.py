"""Looks at a service and changes it for the surfaces, in plain data.

This module knows of no HTTP, template or framework.  The caller has checked
the permission, and brings the transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding import steering
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.fields.limits import DEFAULT_QUEUE
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import SCHEDULED
from lovely.remotetask.job import CronJob
from lovely.remotetask.retry import of_stored
from lovely.remotetask.schedule import zones
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.store import listing
from lovely.remotetask.store.counts import by_status
from lovely.remotetask.store.records import look
from lovely.remotetask.task import parameters
from lovely.remotetask.task import shown_keys
from lovely.remotetask.task import task_option
from lovely.remotetask.web import hiding
from lovely.remotetask.web import others
from lovely.remotetask.web import payloads
from lovely.remotetask.web import plain
from lovely.remotetask.web import reached
from lovely.remotetask.web import selecting
from lovely.remotetask.web.xmlrpc_faults import ILLEGAL

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

#: ``run(function, writes)`` calls ``function(service)`` in a transaction.
Run = Callable[[Callable[['TaskService'], object], bool], object]


def available_tasks(service: TaskService) -> list[str]:
    """The names of the tasks that may be added from outside, sorted.

    Tasks that are not remote are left out, unlike in 0.5.2.
    Source: 0.5.2 (XML-RPC).
    """
    tasks = service.getAvailableTasks()
    return sorted(name for name in tasks if is_remote(service, tasks[name]))


def tasks(service: TaskService) -> dict[str, Any]:
    """The tasks that may be added from outside, and what each takes.

    Returns: ``tasks``, the names; ``inputs``, for each name ``whole``: the
    input goes to the task as it is, or else it is a mapping with a value for
    each of ``parameters``, and with other keys where ``others`` is true.  Of a
    task that is made of no function there are no parameters to tell.
    """
    found = service.getAvailableTasks()
    names = available_tasks(service)
    return {'tasks': names,
            'inputs': {name: _takes(found[name]) for name in names}}


def _takes(task: object) -> dict[str, Any]:
    signature = parameters(task)
    if signature is None:
        return {'whole': True, 'others': False, 'parameters': []}
    found: list[dict[str, Any]] = []
    keys = shown_keys(task)
    for name in signature.names:
        found.append({'name': name, 'required': name in signature.required})
        if name not in signature.defaults:
            continue
        if keys is None or name in keys:
            payloads.put(found[-1], 'default', signature.defaults[name])
        else:
            found[-1] |= {'default': None, 'defaultNote': 'is hidden'}
    return {'whole': signature.single, 'others': bool(signature.others),
            'parameters': found}


def schedules(service: TaskService, start: str | None = None,
              limit: int = 50) -> dict[str, Any]:
    """One page of schedules, the one that runs next first, fit for JSON.

    Returns: as ``jobs``; each with ``schedule``, its fields, and ``lastRun``,
    the latest of its runs or None.
    """
    found, cursor, _ = listing.page(service.jobqueue, SCHEDULED,
                                 selecting.selection(), start, limit,
                                 runs=True)
    return {'jobs': [_schedule(service, item) for item in found],
            'next': cursor, **paused(service)}


def schedule_of(service: TaskService, jobid: object,
                count: int = 5) -> dict[str, Any]:
    """One cron job, as its next run has it, fit for JSON.

    Arguments: ``count``, how many of its next runs are told.
    Returns: as one of ``schedules``, with ``input`` as that of ``job``,
    ``nextRuns``, each in UTC and as the clock of its zone shows it, and
    ``version``, a text that is another one once any of it was edited.
    Raises: JobNotFound; UsageError; InvalidTransition; UnreadableRecord.
    """
    found = steering.schedule_of(service, job_id(jobid), or_delay=True)
    answer = _schedule(service, found)
    answer |= {'task': found.coming('task'),
               'priority': found.coming('priority'),
               'queue': found.coming('queue') or DEFAULT_QUEUE,
               'concurrencyKey': found.coming('concurrencyKey'),
               **reached.own(of_stored(
                   found.kept('retry'), found.kept('ownPolicy')),
                   found.kept('timeout'))}
    keys = hiding.keys_of(service, answer['task'], found.coming('shows'))
    payloads.put_payload(answer, 'input', lambda: payloads.put_input(
        answer, found.coming('input'), keys))
    parts = [answer.get(name) for name in (
        'task', 'input', 'inputNote', 'schedule', 'plan', 'delay',
        'priority', 'retry', 'timeout', 'queue', 'concurrencyKey')]
    answer['nextRuns'] = []
    # This process may lack its time zone, or the extra [cron].
    with suppress(InvalidSchedule, ConfigurationError):
        if found.enabled:
            answer['nextRuns'] = [
                {'at': iso(at), 'local': _local(answer, at)}
                for at in found.rule.upcoming(service.clock.now(), count)]
    # Of what is shown: by what is hidden, a reader could try out guesses.
    answer['version'] = hashlib.sha256(json.dumps(
        parts, sort_keys=True).encode()).hexdigest()[:16]
    return answer


def _schedule(service: TaskService, job: Any) -> dict[str, Any]:
    answer = _row(service, job)
    is_cron = isinstance(job, CronJob)
    answer['schedule'] = {name: list(job.coming(name)) if is_cron else []
                          for name in FIELDS}
    answer['plan'] = {
        name: iso(value) if name == 'at' else value for name, value in
        ((is_cron and job.coming('plan')) or {}).items() if name != 'since'}
    answer['delay'] = getattr(job, 'delay', None)
    answer['localAt'] = None if job.scheduledAt is None else _local(
        answer, job.scheduledAt.timestamp())
    answer['lastRun'] = None
    with suppress(*UNREADABLE):
        for run in getattr(job, 'runs', ())[:1]:
            answer['lastRun'] = _run(run)
    return answer


def _local(answer: dict[str, Any], at: float) -> str | None:
    """A moment by the clock of a schedule's zone; None: it is unknown here."""
    try:
        return zones.local(answer['plan'].get('timezone', 'UTC'), at)
    except (LookupError, ValueError, OSError):
        return None


def _run(run: Any) -> dict[str, Any]:
    return {**run._asdict(), 'endedAt': plain.iso(run.endedAt)}


def status(service: TaskService, jobid: object) -> str:
    """The status of a job.  Raises: JobNotFound.  Source: 0.5.2."""
    return str(service.getStatus(job_id(jobid)))


def result(service: TaskService, jobid: object) -> object:
    """The result of a job, as plain data.

    Raises: JobNotFound; InputRejected where the result is not plain data:
    the job itself is unharmed.  Source: 0.5.2.
    """
    jobid = job_id(jobid)
    try:
        return plain.plain(service.getResult(jobid))
    except InputRejected as error:
        raise InputRejected(
            f'job {jobid} has a result that cannot be sent: {error}; read it '
            f'inside the application') from None


def error(service: TaskService, jobid: object) -> str:
    """A job's error text, 'None' without one.

    Characters that XML cannot carry are replaced.
    Raises: JobNotFound.  Source: 0.5.2.
    """
    return ILLEGAL.sub('\ufffd', str(service.getError(job_id(jobid))))


def job(service: TaskService, jobid: object) -> dict[str, Any]:
    """One job with its payloads, fit for JSON.

    Returns: a dict; where input or output is not plain data it is None, and
    ``inputNote`` or ``outputNote`` says why; so it does where the task hides
    some of its input, which then is left out.  ``bytes`` has the JSON pointers
    of bytes, which are shown in base64.
    Raises: JobNotFound.
    """
    jobid = job_id(jobid)
    service.getStatus(jobid)    # raises JobNotFound
    found: Any = look(service.jobs, jobid)
    answer = _row(service, found)
    answer |= reached.own(getattr(found, 'retry', None),
                          getattr(found, 'timeout', None))
    answer['errors'] = [_failure(one) for one in found.errors]
    answer |= others.of(found)
    if getattr(found, 'ends', None) is not None:
        with suppress(*UNREADABLE):
            answer['runs'] = [_run(run) for run in found.runs]
    keys = hiding.keys_of(service, found.task, getattr(found, 'shows', None))
    payloads.put_payload(answer, 'input', lambda: payloads.put_input(
        answer, found.input, keys))
    payloads.put_payload(answer, 'output', lambda: payloads.put(
        answer, 'output', found.output))
    record = getattr(found, 'checkpoint', None)
    if record is not None:
        told = answer['checkpoint'] = reached.facts(record)
        payloads.put_payload(told, 'cursor', lambda: payloads.put(
            told, 'cursor', record.cursor()))
        for place in told.pop('bytes', ()):
            answer.setdefault('bytes', []).append(f'/checkpoint{place}')
    return answer


def jobs(service: TaskService, status: str | None = None,
         start: str | None = None, limit: int = 50,
         seconds: float | None = None, **wanted: Any) -> dict[str, Any]:
    """One page of jobs, fit for JSON.

    Without inputs and outputs: a page of a thousand jobs would load a
    thousand payloads.
    Arguments: ``seconds``, for how long it looks, None: as long as it takes;
    ``wanted``, which jobs: see selecting.PARAMETERS.
    Returns: ``{'jobs': [...], 'next': cursor or None, 'looked': int}``, at how
    many jobs it has looked; of a paused queue ``'paused': True``.
    Raises: UsageError; ValueError for an unknown status, a limit outside of
    1..MAX_PAGE or a cursor of another listing.
    Cost: O(limit).
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f'limit has to be from 1 to {MAX_PAGE}, not {limit}')
    found, cursor, looked = service.jobqueue.page(
        status, selecting.selection(**wanted), start, limit, seconds)
    return {'jobs': [_row(service, item) for item in found], 'next': cursor,
            'looked': looked, **paused(service)}


def paused(service: TaskService) -> dict[str, bool]:
    """What an answer says of a queue that is paused; of others, nothing."""
    resting = service.jobqueue.pause_now(service.clock.now())
    return {} if resting is None else {'paused': True}


def _row(service: TaskService, job: Job) -> dict[str, Any]:
    """A summary; with the ``progress`` that a task tells, and of a schedule
    with ``enabled``.
    """
    answer, told = summary(job), None
    # Where the queue's own record is lost, the jobs still can be shown.
    with suppress(*UNREADABLE):
        told = service.jobqueue.progress_of(job)
    if told is not None:
        answer['progress'] = {**told._asdict(), 'at': iso(told.at)}
    if job.recurring:
        answer['enabled'] = getattr(job, 'enabled', True)
        # Imported here and not above: each process that serves pages starts
        # without it.
        from lovely.remotetask.store import declared

        if declared.is_declared(service.jobqueue, job):
            answer['declared'] = True
            why = declared.why_paused(service.jobqueue, job)
            if why is not None and not answer['enabled']:
                answer['pausedBecause'] = why
    return answer


def summary(job: Job) -> dict[str, Any]:
    """One job without its payloads, fit for JSON."""
    error = job.error
    return {
        'id': job.id,
        'task': job.task,
        'status': job.status,
        'createdAt': plain.iso(job.createdAt),
        'startedAt': plain.iso(job.startedAt),
        'completedAt': plain.iso(job.completedAt),
        'scheduledAt': plain.iso(getattr(job, 'scheduledAt', None)),
        'waitsFor': _why_it_waits(job),
        'attempts': job.attempts,
        'priority': job.priority,
        'submitter': job.submitter,
        'key': job.key,
        'queue': job.queue or DEFAULT_QUEUE,
        'concurrencyKey': job.concurrencyKey,
        'error': None if error is None else str(error),
        'errorType': None if error is None else getattr(
            error, 'type', type(error).__name__),
    }


def _failure(error: Any) -> dict[str, Any]:
    return {'type': error.type, 'message': error.message,
            'traceback': error.traceback, 'attempt': error.attempt,
            'time': plain.iso(as_utc(error.time))}


def _why_it_waits(job: Job) -> str | None:
    """Why a job waits although threads may be free, or None."""
    place = job.position[0] if job.position else None
    if place == 'barred':
        return ('others of its task' if job.concurrencyKey is None
                else 'others of its task or concurrencyKey') + (
            ' run, or have begun lately: see the limits')
    if place != 'waiting':
        return None
    error = job.error
    return job.rests or (None if error is None else str(error))


def counts(service: TaskService) -> dict[str, int]:
    """How many jobs have each status.  Cost: flat, less than stats."""
    return by_status(service.jobqueue)


def stats(service: TaskService) -> dict[str, Any]:
    """See ITaskService.stats.  Cost: flat."""
    return dict(service.stats())


def queues(service: TaskService) -> dict[str, Any]:
    """See ITaskService.listQueues"""
    return {'queues': service.listQueues()}


def limits(service: TaskService) -> dict[str, Any]:
    """See ITaskService.listLimits"""
    return {'limits': service.listLimits()}


def total(service: TaskService) -> int:
    """How many jobs there are; a schedule that is due or has failed counts
    twice.

    Cost: flat; less than ``stats``, which loads the oldest job of each lane.
    """
    queue = service.jobqueue
    return sum(queue.counts().values()) + sum(1 for _ in queue.running())


def job_id(value: object) -> int:
    """A job's id as it comes from outside: an int or its decimal digits.

    Digits, because Python's own XML-RPC client cannot send an int over 31
    bits, and services with 64-bit ids draw such ones.
    Raises: UsageError.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() \
            and len(value) < 20:
        return int(value)
    raise UsageError(f'a job id is a whole number, not {value!r:.80}')


def is_remote(service: TaskService, task: object) -> bool:
    """May a task be added from outside?"""
    remote = task_option(task, 'remote')
    if remote is None:
        remote = getattr(service, 'remoteDefault', True)
    return bool(remote)
