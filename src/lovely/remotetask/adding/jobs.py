"""Adds jobs: refuses calls that cannot work, then makes one job or many."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import events
from lovely.remotetask import payload
from lovely.remotetask.adding.keys import check_keys
from lovely.remotetask.adding.keys import find_holder
from lovely.remotetask.adding.keys import take_key
from lovely.remotetask.adding.options import Options
from lovely.remotetask.adding.options import check_options
from lovely.remotetask.bounds import MOMENT
from lovely.remotetask.bounds import seconds_of
from lovely.remotetask.bounds import shown
from lovely.remotetask.declaring.decorated import name_of
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.job import Job
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.schedule.rule import check_delay
from lovely.remotetask.store.states import is_final
from lovely.remotetask.task import check_against
from lovely.remotetask.task import misfits
from lovely.remotetask.task import parameters
from lovely.remotetask.task import shown_keys
from lovely.remotetask.texts import some

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

# Of how many refused inputs an error message gives the reason, and how much
# (characters) of each.
_REASONS = 20
_REASON_CHARS = 200


#: ``place(queue, job, number)`` puts a job into the queue; ``number`` counts
#: the jobs of one call.
Placer = Callable[['JobQueue', Job, int], None]

#: How far apart (seconds) the jobs of one call are placed: two microseconds,
#: for a float of today may round a single one away.
APART = 2e-6

#: Types of inputs that cannot change once they were given.
_FIXED = frozenset((type(None), bool, int, float, str, bytes))


# --- how it starts -----------------------------------------------------------

def _enqueue(queue: JobQueue, job: Job, number: int) -> None:
    queue.enqueue(job)


def _shelve(queue: JobQueue, job: Job, number: int) -> None:
    queue.shelve(job)


def check_moment(value: Any, name: str) -> float:
    """The seconds since 1970 of an argument of this name.

    Raises: UsageError for what is no aware datetime.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise UsageError(f'{name} is {shown(value)}; give an aware datetime, '
                         f'one with a time zone')
    when = seconds_of(value)
    if when is None:
        raise UsageError(f'{name} is {shown(value)}; give {MOMENT}')
    return when


def placer(startLater: bool, delay: float | None, runAt: datetime | None,
            now: Callable[[], float]) -> Placer:
    """The function that puts jobs with these options into the queue.

    Raises: UsageError for options that exclude each other; InvalidSchedule.
    """
    if not startLater and delay is None and runAt is None:
        return _enqueue
    chosen = [name for name, given in (
        ('startLater', startLater), ('delay', delay is not None),
        ('runAt', runAt is not None)) if given]
    if len(chosen) > 1:
        raise UsageError(f'{" and ".join(chosen)} exclude each other: give '
                         f'one of them')
    if startLater:
        return _shelve
    # Jobs of equal moments run in any order, and those of one call must not.
    if runAt is not None:
        when = check_moment(runAt, 'runAt')
        return lambda queue, job, number: queue.schedule_at(
            job, when + number * APART)
    check_delay(delay)
    begun = now()

    def wait(queue: JobQueue, job: Job, number: int) -> None:
        job.put(delay=delay)
        queue.schedule(job, begun + number * APART)

    return wait


# --- what is refused ---------------------------------------------------------

def check_task(service: TaskService, given: Any) -> tuple[str, Any]:
    """The name and the task that a name, or a decorated function, stands for.

    Raises: ValueError.
    """
    name = name_of(given)
    task = service._task(name)
    if task is None:
        error = service._no_task(name)
        if given is not name:
            error.add_note(
                f'{name!r}, which {given!r} declares, is not registered here: '
                f'scan its module where the application starts '
                f'(lovely.remotetask.task.scan)')
        raise error
    return name, task


