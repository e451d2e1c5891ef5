"""Batches: jobs that were added as a group, and what comes after all of them.

A job that ends writes nothing here: a record that all jobs of a group write
would let them conflict.  Threads look instead, at one job alone as long as
that is not over.  Then a short transaction looks at all, and if none is left
closes the batch and adds what follows.  Two that close it at once write its
record, and one conflicts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import BTrees
from persistent import Persistent
from ZODB.POSException import POSKeyError

from lovely.remotetask import payload
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.fields.edges import Edges
from lovely.remotetask.follow import STOP
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.store import records
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.following import make
from lovely.remotetask.store.following import place
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.store.local import local
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.states import is_final

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

#: The states of a group: its jobs are not over; all are; a job was deleted
#: that had not completed, and what follows never comes.  Or it was CANCELLED.
OPEN, DONE, BROKEN = 'open', 'done', 'broken'

#: How a job of a group has ended that is deleted, and left no word of it.
GONE = 'gone'

#: How the jobs of a group may have ended.
ENDS = (COMPLETED, ERROR, CANCELLED, GONE)

# One letter for each job of a group, once it was deleted.
_LETTERS = {COMPLETED: b'c', ERROR: b'e', CANCELLED: b'x'}
_ENDS = {letter[0]: end for end, letter in _LETTERS.items()}

#: How many jobs of a group are loaded in one round trip.
AHEAD = 100

# Fewer than of ready jobs: producers of groups seldom meet.
_LANES = 4


class Batch(Persistent):
    """Jobs that were added together.

    Attributes: ``id`` (int); ``state``, OPEN, DONE, BROKEN or
    CANCELLED; ``of`` (int), how
    many jobs; ``policy``, see follow.POLICIES; ``edges``, what follows, see
    Edges, or None; ``priority``, ``submitter``, of what follows; ``createdAt``
    and ``endedAt``, seconds since 1970; ``then``, the id of the job that has
    followed; ``stuck``, why it could not be added; ``ends``, how its jobs had
    ended when it did: end -> int; ``key``, its place among the open ones.
    """

    state = OPEN
    then: int | None = None
    stuck: str | None = None
    ends: dict[str, int] | None = None
    endedAt: float | None = None
    # How the jobs had ended that are deleted, a letter for each job.
    _deleted = b''

    def __init__(self, id: int, of: int, policy: str, edges: Any,
                 submitter: str | None, now: float) -> None:
        self.id, self.of, self.policy = id, of, policy
        self.edges, self.submitter, self.createdAt = edges, submitter, now
        self.key = 0
        self._jobs: Any = b''

    def set_jobs(self, ids: list[int]) -> None:
        """Note the ids of its jobs, in their order."""
        packed = struct.pack(f'<{len(ids)}q', *ids)
        self._jobs = payload.wrap(packed, len(packed))

    def jobs(self) -> tuple[int, ...]:
        """The ids of its jobs, also of those that are deleted."""
        packed = payload.unwrap(self._jobs)
        return struct.unpack(f'<{len(packed) // 8}q', packed)

    def job_at(self, number: int) -> int:
        """The id of one of its jobs."""
        return int(struct.unpack_from(
            '<q', payload.unwrap(self._jobs), 8 * number)[0])

    def is_deleted(self) -> bool:
        """Are all of its jobs deleted?"""
        return bool(self._deleted) and 0 not in self._deleted

    def note_deleted(self, number: int, end: str) -> None:
        """Note how a job had ended that is about to be deleted."""
        letters = bytearray(self._deleted or bytes(self.of))
        letters[number:number + 1] = _LETTERS[end]
        self._deleted = bytes(letters)

    def is_noted(self, number: int) -> bool:
        """Has a job left word that it is deleted?"""
        return bool(self._deleted and self._deleted[number])

    def end_of_deleted(self, number: int) -> str:
        """How a job had ended that is deleted."""
        letter = self._deleted[number] if self._deleted else 0
        return _ENDS.get(letter, GONE)


class Batches(Persistent):
    """The batches of a queue.

    Attributes: ``all``, a mapping id -> Batch; ``open``, the lanes of those
    that are not over, moment -> id.
    """

    def __init__(self) -> None:
        self.all: Any = Blocks(BTrees.family32)
        self.open = Lanes(_LANES)

    def add(self, of: int, policy: str, edges: Any, submitter: str | None,
            now: float) -> Batch:
        """A new batch, for jobs that are about to be added."""
        found = Batch(self.all.draw_id(local(self.all), self.all.end - 1),
                      of, policy, edges, submitter, now)
        self.all[found.id] = found
        found.key = self.open.insert(time_key(now), found.id)
        return found

    def end(self, batch: Batch, state: str, now: float) -> None:
        """Let a batch be over."""
        self.open.discard(batch.key, batch.id)
        batch.state, batch.endedAt = state, now


def batch_of(queue: JobQueue, number: Any) -> Batch | None:
    """The batch of this id, or None: it is gone, or its record is lost.

    A lost one must not keep its jobs from their ends, nor from a clean.
    """
    if queue.batches is None:
        return None
    try:
        found: Batch | None = queue.batches.all.get(number)
        if found is not None:
            found._p_activate()
    except POSKeyError:
        return None
    return found


def forget(queue: JobQueue, job: Job) -> None:
    """Note for its group, if any, how a job has ended that is deleted."""
    if job.groupPlace is None or job.status not in _LETTERS:
        return
    batch = batch_of(queue, job.groupPlace[0])
    if batch is None:
        return
    batch.note_deleted(job.groupPlace[1], job.status)
    if batch.is_deleted() and batch.state != OPEN:
        # Nothing leads to it any more.
        del queue.batches.all[batch.id]


def needs_results(queue: JobQueue, number: int) -> bool:
    """May what follows a group still read the results of its jobs?"""
    batch = batch_of(queue, number)
    if batch is None or batch.edges is None:
        return False
    if batch.state == OPEN:
        return True
    job = None if batch.then is None else look(queue.jobs, batch.then)
    return (job is not None and job.afterGroup == batch.id
            and not is_final(job.status))


# --- looking -----------------------------------------------------------------

def end_of(queue: JobQueue, batch: Batch, number: int, jobid: int
            ) -> tuple[str, bool]:
    """How a job of a group has ended, OPEN if it has not; is it deleted?"""
    job = look(queue.jobs, jobid)
    if isinstance(job, UnreadableJob):
        return OPEN, False      # another process may be able to read it
    if job is None or job.groupPlace != (batch.id, number):
        # Deleted; its id may have been given once more.
        return batch.end_of_deleted(number), True
    return (str(job.status) if is_final(job.status) else OPEN), False


def _keeps_open(batch: Batch, end: str, deleted: bool) -> bool:
    """Does a job of which end_of says this keep its group open?"""
    if end == OPEN:
        return True
    # What has failed may be retried, and goes on then.
    return batch.policy == STOP and end != COMPLETED and not deleted


def is_awaited(queue: JobQueue, batch: Batch, before: int | None) -> bool:
    """Does the job that the look before has met still keep a group open?

    Arguments: ``before``, how many jobs of the group were left then; None:
    all, and then it is the last one, which mostly runs last.
    Cost: O(1).
    """
    number = batch.of if before is None else before
    return number > 0 and _keeps_open(batch, *end_of(
        queue, batch, number - 1, batch.job_at(number - 1)))


# --- the end -----------------------------------------------------------------

def close(queue: JobQueue, number: int, before: int | None, now: float
          ) -> tuple[int, list[Job]]:
    """Close a group if its jobs are over, and add what follows.

    All jobs are looked at in this very snapshot: what a thread remembers says
    where to begin, and decides nothing.
    Arguments: ``before``, how many jobs were left at the look before.
    Returns: how many are left, from the first one on, the last of which keeps
    it open, 0: none; and the jobs that are added.
    Txn: a short one of its own; if the group is closed, writes its batch and
    what an add writes.
    Cost: O(jobs of the group) where it is closed.
    """
    batch = batch_of(queue, number)
    if batch is None or batch.state != OPEN or queue.batches is None:
        return 0, []
    ends, broken = dict.fromkeys(ENDS, 0), 0
    for index, end, deleted in _from(
            queue, batch, batch.of if before is None else before):
        if _keeps_open(batch, end, deleted):
            return index + 1, []
        ends[end] += 1
        broken += deleted and end != COMPLETED
    is_broken = bool(broken) and batch.policy == STOP
    queue.batches.end(batch, BROKEN if is_broken else DONE, now)
    batch.ends = ends
    if batch.is_deleted():
        del queue.batches.all[batch.id]
    if is_broken:
        log.error('group %s: a job that had not completed is deleted; what '
                  'was to follow never comes', batch.id)
        return 0, []
    return 0, [] if batch.edges is None else _follow(queue, batch, now)


def _from(queue: JobQueue, batch: Batch, before: int
          ) -> Iterator[tuple[int, str, bool]]:
    """How all jobs of a group have ended: from one backwards, then the rest.

    Gives: which job, and what end_of says of it; lazy.
    """
    jobs = batch.jobs()
    for first, number in ((0, before), (before, batch.of)):
        ahead = 1       # it may be the only one that is looked at
        while number > first:
            last = max(first, number - ahead)
            records.load(queue.jobs, jobs[last:number])
            while number > last:
                number -= 1
                yield number, *end_of(queue, batch, number, jobs[number])
            ahead = AHEAD


def close_here(queue: JobQueue, job: Job, now: float) -> list[Job]:
    """Close the group of a job that ends in the caller's transaction, if it
    was the last one.

    Returns: the jobs that are added.
    """
    batch = (None if job.groupPlace is None
             else batch_of(queue, job.groupPlace[0]))
    if batch is None or batch.state != OPEN:
        return []
    # A mere hint: what it tells may have been rolled back.
    hints = local(batch)
    if is_awaited(queue, batch, hints.left):
        return []
    try:
        hints.left, added = close(queue, batch.id, hints.left, now)
    except POSKeyError as error:
        # The end of this job must not wait for a backup.
        log.error('group %s cannot be closed: %s', batch.id, error)
        return []
    return added


def _follow(queue: JobQueue, batch: Batch, now: float) -> list[Job]:
    edges = Edges(*batch.edges)
    assert edges.success is not None and batch.ends is not None
    result = {'group': batch.id, 'of': batch.of, 'jobs': list(batch.jobs()),
              **batch.ends}
    try:
        job = make(queue, edges, edges.success, result, now, None,
                   submitter=batch.submitter, afterGroup=batch.id)
    except InputRejected as error:
        batch.stuck = f'its input, which holds the result, {error}'
        log.error('group %s is done, and what follows it is stuck: %s',
                  batch.id, batch.stuck)
        return []
    place(queue, job, now)
    batch.then = job.id
    return [job]


def cancel(queue: JobQueue, batch: Batch, now: float) -> Iterator[Job]:
    """Cancel a group: its jobs that are not over, and what follows.

    Gives: each job that is cancelled; the caller takes them all.
    """
    if queue.batches is not None and batch.state == OPEN:
        queue.batches.end(batch, CANCELLED, now)
    for number, jobid in enumerate(batch.jobs()):
        job = look(queue.jobs, jobid)
        if (job is not None and not isinstance(job, UnreadableJob)
                and job.groupPlace == (batch.id, number)
                and queue.cancel(job)):
            yield job
    then = None if batch.then is None else look(queue.jobs, batch.then)
    if (then is not None and not isinstance(then, UnreadableJob)
            and then.afterGroup == batch.id and queue.cancel(then)):
        yield then


def cancel_open(queue: JobQueue, now: float) -> None:
    """Let no group of a copied queue be followed by anything.

    The original's are: each effect would come twice.
    """
    if queue.batches is not None:
        for _, number in list(queue.batches.open.up()):
            batch = batch_of(queue, number)
            if batch is not None:
                queue.batches.end(batch, CANCELLED, now)
