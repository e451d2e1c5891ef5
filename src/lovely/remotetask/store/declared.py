"""Which of the schedules that code declares holds, where releases differ.

::

    a worker says of a key     its digest; GONE: it has the task, and declares
                               nothing; or nothing at all: it lacks the task
    a record says of a key     the digest that holds, and those before it

    what the worker says       holds already: nothing is to be done
                               never held: it is taken over
                               held before: it is taken over once no live
                               worker says what holds

Which of two releases is the newer one, nothing tells but this: what it
declares has not been seen before.  A worker of the old one that starts once
more finds what it declares among what held before, and leaves the schedule
alone as long as a worker of the new one lives.  After a rollback the old one
takes over when the last worker of the new one is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask.store.retention import declared
from lovely.remotetask.store.workers import LOOP

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

#: In place of a digest: the code declares this schedule no longer.
GONE = ''

#: What a worker may do about a schedule: see the module.
HOLDS = 'holds'
TAKE_OVER = 'take over'
LEAVE = 'leave'

# How many digests that held before are known.
_BEFORE = 20


class Record(NamedTuple):
    """What is noted of a schedule that the code has declared.

    Attributes: ``digest``, of the declaration that holds, or GONE; ``before``,
    those that held before, the latest last; ``declaration``, the latest one,
    of a schedule that is GONE, too; ``paused``: it was paused because it is
    GONE; ``due`` (seconds since 1970), when it was to run then.
    """

    digest: str
    before: tuple[str, ...]
    declaration: dict[str, Any]
    paused: bool = False
    due: float | None = None


def records(queue: JobQueue) -> dict[str, Record]:
    """Key -> Record, of all schedules that code has ever declared."""
    found = (queue.declared or {}).get('schedules', {})
    return {key: Record(*values) for key, values in found.items()}


def note(queue: JobQueue, key: str, record: Record) -> None:
    """Note a record."""
    kept = declared(queue)
    # As plain values: a record must not need our classes.
    kept['schedules'] = {**kept.get('schedules', {}), key: tuple(record)}


def following(record: Record | None, digest: str,
              declaration: dict[str, Any] | None) -> Record:
    """The record once another digest holds."""
    if record is None:
        # That it was not there held before.
        assert declaration is not None
        return Record(digest, (GONE,), declaration)
    before = (*(one for one in record.before if one not in (
        digest, record.digest)), record.digest)
    return Record(digest, before[-_BEFORE:],
                  declaration or record.declaration)


def decide(record: Record | None, digest: str, others: Iterable[str]) -> str:
    """What a worker may do that says ``digest``.

    Arguments: ``others``, what the other live workers say.
    Returns: HOLDS, TAKE_OVER or LEAVE.
    """
    if record is None:
        return HOLDS if digest == GONE else TAKE_OVER
    if record.digest == digest:
        return HOLDS
    if digest in record.before and record.digest in others:
        return LEAVE
    return TAKE_OVER


def said(queue: JobQueue, key: str, me: str | None = None) -> list[str]:
    """What the workers that run jobs say of a key.

    Arguments: ``me``, the id of one that does not count.
    """
    return [record.declares[key] for worker, record in queue.workers.items()
            if worker != me and worker.startswith(LOOP)
            and key in record.declares]


def why_paused(queue: JobQueue, job: Job) -> str | None:
    """Why the code has paused a schedule, None: it has not."""
    found = records(queue).get(job.key or '')
    return ('no longer declared by the code'
            if found is not None and found.paused else None)


def note_person(queue: JobQueue, job: Job) -> None:
    """Note that a person has paused or resumed a schedule.

    What the code has paused before is the person's now: where it is declared
    again, it stays as they have left it.
    Txn: the caller's; writes what is noted of the code, where the code had
    paused it.
    """
    found = records(queue).get(job.key or '')
    if found is not None and found.paused:
        note(queue, str(job.key), found._replace(paused=False, due=None))


def is_declared(queue: JobQueue, job: Job) -> bool:
    """Was a schedule declared by code?"""
    return bool(job.key) and job.key in (
        (queue.declared or {}).get('schedules', ()))
