"""Adds jobs: refuses calls that cannot work, then makes one job or many."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask import events
from lovely.remotetask import payload
from lovely.remotetask.adding import following
from lovely.remotetask.adding.checks import check_input
from lovely.remotetask.adding.checks import check_inputs
from lovely.remotetask.adding.checks import check_task
from lovely.remotetask.adding.checks import violations_of
from lovely.remotetask.adding.keys import check_key_options
from lovely.remotetask.adding.keys import check_keys
from lovely.remotetask.adding.keys import find_holder
from lovely.remotetask.adding.keys import take_key
from lovely.remotetask.adding.options import Options
from lovely.remotetask.adding.options import check_options
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import MOMENT
from lovely.remotetask.errors.bounds import seconds_of
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.job import Job
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.schedule.rule import check_delay
from lovely.remotetask.store.states import is_final
from lovely.remotetask.task import parameters
from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue


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
    follow(service, options, kept)
    stored, size = check_input(task, name, input, jar, service.host)
    holder = None
    check_key_options(options)
    if key is not None:
        holder, stands = find_holder(service, key, options, jar)
        if holder is not None and stands:
            return holder.id
    job = make_job(service, make, name, task, stored, size, kept)
    if key is not None:
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
    follow(service, options, kept)
    inputs = list(inputs)
    packed, sizes = check_inputs(task, name, inputs, jar, host)
    keys = check_keys(service, options, len(inputs), jar)
    ids: list[int] = []
    added: list[Added] = []
    for stored, size, input, key in zip(packed, sizes, inputs, keys,
                                        strict=True):
        holder = None
        if key is not None:
            holder, stands = find_holder(service, key, options, jar)
            if holder is not None and stands:
                ids.append(holder.id)
                continue
        job = make_job(service, make, name, task, stored, size, kept)
        if key is not None:
            take_key(service, key, job, holder)
        place(service.jobqueue, job, len(added))
        ids.append(job.id)
        added.append(Added(job, task, stored, input))
    tell_all(service, added)
    return ids


class Added(NamedTuple):
    """A job that was added, with its ``task``, its input as it is ``stored``,
    and as it was given.
    """

    job: Job
    task: Any
    stored: Any
    input: Any


def tell_all(service: TaskService, added: list[Added]) -> None:
    """Let the inputs of many jobs be as they are at commit; tell of the jobs.
    """
    jar = caller.jar_of(service)
    changing = [one for one in added if type(one.stored) not in _FIXED]
    mark_input_at_commit(jar, *[one.job for one in changing])
    checked: dict[int, tuple[Any, list[Job]]] = {}
    for one in changing:
        if one.stored is one.input:
            checked.setdefault(id(one.task), (one.task, []))[1].append(one.job)
    for task, jobs in checked.values():
        check_input_at_commit(service, task, jar, *jobs)
    notify_after_commit(service, jar)
    for one in added:
        events.notify(events.JobAdded(service, one.job))


def follow(service: TaskService, options: Options, kept: dict[str, Any]
           ) -> None:
    """Put what is to follow a job into the attributes that keep its options.

    Raises: see following.edges_of.
    """
    if (options.onSuccess is None and options.onFailure is None
            and options.policy is None):
        return
    kept['edges'] = following.edges_of(
        service, options.onSuccess, options.onFailure, options.policy)


def make_job(service: TaskService, make: Callable[..., Job], name: str,
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
    misfit, violations = violations_of(task, job.coming('input'))
    if violations:
        raise InputRejected(
            f'the input of job {job.id} was changed after it was added, and '
            f'does not fit the {misfit} of task {job.task!r} any more: '
            + '; '.join(violations), violations=violations)
