"""Deleting jobs that are over: step by step, out of the workers' way."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from functools import partial
from itertools import islice
from itertools import takewhile
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.errors.bounds import whole
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.store import batch_views
from lovely.remotetask.store.lanes import LAST
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.log import entries_of
from lovely.remotetask.store.log import holds_any
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.workers import LOOP

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.log import Log
    from lovely.remotetask.store.queue import JobQueue

# A thread that has ended a job within this time (seconds) is at work: a clean
# leaves to it the records that both would write.
_BUSY_SECONDS = 5.0

# In place of a bucket's number: all buckets have been seen, and the empty ones
# are to be taken out.
_PRUNE = -1

# The largest number that a mapping of slots can hold.
_LAST_SLOT = 2**31 - 1


def clean(queue: JobQueue, status: str) -> None:
    """See JobQueue.clean"""
    if status == COMPLETED:
        # Note the jobs that threads have completed and would note later.  Not
        # in the steps of a bulk clean: one step after the other would conflict
        # with the thread that notes them, and it could never commit.
        for number in queue.slots:
            queue.log_ended(number)
    start: str | None = None
    while True:
        # The threads of live slots prune their logs: to do it here may
        # conflict, and would undo the caller's whole transaction.
        pruning = start is not None and _parse(start)[1] == _PRUNE
        _, start = some(queue, status, start, settings.BULK_BATCH,
                        skip_live=pruning, spare=False)
        if start is None:
            break
    if status == COMPLETED:
        groups: int | None = 0
        while groups is not None:
            numbers, groups = batch_views.left(
                queue, groups, settings.BULK_BATCH)
            batch_views.remove_left(queue, numbers)


def some(queue: JobQueue, status: str, start: str | None, limit: int,
         skip_live: bool = False, spare: bool = True,
         below: int | None = None) -> tuple[int, str | None]:
    """See JobQueue.clean_step

    Arguments: ``spare``: leave the jobs that a thread which still runs one has
    just ended: one step after the other could undo its work for ever.
    """
    if status in LOGS:
        return _some_of_logs(queue, status, start, limit, skip_live, spare,
                             below)
    # The other jobs that are over are cancelled, and stand in lanes.
    lanes = queue.cancelled
    left = lanes.up() if start is None else lanes.up(_parse_key(start))
    entries = list(islice(takewhile(
        lambda entry: below is None or entry[0] < below, left), limit + 1))
    removed = 0
    for key, jobid in entries[:limit]:
        removed += take(queue, jobid, (status, key),
                         partial(lanes.discard, key, jobid))
    return removed, str(entries[limit][0]) if len(entries) > limit else None


def _some_of_logs(queue: JobQueue, status: str, start: str | None, limit: int,
                  skip_live: bool, spare: bool, below: int | None
                  ) -> tuple[int, str | None]:
    removed = looks = 0
    first, begin = (None, 0) if start is None else _parse(start)
    for number, slot in queue.slots.items(first):
        log = getattr(slot, status)
        live = slot.owner is not None
        if begin == _PRUNE:
            # In a step of its own, for the slot's thread may be opening a new
            # bucket; while it works, it takes empty buckets out by itself.
            more = not skip_live and not is_busy(log) and log.prune()
            return removed, (_text(number, _PRUNE) if more
                             else _text(number + 1, 0))
        for bucket in _buckets(log, begin, below):
            # The bucket that a live thread writes is cleaned in a step of its
            # own: it may conflict with a finish, and then little work is lost.
            shared = live and bucket == log.buckets.maxKey()
            if looks >= limit or (shared and looks):
                return removed, _text(number, bucket)
            looks += 1
            # The jobs of a busy thread's last bucket have just ended: they
            # stay.
            if not (shared and (skip_live or (spare and _goes_on(
                    queue, number, log)))):
                count, some = _empty(queue, status, number, bucket, below)
                removed, looks = removed + count, looks + some
            if shared:
                return removed, _text(number, _PRUNE)
        while not live and log.prune():
            pass
        begin = 0
    return removed, None


def first_kept(queue: JobQueue, status: Sequence[str], keep: int
               ) -> int | None:
    """The time_key from which on a clean leaves the ``keep`` newest jobs.

    Of all that have these final statuses; None: there are no more than those.
    Cost: O(keep); no job is loaded.
    """
    newest = heapq.merge(*(
        queue.ended(one) if one in LOGS else queue.cancelled.down()
        for one in status), reverse=True)
    found = next(islice(newest, keep - 1, None), None)
    return None if found is None else found[0]


def is_busy(log: Log, now: float | None = None) -> bool:
    """Has anything ended here within the last seconds?"""
    if not log.buckets:
        return False
    last = log.buckets[log.buckets.maxKey()]
    since = (SYSTEM_CLOCK.now() if now is None else now) - _BUSY_SECONDS
    return holds_any(last) and key_time(last.maxKey()) > since


def _goes_on(queue: JobQueue, number: int, log: Log) -> bool:
    """Will this slot's thread soon write the last bucket of the log again?

    It has just ended a job, and runs another or will find one at once.
    """
    if not is_busy(log):
        return False
    if queue.claimed(number):
        return True
    # Between two jobs.  Of a worker that is called job by job, nothing says
    # that it is called again.
    owner = queue.slots[number].owner
    return owner is not None and owner.startswith(LOOP) and any(
        ready.any() for ready in queue.all_ready())


def _buckets(log: Log, begin: int, below: int | None) -> Iterator[int]:
    """The numbers of a log's buckets; it may change meanwhile."""
    last = log.buckets.maxKey() if log.buckets else -1
    if below is not None:
        last = min(last, below - 1)
    while begin <= last:
        begin = log.buckets.minKey(begin)
        if begin > last:
            return
        yield begin
        begin += 1


