"""What becomes of a queue that is a copy, or was imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lovely.remotetask.edge.log import log
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import NOT_OVER
from lovely.remotetask.job import Job
from lovely.remotetask.store import batches
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.selection import Selection

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue

#: The type in the error of a job that is cancelled because it is a copy.
COPIED = 'copied'


def settle(queue: JobQueue, now: float, keep: bool = False) -> int:
    """Pause a copied queue, and cancel its jobs that are not over.

    Arguments: ``keep``: True cancels none.
    Returns: how many are cancelled (int).
    """
    _let_go(queue, now)
    if not keep:
        batches.cancel_open(queue, now)
    return 0 if keep else _cancel(queue, now)


def settle_import(queue: JobQueue, now: float, keep: bool,
                  path: Iterable[str]) -> None:
    """The same for an import that no event has told of; logs it.

    Arguments: ``path``, of its service.
    """
    cancelled = settle(queue, now, keep)
    log.warning(
        'service /%s is an import: %s jobs that were not over are cancelled; '
        'retryJob queues one here', '/'.join(path), cancelled)


def _let_go(queue: JobQueue, now: float) -> None:
    """Take the workers out of a copied queue, and pause it.

    They work for the original; as long as one lives there, its jobs would not
    be run here.
    """
    for worker in list(queue.workers):
        queue.retire(worker, now, charged=False)
    queue.origin = None
    # One that has noticed by itself that it is a copy is paused already.
    if not queue.paused or queue.pausing is None:
        queue.paused = True
        queue.pausing = (
            None, now, 'this service is a copy, or was imported')


def _cancel(queue: JobQueue, now: float) -> int:
    """Cancel the jobs of a copied queue that are not over, and mark them.

    The original's are run there: run here as well, each effect would come
    twice.  The ids stay, and each job can be queued again by ``retryJob``.
    Returns: how many there were (int).
    Cost: O(jobs that are not over).
    """
    # First all of them: to cancel one changes the lanes.
    jobs = [job for status in NOT_OVER for job in _standing(queue, status)]
    cancelled = 0
    for job in jobs:
        # A record that cannot be read would be deleted.
        if not isinstance(job, UnreadableJob) and queue.cancel(job):
            job.put(errors=job.past_errors(None), error=tuple(Failure(
                COPIED, f'job {job.id} was not over when this service was '
                f'copied or imported: it is a copy, and cancelled; retryJob '
                f'queues it here', '', NO_ATTEMPT, now)))
            cancelled += 1
    return cancelled


def is_copied(job: Job | None) -> bool:
    """Is this a job that was cancelled because it is a copy?"""
    error = None if job is None or job.status != CANCELLED else job.error
    return isinstance(error, Failure) and error.type == COPIED


def _standing(queue: JobQueue, status: str) -> list[Job]:
    found, start, _ = queue.page(status, Selection(), None, MAX_PAGE)
    while start is not None:
        page, start, _ = queue.page(status, Selection(), start, MAX_PAGE)
        found += page
    return found
