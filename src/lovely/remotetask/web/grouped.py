"""Groups for the pages: how many are open, and one with its first jobs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.store import batch_views
from lovely.remotetask.store import records
from lovely.remotetask.store.batches import AHEAD
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.web import presenter

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: How many jobs of a group are shown.
MOST_SHOWN = 20

# At how many jobs of a group that is over it looks for those that failed.
_LOOKS = 100


def count_open(service: TaskService) -> int:
    """How many groups are not over.  Cost: O(1)."""
    # Where the records of the groups are lost, the jobs still can be shown.
    with suppress(*UNREADABLE):
        return batch_views.count_open(service.jobqueue)
    return 0


def group(service: TaskService, number: int) -> dict[str, Any]:
    """One group, as ITaskService.getGroup has it, and some of its jobs.

    Returns: in the place of ``jobs``, up to MOST_SHOWN summaries: those that
    failed, then those that were cancelled, then others; ``found``, at how many
    jobs it has looked for them.
    Raises: GroupNotFound.
    Cost: of a group that is over up to 100 jobs are loaded; of an open one
    those at which getGroup has looked anyway, up to 1,000.
    """
    answer = dict(service.getGroup(number))
    ids = answer.pop('jobs')
    failed = answer[ERROR] + answer[CANCELLED]
    if answer['endedAt'] is None:
        limit = answer['looked']
    else:
        limit = _LOOKS if failed else MOST_SHOWN
    jobs, answer['found'] = _first(
        service, number, ids[:limit],
        min(answer[ERROR], MOST_SHOWN), min(failed, MOST_SHOWN))
    answer['jobs'] = [presenter.summary(job) for job in jobs]
    return answer


def _first(service: TaskService, number: int, ids: list[int], errors: int,
           failed: int) -> tuple[list[Any], int]:
    """The jobs to show, and at how many it has looked.

    Arguments: ``errors``, ``failed``, how many jobs with an error, and how
    many of these and of cancelled ones, are enough.
    """
    found: dict[str, list[Any]] = {ERROR: [], CANCELLED: [], '': []}
    for first in range(0, len(ids), AHEAD):
        part = ids[first:first + AHEAD]
        records.load(service.jobs, part)
        for place, jobid in enumerate(part, first):
            job: Any = records.look(service.jobs, jobid)
            # The id of a deleted job may have been given once more.
            if job is not None and (isinstance(job, UnreadableJob)
                                    or job.groupPlace == (number, place)):
                found.get(job.status, found['']).append(job)
        counts = [len(some) for some in found.values()]
        if (counts[0] >= errors and counts[0] + counts[1] >= failed
                and sum(counts) >= MOST_SHOWN):
            return _in_order(found), first + len(part)
    return _in_order(found), len(ids)


def _in_order(found: dict[str, list[Any]]) -> list[Any]:
    return [job for some in found.values() for job in some][:MOST_SHOWN]
