"""Cleans, cancels and checks any number of jobs, in small transactions.

One transaction for all of them would hold every record in memory, and lose
all its work to a single conflict.  Each of these is retried alone, and a
caller that stops in the middle keeps the work of those that are committed.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.clock import first_key
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.host import visit
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import NOT_OVER
from lovely.remotetask.interfaces import RETRIED
from lovely.remotetask.interfaces import SCHEDULED
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.store import check
from lovely.remotetask.store import mending
from lovely.remotetask.store.cleaning import check_start
from lovely.remotetask.store.cleaning import first_kept
from lovely.remotetask.store.selection import Selection

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.service import TaskService

#: ``transact(function)`` calls ``function(service)`` in a transaction of its
#: own, again after a conflict, and returns the result.
Transact = Callable[[Callable[['TaskService'], Any]], Any]

#: A time_key before that of any job.
FIRST = 0

#: Called after each transaction with the number of jobs done so far.
Progress = Callable[[int], object]

#: How often a step of a clean may meet a worker's commits before it leaves to
#: that worker the records that both would write.  One conflict says little: a
#: thread that has run out of work tidies its lanes once more.
PATIENCE = 4


def clean(database: DB, path: Sequence[str], host: IHost,
          status: Iterable[str] = FINAL,
          progress: Progress | None = None, *, before: float | None = None,
          keep: int = 0) -> dict[str, int]:
    """Remove jobs that are over, beside running workers.

    Arguments: ``database`` (ZODB.DB); ``path``, of the service; ``host``
    (IHost); ``status``, the final statuses to remove; ``progress``, called
    after each transaction with the number of jobs so far; ``before`` (seconds
    since 1970): only jobs that ended before that; ``keep`` (int), how many
    that have ended last are left, of these statuses together.
    Returns: how many were removed (int), by status.  Beside a busy worker
    each thread may leave up to 16 jobs of its log, and what its page has
    completed, until it ends that page.
    Raises: UsageError, before anything is removed; the ConflictError of a
    transaction that met others again and again.
    Txn: its own, of at most settings.BULK_BATCH jobs each.
    Cost: O(jobs removed), memory flat.
    """
    removed: dict[str, int] = {}
    transact = partial(visit, database, path, host, writes=True)
    for one, count, _ in cleaning(transact, check_final(status), None, before,
                                  keep):
        removed[one] = removed.get(one, 0) + count
        if progress is not None:
            progress(sum(removed.values()))
    return removed


def cancel(database: DB, path: Sequence[str], host: IHost, status: str,
           task: str | None = None,
           progress: Progress | None = None) -> int:
    """Cancel all jobs that have this status.

    Arguments: as ``clean``; ``status``, one that is not over; ``task``, only
    jobs of this task.
    Returns: how many were cancelled.
    Raises, Txn: as ``clean``.
    Cost: O(jobs with the status), memory flat.
    """
    cancelled = 0
    transact = partial(visit, database, path, host, writes=True)
    for count, _ in cancelling(transact, check_open(status),
                               Selection(task=task)):
        cancelled += count
        if progress is not None:
            progress(cancelled)
    return cancelled


def retry(database: DB, path: Sequence[str], host: IHost,
          status: str = ERROR, task: str | None = None,
          since: float | None = None,
          progress: Progress | None = None) -> int:
    """Queue all jobs once more that failed, or were cancelled.

    Arguments: as ``clean``; ``status``, ERROR or CANCELLED; ``task``, only
    jobs of this task; ``since`` (seconds since 1970), only those that ended
    from then on.
    Returns: how many were queued; not those whose key another job has got.
    Raises, Txn: as ``clean``.
    Cost: O(jobs with the status), memory flat.
    """
    retried = 0
    transact = partial(visit, database, path, host, writes=True)
    for count, _, _ in retrying(transact, check_over(status),
                                Selection(task=task, since=since)):
        retried += count
        if progress is not None:
            progress(retried)
    return retried


def check_final(status: Iterable[str]) -> tuple[str, ...]:
    """These statuses, each once.  Raises: UsageError for one not final."""
    wanted = (status,) if isinstance(status, str) else tuple(status)
    for one in wanted:
        if one not in FINAL:
            raise UsageError(f'jobs with the status {one!r:.80} are not over; '
                             f'clean removes {", ".join(FINAL)}')
    return tuple(one for one in FINAL if one in wanted)


def check_open(status: object) -> str:
    """This status.  Raises: UsageError for one that is over."""
    if status not in (*NOT_OVER, SCHEDULED):
        raise UsageError(f'there is nothing to cancel about {status!r:.80}; '
                         f'name one of {", ".join((*NOT_OVER, SCHEDULED))}')
    return status


def check_over(status: object) -> str:
    """This status.  Raises: UsageError for one that is not retried."""
    if status not in RETRIED:
        raise UsageError(f'there is nothing to retry about {status!r:.80}; '
                         f'name one of {", ".join(RETRIED)}')
    return status


# --- the transactions, one by one --------------------------------------------

def cleaning(transact: Transact, status: Sequence[str],
             start: str | None = None, before: float | None = None,
             keep: int = 0) -> Iterator[tuple[str, int, str | None]]:
    """Clean in steps: each step of this generator is one transaction.

    Arguments: ``start``, that of an earlier clean to go on with.
    Raises: InvalidCursor for any other.
    Yields: status, number of jobs removed by this transaction, and the
    ``start`` of a clean that goes on from here; None at the end.
    """
    first, at = status[0] if status else '', None
    if start is not None:
        first, at = _split(start, status)
    left = list(status[status.index(first):]) if status else []
    below = None if before is None else first_key(before)
    if left and keep:
        kept = transact(lambda service: first_kept(
            service.jobqueue, status, keep))
        # Of fewer jobs than are kept, none is removed.
        kept = FIRST if kept is None else kept
        below = kept if below is None else min(below, kept)
    while left:
        count, at = transact(_CleanStep(left[0], at, below))
        done = left[0]
        if at is None:
            left.pop(0)
        following = None if not left else f'{left[0]}:{at or ""}'
        yield done, count, following


def cancelling(transact: Transact, status: str, selection: Selection,
               start: str | None = None) -> Iterator[tuple[
                   int, str | None]]:
    """Cancel in steps: each step of this generator is one transaction.

    Arguments: ``selection``, which of the jobs with this status; ``start``,
    that of an earlier cancel to go on with.
    Raises: InvalidCursor for any other.
    Yields: number of jobs cancelled by this transaction, and the ``start`` of
    a cancel that goes on from here; None at the end.
    """

    def step(service: TaskService) -> tuple[int, str | None]:
        jobs, following, _ = service.jobqueue.page(
            status, selection, at, settings.BULK_BATCH)
        # What a newer release has written is left alone.
        return service.cancelMany([
            job.id for job in jobs if not getattr(job, 'newer', False)
        ]), following

    at = start
    while True:
        count, at = transact(step)
        yield count, at
        if at is None:
            return


def retrying(transact: Transact, status: str, selection: Selection,
             start: str | None = None) -> Iterator[tuple[
                 int, int, str | None]]:
    """Retry in steps: each step of this generator is one transaction.

    Arguments: as ``cancelling``.
    Raises: InvalidCursor for a ``start`` of another call.
    Yields: number of jobs queued by this transaction, of those that could not
    be, and the ``start`` of a retry that goes on from here; None at the end.
    """

    def step(service: TaskService) -> tuple[int, int, str | None]:
        jobs, following, _ = service.jobqueue.page(
            status, selection, at, settings.BULK_BATCH)
        retried = 0
        for job in jobs:
            # Another job has got its key, its record cannot be read, or its
            # schedule has no next time: that is found before anything is
            # changed.
            with suppress(UsageError, NewerRecord):
                service.retryJob(job.id)
                retried += 1
        return retried, len(jobs) - retried, following

    at = start
    while True:
        retried, left, at = transact(step)
        yield retried, left, at
        if at is None:
            return


def checking(transact: Transact, repair: bool, start: str | None = None
             ) -> Iterator[tuple[list[check.Finding], list[check.Finding],
                                 str | None]]:
    """Look for what no worker would ever come to: see store/check.

    Each step of this generator is one transaction.
    Arguments: ``repair``: put right what can be; ``start``, that of an earlier
    check to go on with.
    Yields: what was wrong, which of it was put right, and the ``start`` of a
    check that goes on from here; None at the end.
    Raises: UsageError for a ``start`` of another call.
    """

    def step(service: TaskService) -> Any:
        queue, now = service.jobqueue, service.clock.now()
        found, following = check.step(queue, at, settings.BULK_BATCH, now)
        mended = mending.mend(queue, found, now) if repair else []
        if any(one.kind in check.PUT_BACK for one in mended):
            notify_after_commit(service, caller.jar_of(service))
        return found, mended, following

    at = start
    while True:
        try:
            found, mended, at = transact(step)
        except ValueError as error:
            raise UsageError(str(error)) from None
        mending.log_put_back(mended)
        yield found, mended, at
        if at is None:
            return


class _CleanStep:
    """One transaction of a clean, which counts how often it was tried."""

    def __init__(self, status: str, start: str | None, below: int | None
                 ) -> None:
        self._status = status
        self._start = start
        self._below = below
        self._tries = 0

    def __call__(self, service: TaskService) -> tuple[int, str | None]:
        self._tries += 1
        found: tuple[int, str | None] = service.jobqueue.clean_step(
            self._status, self._start, settings.BULK_BATCH,
            self._tries > PATIENCE, self._below)
        return found


def _split(start: Any, status: Sequence[str]) -> tuple[str, str | None]:
    if isinstance(start, str):
        first, colon, at = start.rpartition(':')
        with suppress(InvalidCursor):
            if colon and first in status:
                if at:
                    check_start(first, at)
                return first, at or None
    raise InvalidCursor(f'{shown(start)} is no start for this clean; use the '
                        f'"next" of the answer before')
