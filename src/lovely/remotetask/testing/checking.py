"""Asserts which jobs the tested code has added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.texts import some
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# How many jobs the message of a failed assertion shows.
_MOST_SHOWN = 20


def assert_added(service: TaskService, task: str, input: Any = ...,
                 count: int | None = None) -> list[Job]:
    """Assert that jobs of a task have been added.

    Arguments: ``task``, its name; ``input``, which the jobs' equal, as the
    task gets it; left out: any; ``count``, how many there are (int); None: at
    least one.
    Returns: the jobs, in the order in which they were added.
    Raises: AssertionError, which tells what jobs there are.
    Txn: looks at the caller's; jobs in any status count, until they are
    cleaned.
    Cost: O(jobs).
    """
    # pytest leaves the frame out of its report.
    __tracebackhide__ = True
    found = list(_matching(service, task, input))
    if len(found) != count if count is not None else not found:
        wanted = 'at least one job' if count is None else f'{count} job(s)'
        raise AssertionError(
            f'{wanted} of {_described(task, input)} should have been added, '
            f'and there are {len(found) or "none"}; {_all(service)}')
    return found


def refute_added(service: TaskService, task: str, input: Any = ...) -> None:
    """Assert that no job of a task has been added.

    Arguments, Raises, Txn, Cost: as ``assert_added``.
    """
    __tracebackhide__ = True
    found = list(_matching(service, task, input))
    if found:
        raise AssertionError(
            f'no job of {_described(task, input)} should have been added, and '
            f'there are {len(found)}; {_all(service)}')


def _jobs(service: TaskService) -> Iterator[Job]:
    readable = [job for jobid in service.jobs
                if (job := look(service.jobs, jobid)) is not None
                and not isinstance(job, UnreadableJob)]
    # Ids are drawn at random.
    yield from sorted(readable, key=lambda job: (job.createdAt, job.id))


def _matching(service: TaskService, task: str, input: Any) -> Iterator[Job]:
    for job in _jobs(service):
        if job.task == task and (
                input is ... or _input(service, job) == input):
            yield job


def _input(service: TaskService, job: Job) -> Any:
    try:
        return service.host.unpack(service, job.input)
    except TaskError:
        return job.input        # an object that is gone


def _described(task: str, input: Any) -> str:
    return f'{task!r}' if input is ... else (
        f'{task!r} with the input {shown(input)}')


def _all(service: TaskService) -> str:
    jobs = list(_jobs(service))
    if not jobs:
        return 'the service has no jobs'
    return 'the jobs of the service:\n  ' + some(
        jobs, _MOST_SHOWN, '\n  ',
        lambda job: f'{job.id}: {job.task!r} {job.status}, input '
                    f'{shown(_input(service, job))}')
