"""Adds the jobs that follow one, in the commit that ends it.

::

    a short run      its finish puts what follows into the lanes, as an add
                     does
    a long run       its snapshot is old: to write a lane that others have
                     written since would undo it.  Its finish stores the job
                     that follows, and notes it in the slot's claims, which
                     nobody else writes.  A short transaction behind it puts
                     that into the lanes; so does the next claim of the slot,
                     or the end of its worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from ZODB.POSException import POSKeyError

from lovely.remotetask import payload
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.fields.edges import Edges
from lovely.remotetask.fields.edges import Link
from lovely.remotetask.follow import CONTINUE
from lovely.remotetask.follow import filled
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.job import Job
from lovely.remotetask.store.local import local
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.store.timetable import Timetable


def follow(queue: Timetable, job: Job, status: str, values: dict[str, Any],
           now: float, held: int | None) -> list[Job]:
    """Add the jobs that follow one which ends now.

    Arguments: ``status``, how its run ends; ``values``, what is about to be
    stored with it: ``output`` or ``error`` is read, and what has followed is
    put in; ``held``, the slot of a long run, None: its snapshot is fresh.
    Returns: the jobs.
    """
    assert job.edges is not None
    edges = Edges(*job.edges)
    done: list[int | None] = list(job.followed)
    added, stuck = [], None
    for number, result, which in _triggered(job, edges, status, values):
        try:
            made = _made(queue, edges, number, result, job, now)
        except InputRejected as error:
            link = Link(*payload.unwrap(edges.links)[number])
            stuck = (f'task {link.task!r} cannot follow: its input, which '
                     f'holds the result, {error}')
        except POSKeyError as error:
            stuck = f'what follows cannot be read: {describe(error)}'
        else:
            place(queue, made, now, held)
            added.append(made)
            done[which] = made.id
    if stuck is not None:
        log.error('job %s (task %r) has ended, and what follows it is stuck: '
                  '%s', job.id, job.task, stuck, extra={
                      'job_id': job.id, 'task': job.task})
    values.update(followed=tuple(done), followStuck=stuck)
    return added


def _triggered(job: Job, edges: Edges, status: str, values: dict[str, Any]
               ) -> list[tuple[int, Any, int]]:
    """The links whose turn it is: (number, result, which of ``followed``)."""
    # A retry that completes goes on with a chain; one that had gone on before
    # does not twice.
    fresh = job.recurring or job.followed[0] is None
    if status == COMPLETED:
        return ([] if edges.success is None or not fresh else
                [(edges.success, payload.unwrap(values['output']), 0)])
    if status != ERROR:
        return []
    found: list[tuple[int, Any, int]] = []
    if edges.failure is not None:
        kind, message, _, attempt, *_ = values['error']
        found.append((edges.failure, {
            'type': kind, 'message': message, 'attempt': attempt}, 1))
    if edges.success is not None and edges.policy == CONTINUE and fresh:
        found.append((edges.success, None, 0))
    return found


def _made(queue: Timetable, edges: Edges, number: int, result: Any,
          before: Job, now: float) -> Job:
    return make(queue, edges, number, result, now,
                priority=before.priority or None, submitter=before.submitter,
                follows=before.id)


def make(queue: Timetable, edges: Edges, number: int, result: Any, now: float,
         priority: int | None, **values: Any) -> Job:
    """Make the job of a link, and store it; it stands nowhere yet.

    Arguments: ``result``, what RESULT in its input stands for; ``priority``,
    where the link has none; ``values``, further attributes of it.
    Raises: InputRejected where the input cannot be stored.
    """
    link = Link(*payload.unwrap(edges.links)[number])
    input, holds = filled(payload.unwrap(link.input), result)
    jar = queue._p_jar
    size = payload.check(input, jar)
    # What the job before has returned stays its own, and each job of a
    # schedule gets an input of its own.
    input = payload.copied(input)
    behind = edges.behind(link)
    job = Job.__new__(Job)
    job.put(id=queue.jobs.draw_id(local(queue.jobs), queue.jobs.end - 1),
            task=link.task, input=payload.wrap(input, size), createdAt=now,
            delay=link.delay, inputFilled=holds or None,
            edges=None if behind is None else tuple(behind),
            **{'priority': priority, **link.kept, **values})
    queue.jobs[job.id] = job
    return job


def place(queue: Timetable, job: Job, now: float, held: int | None = None
          ) -> None:
    """Let a job wait for a thread, or for its delay.

    Arguments: ``held``, as follow's.
    """
    if held is not None:
        job.put(status=QUEUED)
        claims = queue.slots[held].claims
        claims.held = (*claims.held, job.id)
    elif job.delay is not None:
        queue.schedule(job, now)
    else:
        queue.enqueue(job)


def place_held(queue: Timetable, number: int, now: float) -> int:
    """Place the jobs that the finishes of a slot have held.

    Returns: how many.
    Txn: writes lanes that others write, and so needs one of its own.
    """
    claims = queue.slots[number].claims
    if not claims.held:
        return 0
    held, claims.held = claims.held, ()
    placed = 0
    for jobid in held:
        job = look(queue.jobs, jobid)
        # It may have been cancelled, deleted or told to run now.
        if (job is None or isinstance(job, UnreadableJob)
                or job.status != QUEUED or job.position is not None):
            continue
        place(queue, job, now)
        placed += 1
    return placed


def is_held(queue: Timetable, jobid: int) -> bool:
    """Is a job held by a slot, to be placed in a moment?"""
    return any(jobid in slot.claims.held for slot in queue.slots.values())
