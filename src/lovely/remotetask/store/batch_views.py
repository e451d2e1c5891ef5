"""What people see of groups: which are open, and how their jobs stand; which
records nothing else is left of; and what a check looks at.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from math import inf
from typing import TYPE_CHECKING
from typing import Any

from ZODB.POSException import POSKeyError

from lovely.remotetask import payload
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.errors.bounds import whole
from lovely.remotetask.fields.edges import Edges
from lovely.remotetask.fields.edges import Link
from lovely.remotetask.follow import STOP
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.store import records
from lovely.remotetask.store.batches import AHEAD
from lovely.remotetask.store.batches import BROKEN
from lovely.remotetask.store.batches import ENDS
from lovely.remotetask.store.batches import GONE
from lovely.remotetask.store.batches import OPEN
from lovely.remotetask.store.batches import Batch
from lovely.remotetask.store.batches import Batches
from lovely.remotetask.store.batches import batch_of
from lovely.remotetask.store.batches import end_of
from lovely.remotetask.store.lanes import LAST
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue


def counted(queue: JobQueue, batch: Batch, limit: int
            ) -> tuple[dict[str, int], int, int]:
    """How the jobs of a group have ended: end -> int, OPEN among them.

    Arguments: ``limit``, at how many it looks, from the first one on.
    Returns: that; at how many it has looked; and how many of these are deleted
    that had not completed.
    """
    ends, lost = dict.fromkeys((*ENDS, OPEN), 0), 0
    jobs = batch.jobs()[:limit]
    for first in range(0, len(jobs), AHEAD):
        part = jobs[first:first + AHEAD]
        records.load(queue.jobs, part)
        for number, jobid in enumerate(part, first):
            end, deleted = end_of(queue, batch, number, jobid)
            ends[end] += 1
            lost += deleted and end != COMPLETED
    return ends, len(jobs), lost


def check_start(start: Any) -> int | None:
    """The key of a ``start`` of ``page``.  Raises: InvalidCursor."""
    if start is None:
        return None
    key = whole(start, SENT + 1, LAST) if isinstance(start, str) else None
    if key is None:
        raise InvalidCursor(f'{shown(start)} is no start of a list of groups; '
                            f'use the one that came with the page before')
    return key


def page(queue: JobQueue, start: int | None, limit: int
         ) -> tuple[list[Batch], int | None]:
    """The groups that are not over, the newest first.

    Arguments: ``start``, what the call before returned, at first None.
    Returns: those, and the ``start`` of the next call, None at the end.
    """
    if queue.batches is None:
        return [], None
    found = list(islice(queue.batches.open.down(start), limit + 1))
    # One by one, each would be a round trip to a server.
    records.load(queue.batches.all, (number for _, number in found[:limit]))
    batches = (batch_of(queue, number) for _, number in found[:limit])
    return ([batch for batch in batches if batch is not None],
            found[limit][0] if len(found) > limit else None)


def count_open(queue: JobQueue) -> int:
    """How many groups are not over.  Cost: O(1)."""
    return 0 if queue.batches is None else len(queue.batches.open)


def row(queue: JobQueue, batch: Batch, limit: int) -> dict[str, Any]:
    """A group, in plain data; see ITaskService.getGroup."""
    looked, lost = batch.of, 0
    if batch.ends is not None:
        ends = {**batch.ends, OPEN: 0}
    else:
        ends, looked, lost = counted(queue, batch, limit)
    failed = ends[ERROR] + ends[CANCELLED] + ends[GONE]
    state, note = batch.state, batch.stuck
    if state == OPEN and batch.policy == STOP and lost:
        # So it ends once the others are over.
        state = BROKEN
    if state == OPEN and batch.policy == STOP and failed:
        state, note = 'stuck', (
            'one of its jobs has failed or was cancelled: what follows comes '
            'when that is retried and completes' if failed == 1 else
            f'{failed} of its jobs have failed or were cancelled: what '
            f'follows comes when they are retried and complete')
    elif state == BROKEN:
        note = ('a job that had not completed is deleted: what was to follow '
                'never comes')
    edges = None if batch.edges is None else Edges(*batch.edges)
    then = None
    if edges is not None and edges.success is not None:
        then = Link(*payload.unwrap(edges.links)[edges.success]).task
    return {
        'id': batch.id, 'state': 'stuck' if batch.stuck else state,
        'policy': batch.policy, 'of': batch.of,
        **{end: ends[end] for end in (*ENDS, OPEN)}, 'looked': looked,
        'createdAt': batch.createdAt, 'endedAt': batch.endedAt,
        'task': then, 'then': batch.then, 'note': note,
        'submitter': batch.submitter}


# --- records of which nothing else is left -----------------------------------

def left(queue: JobQueue, start: int, limit: int, before: float = inf
         ) -> tuple[list[int], int | None]:
    """Which of the next groups are over, and only their records are left.

    No end of a job tells of them: they have had none, or
    ``del service.jobs[id]`` has deleted the last one.
    Arguments: ``start``, what the call before returned, at first 0;
    ``limit``, at how many it looks; ``before``: they have ended before that
    moment (seconds since 1970).
    Returns: their ids, and the ``start`` of the next call, None at the end.
    Cost: O(limit): of most groups the first job is there.
    """
    if queue.batches is None:
        return [], None
    try:
        ids = list(islice(queue.batches.all.ids(start), limit + 1))
    except POSKeyError:
        return [], None         # a check tells of that
    records.load(queue.batches.all, ids[:limit])
    return ([number for number in ids[:limit] if _is_left(
        queue, batch_of(queue, number), before)],
        ids[limit] if len(ids) > limit else None)


def remove_left(queue: JobQueue, numbers: Iterable[int]) -> None:
    """Remove those of these groups of which only the record is left."""
    for number in numbers:
        if _is_left(queue, batch_of(queue, number), inf):
            del queue.batches.all[number]


def _is_left(queue: JobQueue, batch: Batch | None, before: float) -> bool:
    if batch is None or batch.state == OPEN or (
            batch.endedAt is None or batch.endedAt >= before):
        return False
    places: list[tuple[int, tuple[str, Any]]] = [
        (jobid, ('groupPlace', (batch.id, number)))
        for number, jobid in enumerate(batch.jobs())
        if not batch.is_noted(number)]
    if batch.then is not None:
        places.append((batch.then, ('afterGroup', batch.id)))
    return not any(_is_there(queue, *place) for place in places)


def _is_there(queue: JobQueue, jobid: int, tells: tuple[str, Any]) -> bool:
    job = look(queue.jobs, jobid)
    name, value = tells
    return job is not None and (
        isinstance(job, UnreadableJob) or getattr(job, name) == value)


# --- records that are lost ---------------------------------------------------

def load_groups(queue: JobQueue) -> None:
    """Load what is stored of groups; raises POSKeyError where any is lost.

    Cost: O(groups); the lists of their jobs are left out.
    """
    if queue.batches is None:
        return
    for length in queue.batches.open.lengths:
        length()
    for _ in queue.batches.open.up():
        pass
    for batch in queue.batches.all.values():
        batch._p_activate()


def renew_groups(queue: JobQueue) -> bool:
    """Let nothing of the groups be lost any more.

    A group whose own record is lost is forgotten: what was to follow it never
    comes, and its jobs run.
    Returns: was anything lost?
    """
    try:
        load_groups(queue)
        return False
    except POSKeyError:
        pass
    found = []
    with suppress(POSKeyError):
        for number in list(queue.batches.all.ids()):
            batch = batch_of(queue, number)
            if batch is not None:
                # In a new mapping, for the old one may have lost a block.
                found.append(batch)
    queue.batches = Batches()
    for batch in found:
        queue.batches.all[batch.id] = batch
        if batch.state == OPEN:
            batch.key = queue.batches.open.insert(
                time_key(batch.createdAt), batch.id)
    return True
