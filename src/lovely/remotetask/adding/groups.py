"""Adds chains and groups: jobs that come one after the other, or together and
before another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask import events
from lovely.remotetask.adding import checks
from lovely.remotetask.adding import following
from lovely.remotetask.adding import jobs
from lovely.remotetask.adding.options import find_submitter
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.errors import GroupNotFound
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.job import Job
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.store import batch_views
from lovely.remotetask.store import batches
from lovely.remotetask.store.batches import Batch
from lovely.remotetask.store.batches import Batches

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: How many jobs a group may have.
MOST_JOBS = 10_000

# At how many jobs of a group one look at it goes, and at those of each in a
# list.
_LOOKS = 1000
_LOOKS_OF_LIST = 20


def add_chain(service: TaskService, calls: Iterable[Any], policy: Any) -> int:
    """See ITaskService.addChain"""
    following.check_policy(policy)
    # One more than may follow is refused below, and told of by its place.
    found = _calls(calls, following.MOST_LINKS + 1, 'a chain', 'calls')
    if not found:
        raise UsageError('calls is empty; a chain has at least one call')
    behind: Call | None = None
    for number, call in reversed(list(enumerate(found))):
        if behind is not None:
            if call.onSuccess is not None:
                raise UsageError(
                    f'calls[{number}] has an onSuccess, and the next call of '
                    f'the chain is to follow it: leave one of them out')
            call = replace(call, onSuccess=behind,
                           policy=call.policy or policy)
        elif call.onSuccess is None:
            # Nothing follows the last one that could stop.
            call = replace(call, policy=None)
        behind = following.OfChain(**vars(call), place=f'calls[{number}]')
    assert behind is not None
    return jobs.add_one(
        service, behind.task, behind.input, Job,
        jobs.placer(False, behind.delay, None, service.clock.now),
        following.options_of(behind))


class _Wanted(NamedTuple):
    """A job that is to be added, once it was checked.

    Attributes: ``stored``, ``size``, see check_input; ``place``, see placer;
    ``kept``, further attributes, as ``put`` takes them.
    """

    name: str
    task: Any
    input: Any
    stored: Any
    size: int
    place: jobs.Placer
    kept: dict[str, Any]


def add_group(service: TaskService, calls: Iterable[Any], then: Any,
              policy: Any, runAs: Any) -> int:
    """See ITaskService.addGroup"""
    following.check_policy(policy)
    found = _calls(calls, MOST_JOBS, 'a group', 'jobs')
    submitter = find_submitter(service, service.host, runAs)
    edges = following.edges_of(service, then, None, None, 'then')
    wanted = [_wanted(service, call, number, submitter)
              for number, call in enumerate(found)]
    queue, now = service.jobqueue, service.clock.now()
    if queue.batches is None:
        queue.batches = Batches()
    batch = queue.batches.add(len(wanted), policy, edges, submitter, now)
    added = []
    for number, one in enumerate(wanted):
        job = jobs.make_job(
            service, Job, one.name, one.task, one.stored, one.size,
            {**one.kept, 'groupPlace': (batch.id, number)})
        one.place(queue, job, number)
        added.append(jobs.Added(job, one.task, one.stored, one.input))
    jobs.tell_all(service, added)
    batch.set_jobs([one.job.id for one in added])
    if not wanted:
        tell(service, batches.close(queue, batch.id, None, now)[1])
    return batch.id


def _calls(given: Any, most: int, what: str, things: str) -> list[Call]:
    if (isinstance(given, (str, bytes, Mapping, Call))
            or not isinstance(given, Iterable)):
        raise UsageError(f'calls is {shown(given)}; give a list with a call '
                         f'for each job')
    found = []
    for number, one in enumerate(given):
        # Before the rest is drawn: it may have no end.
        if number == most:
            raise UsageError(f'{what} has at most {most} {things}: add '
                             f'several, or let one job do the work of some')
        found.append(following.call_of(one, f'calls[{number}]'))
    return found


def _wanted(service: TaskService, call: Call, number: int,
            submitter: str | None) -> _Wanted:
    try:
        name, task = checks.check_task(service, call.task)
        kept = {**following.kept_of(service, task, call),
                'submitter': submitter}
        jobs.follow(service, following.options_of(call), kept)
        stored, size = checks.check_input(
            task, name, call.input, caller.jar_of(service), service.host)
        place = jobs.placer(False, call.delay, None, service.clock.now)
    except (ValueError, RemoteTaskError) as error:
        error.add_note(f'this is about calls[{number}], task '
                       f'{shown(call.task)}')
        raise
    return _Wanted(name, task, call.input, stored, size, place, kept)


def _batch(service: TaskService, number: Any) -> Batch:
    """The batch of a group.  Raises: GroupNotFound."""
    found = batches.batch_of(service.jobqueue, number)
    if found is None:
        raise GroupNotFound(number)
    return found


def get_group(service: TaskService, number: Any) -> dict[str, Any]:
    """See ITaskService.getGroup"""
    batch = _batch(service, number)
    return {**_shown(service, batch, _LOOKS), 'jobs': list(batch.jobs())}


def list_groups(service: TaskService, start: Any, limit: int
                ) -> tuple[list[dict[str, Any]], str | None]:
    """See ITaskService.listGroups"""
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise UsageError(f'limit is {shown(limit)}; give a whole number from '
                         f'1 to {MAX_PAGE}')
    found, behind = batch_views.page(
        service.jobqueue, batch_views.check_start(start), limit)
    return ([_shown(service, batch, _LOOKS_OF_LIST) for batch in found],
            None if behind is None else str(behind))


def _shown(service: TaskService, batch: Batch, limit: int) -> dict[str, Any]:
    row = batch_views.row(service.jobqueue, batch, limit)
    return {**row, 'createdAt': iso(row['createdAt']),
            'endedAt': iso(row['endedAt'])}


def cancel_group(service: TaskService, number: Any) -> int:
    """See ITaskService.cancelGroup"""
    cancelled = 0
    for job in list(batches.cancel(service.jobqueue, _batch(service, number),
                                   service.clock.now())):
        events.notify(events.JobCancelled(service, job))
        cancelled += 1
    return cancelled