def check_input(task: Any, name: str, input: Any, jar: Connection | None,
                host: IHost) -> tuple[Any, int]:
    """The input as it is stored, and about how long it is (bytes).

    Raises: InputRejected.
    """
    misfit, violations = _violations(task, input)
    if violations:
        raise InputRejected(
            f'the input does not fit the {misfit} of task {name!r}: '
            + '; '.join(violations), violations=violations)
    try:
        packed = host.pack(input)
        return packed, payload.check(packed, jar)
    except InputRejected as reason:
        raise InputRejected(
            f'the input for task {name!r} {reason}') from reason


def _violations(task: Any, input: Any) -> tuple[str, list[str]]:
    """What an input does not fit, and a sentence for each violation."""
    wrong = misfits(task, input)
    schema = getattr(task, 'inputSchema', None)
    found = wrong + ([] if schema is None else check_against(
        schema, input, shown_keys(task)))
    # A parameter that is missing may be a key of the schema, too.
    return ('parameters' if wrong else 'inputSchema',
            list(dict.fromkeys(found)))


def _check_inputs(task: Any, name: str, inputs: list[Any],
                  jar: Connection | None, host: IHost
                  ) -> tuple[list[Any], list[int]]:
    packed, sizes, refused = [], [], []
    for index, input in enumerate(inputs):
        try:
            stored, size = check_input(task, name, input, jar, host)
            packed.append(stored)
            sizes.append(size)
        except InputRejected as reason:
            refused.append((index, str(reason)))
    if refused:
        reasons = some(
            refused, _REASONS, '; ',
            lambda one: f'[{one[0]}] {one[1]:.{_REASON_CHARS}}')
        if len(refused) > _REASONS:
            reasons += ", see the error's indexes"
        raise InputRejected(
            f'{len(refused)} of {len(inputs)} inputs are refused, and nothing '
            f'is stored: {reasons}',
            indexes=[index for index, _ in refused])
    return packed, sizes


# --- the jobs ----------------------------------------------------------------

def add_one(service: TaskService, given: Any, input: Any,
            make: Callable[..., Job], place: Placer, options: Options) -> int:
    """Add one job; see ITaskService.add.

    Arguments: ``given``, a name or function, see check_task; ``make(id, task,
    input)``, the factory; ``place``, see placer.
    """
    name, task = check_task(service, given)
    jar, key = caller.jar_of(service), options.key
    kept = check_options(service, task, options)
    stored, size = check_input(task, name, input, jar, service.host)
    holder = None
    keyed = (key is not None or options.onDuplicate != 'keep'
             or options.keyUntil != 'ended')
    if keyed:
        holder, stands = find_holder(service, key, options, jar)
        if holder is not None and stands:
            return holder.id
    job = _make(service, make, name, task, stored, size, kept)
    if keyed:
        take_key(service, key, job, holder)
    place(service.jobqueue, job, 0)
    if type(stored) not in _FIXED:
        mark_input_at_commit(jar, job)
        if stored is input:
            check_input_at_commit(service, task, jar, job)
    notify_after_commit(service, jar)
    events.notify(events.JobAdded(service, job))
    return job.id


def add_many(service: TaskService, given: Any, inputs: Iterable[Any],
             make: Callable[..., Job], place: Placer, options: Options
             ) -> list[int]:
    """Add a job for each input; see ITaskService.addMany.

    Arguments: as ``add_one``; the ``key`` of ``options`` is a list of keys.
    """
    name, task = check_task(service, given)
    if isinstance(inputs, (str, bytes, Mapping)):
        raise UsageError(f'inputs is a {type(inputs).__name__}; give a list '
                         f'with an input for each job')
    jar, host = caller.jar_of(service), service.host
    kept = check_options(service, task, options)
    inputs = list(inputs)
    packed, sizes = _check_inputs(task, name, inputs, jar, host)
    keys = check_keys(service, options, len(inputs), jar)
    ids: list[int] = []
    jobs: list[tuple[Job, Any, Any]] = []
    for stored, size, input, key in zip(packed, sizes, inputs, keys,
                                        strict=True):
        holder = None
        if key is not None:
            holder, stands = find_holder(service, key, options, jar)
            if holder is not None and stands:
                ids.append(holder.id)
                continue
        job = _make(service, make, name, task, stored, size, kept)
        if key is not None:
            take_key(service, key, job, holder)
        place(service.jobqueue, job, len(jobs))
        ids.append(job.id)
        jobs.append((job, stored, input))
    changing = [entry for entry in jobs if type(entry[1]) not in _FIXED]
    mark_input_at_commit(jar, *[job for job, _, _ in changing])
    check_input_at_commit(service, task, jar, *[
        job for job, stored, input in changing if stored is input])
    notify_after_commit(service, jar)
    for job, _, _ in jobs:
        events.notify(events.JobAdded(service, job))
    return ids