def _empty(queue: JobQueue, status: str, slot: int, bucket: int,
           below: int | None) -> tuple[int, int]:
    """Clean one bucket.

    Returns: how many jobs that has removed, and how many it looked at.
    """
    log = getattr(queue.slots[slot], status)
    entries = entries_of(log.buckets[bucket], below)
    removed = 0
    for moment, jobid in entries:
        removed += take(queue, jobid, (status, (slot, moment)),
                         partial(log.discard, moment, jobid))
    return removed, len(entries)


def _text(slot: int, bucket: int) -> str:
    return f'{slot}.{bucket}'


def check_start(status: str, start: str) -> None:
    """Raise InvalidCursor unless a clean of this status can go on there."""
    (_parse if status in LOGS else _parse_key)(start)


def _parse(start: Any) -> tuple[int, int]:
    """The slot and the bucket of a start."""
    if isinstance(start, str):
        number, _, text = start.partition('.')
        slot, bucket = whole(number, 0, _LAST_SLOT), whole(text, _PRUNE, LAST)
        if slot is not None and bucket is not None:
            return slot, bucket
    raise _no_start(start)


def _parse_key(start: Any) -> int:
    """The key of a start among the lanes of cancelled jobs."""
    key = (whole(start, SENT + 1, LAST) if isinstance(start, str) else None)
    if key is None:
        raise _no_start(start)
    return key


def _no_start(start: Any) -> InvalidCursor:
    return InvalidCursor(f'{shown(start)} is no start for this clean; use the '
                         f'one that came with the step before')


def take(queue: JobQueue, jobid: int, place: tuple[str, Any],
         discard: Callable[[], object],
         goes: Callable[[Job], bool] | None = None) -> int:
    """Delete the job of an entry, if it stands here; else the entry alone.

    ``del service.jobs[id]`` leaves the entry behind.
    Arguments: ``goes(job)``: False: it stays, and its entry, too.
    Returns: how many jobs were deleted.
    """
    job = look(queue.jobs, jobid)
    if isinstance(job, UnreadableJob):
        if job.newer or (goes is not None and not goes(job)):
            return 0            # it is left alone, and its entry, too
        discard()
        if job.known.get('position', place) != place:
            # Set aside by the end of its worker, or the entry is of a job
            # that had its id before.
            if job.known.get('status') != PROCESSING:
                return 0
        queue.drop(job)
        return 1
    if job is None or job.position != place:
        discard()
        return 0
    if goes is not None and not goes(job):
        return 0
    if job.status != place[0]:
        queue.rehome(job)       # its status was assigned from outside
        return 0
    queue.forget(job)
    del queue.jobs[jobid]
    # Out of memory: one transaction may delete more jobs than fit into it.
    job._p_deactivate()
    return 1