def _make(service: TaskService, make: Callable[..., Job], name: str,
          task: Any, input: Any, size: int, kept: dict[str, Any]) -> Job:
    jobid = service._generateId()
    values = {'input': payload.wrap(input, size),
              'createdAt': service.clock.now(), 'shows': shown_keys(task),
              **kept}
    if make is Job:
        # Its constructor repeats checks that were made here, and takes half
        # of the time of an add.
        job = Job.__new__(Job)
        job.put(id=jobid, task=name, **values)
    else:
        job = make(jobid, name, input)
        if job.status is not None:
            # Found here, and not by the queue: nothing is written yet.
            raise UsageError(
                f'{shown(make)} has made a job with the status '
                f'{shown(job.status)}; leave it as it is: the service sets it')
        job.put(**values)
    service.jobs[job.id] = job
    return job


def retry(service: TaskService, job: Job, anew: Any = False) -> None:
    """Queue a job once more, if its key is free; see ITaskService.retryJob."""
    if type(anew) is not bool:
        raise UsageError(f'anew is {shown(anew)}; give True or False')
    uniques = service.jobqueue.uniques
    holder = None
    if job.key is not None:
        holder = uniques.holder(job.key, service.jobs)
        if (holder is not None and holder is not job
                and not is_final(holder.status)):
            raise DuplicateJob(job.key, holder.id)
    service.jobqueue.retry(job, service.clock.now(), anew)
    if job.key is not None and holder is not job:
        uniques.take(job.key, job, holder)
    jar = caller.jar_of(service)
    mark_input_at_commit(jar, job)
    notify_after_commit(service, jar)


def mark_input_at_commit(jar: Connection | None, *jobs: Job) -> None:
    """Store the inputs of these jobs as they are at commit.

    An input may change after a savepoint has stored it, and ZODB does not
    notice that a dict or list has changed.
    """
    if jobs:
        caller.before_commit(jar, _mark_input, *jobs)


def _mark_input(job: Job) -> None:
    edit = job.of_next('edit', {})
    if 'input' not in edit:
        job.mark_input()
    elif type(edit['input']) is payload.Payload:
        edit['input']._p_changed = True
    elif job.next is not None:
        # Not the job: it runs.
        job.next._p_changed = True


def check_input_at_commit(service: TaskService, task: Any,
                          jar: Connection | None, *jobs: Job) -> None:
    """Check the inputs of these jobs once more as they are at commit.

    The caller may change a mapping after it was added, and what it is then is
    what is stored.  Not for an input that the host has packed: what is stored
    is no longer the caller's, nor what its schema is about.
    """
    takes = parameters(task)
    if ((takes is not None and not takes.single)
            or getattr(task, 'inputSchema', None) is not None):
        caller.before_commit(jar, _check_again, *[
            (service, task, job) for job in jobs])


def _check_again(added: tuple[TaskService, Any, Job]) -> None:
    service, task, job = added
    # A savepoint may have been rolled back, or the job be over by now.
    if service.jobs.get(job.id) is not job or is_final(job.status):
        return
    misfit, violations = _violations(task, job.coming('input'))
    if violations:
        raise InputRejected(
            f'the input of job {job.id} was changed after it was added, and '
            f'does not fit the {misfit} of task {job.task!r} any more: '
            + '; '.join(violations), violations=violations)
