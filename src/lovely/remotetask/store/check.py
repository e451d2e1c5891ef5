"""A look over a queue that finds jobs which no worker would ever come to.

None of this should be there.  Jobs get so by an undo of a transaction, by a
server that gives out ids of objects twice, by a backup that was restored in
part, or by code that writes to the parts of a queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from ZODB.POSException import POSKeyError
from ZODB.utils import u64

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import last_key
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.store import states
from lovely.remotetask.store.batch_views import load_groups
from lovely.remotetask.store.following import is_held
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.places import LANES
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import ghosts
from lovely.remotetask.store.records import look
from lovely.remotetask.store.workers import DIRECT_SLOT

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

#: What may be found: a job that waits and stands in no lane; one that is
#: processing under no claim of a known worker; one that stands twice in
#: claims; an entry whose job is gone or stands elsewhere; a job that cannot be
#: read; a unique key whose job is gone; a job that is to wait for longer than
#: its delay or schedule says; a job that is over, and that no listing shows; a
#: record of the queue itself that is lost.
KINDS = (ADRIFT, UNCLAIMED, TWICE, GONE, UNREADABLE, KEYS, LATE, UNLISTED,
         LOST) = (
    'adrift', 'unclaimed', 'twice', 'gone', 'unreadable', 'keys', 'late',
    'unlisted', 'lost')

#: Those of which ``mend`` puts a job back, so that it runs.
PUT_BACK = (ADRIFT, UNCLAIMED, LATE)


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes: ``kind``, one of KINDS; ``jobid`` (int); ``where``, the
    (name, key) of an entry, or a unique key; of what is LOST, ``jobid`` is the
    oid of the record, and ``where`` the part that needs it.
    """

    kind: str
    jobid: int
    where: Any = None


# --- the look ----------------------------------------------------------------

def step(queue: JobQueue, start: str | None, limit: int, now: float
         ) -> tuple[list[Finding], str | None]:
    """Look at about ``limit`` jobs or entries.

    Arguments: ``start``, what the call before returned, at first None;
    ``now``, seconds since 1970.
    Returns: what is wrong, and the ``start`` of the next call (str), None at
    the end.
    Raises: ValueError for a ``start`` of another call.
    Txn: reads; each call may have one of its own.
    """
    part, _, at = (start or f'{LANES[0]}:').partition(':')
    try:
        parts = _parts(queue)
    except POSKeyError as error:
        # The queue itself: nothing of it can be reached.
        return [Finding(LOST, u64(error.args[0]), 'queue')], None
    try:
        if part not in parts:
            raise _BadStart
        found, following = parts[part](queue, part, at, limit, now)
    except POSKeyError as error:
        # What is behind it in this part cannot be reached.
        found, following = [Finding(LOST, u64(error.args[0]), part)], None
    except _BadStart:
        raise ValueError(f'{start!r:.80} is no start for this check; use the '
                         f'"next" of the answer before') from None
    if following is not None:
        return found, f'{part}:{following}'
    names = list(parts)
    behind = names[names.index(part) + 1:]
    return found, f'{behind[0]}:' if behind else None


# Beyond any number of a slot.
_SLOTS = 2 ** 31

_Part = tuple[list[Finding], str | None]


def jobs(queue: JobQueue, start: int | None, limit: int, now: float
         ) -> tuple[list[Finding], int | None]:
    """Look at ``limit`` jobs, and leave them out of memory.

    Returns: what is wrong, and the id to go on with, None at the end.
    """
    ids = list(islice(queue.jobs.ids(start), limit + 1))
    cold = [job for job in ghosts(queue.jobs, ids[:limit])
            if job._p_changed is None and job._p_jar is not None]
    prefetch(cold)
    found = list(dict.fromkeys(
        finding for jobid in ids[:limit]
        if (finding := _judged(queue, jobid, now)) is not None))
    for job in cold:
        job._p_deactivate()
    return found, ids[limit] if len(ids) > limit else None


def _judged(queue: JobQueue, jobid: int, now: float) -> Finding | None:
    try:
        kind = verdict(queue, jobid, now)
    except POSKeyError as error:
        # What has been lost of the queue keeps no other job from its verdict.
        return Finding(LOST, u64(error.args[0]), 'jobs')
    return None if kind is None else Finding(kind, jobid)


def verdict(queue: JobQueue, jobid: int, now: float) -> str | None:
    """What is wrong about a job, one of KINDS; None: nothing.

    Cost: O(log n), and O(jobs of a page) for one that runs.
    """
    job = look(queue.jobs, jobid)
    if isinstance(job, UnreadableJob):
        return None if job.newer else UNREADABLE
    # One without a status was never added.
    if job is None or job.status is None:
        return None
    if states.is_final(job.status):
        return None if _is_listed(queue, job) else UNLISTED
    if job.status == PROCESSING:
        return None if _is_claimed(queue, job, now) else UNCLAIMED
    if not is_placed(queue, job):
        return ADRIFT
    return LATE if queue.is_late(job, now) else None


def late(queue: JobQueue, now: float) -> list[Finding]:
    """The jobs that are to wait for longer than they should.

    Cost: O(jobs that wait for a moment).
    """
    found = []
    for lanes in (queue.waiting, queue.due):
        for _, jobid in lanes.up(last_key(now) + 1):
            if verdict(queue, jobid, now) == LATE:
                found.append(Finding(LATE, jobid))
    return found


def _is_claimed(queue: JobQueue, job: Job, now: float) -> bool:
    if job.claim is None:
        return False
    worker, number, _ = job.claim
    if number == DIRECT_SLOT:
        # It runs in a caller's transaction, of which its task has committed
        # a part; from outside it cannot be told whether it still does.
        since = job.startedAt
        return since is not None and (
            abs(now - since.timestamp()) <= settings.MANUAL_SECONDS)
    slot = queue.slots.get(number)
    return (slot is not None and slot.owner == worker
            and worker in queue.workers
            and any(jobid == job.id for _, jobid in slot.claims.page()))


def _is_listed(queue: JobQueue, job: Job) -> bool:
    if job.position is None:
        return False
    name, key = job.position
    if name not in LOGS:
        return _holds(queue, name, key, job.id)
    number, moment = key
    slot = queue.slots.get(number)
    return slot is not None and (
        getattr(slot, name).holds(moment, job.id)
        or (moment, job.id) in queue.unlogged(number))


def is_placed(queue: JobQueue, job: Job) -> bool:
    if job.status == CRONJOB:
        # None also where its NextRun is lost: it gets another one.
        key = job.next_key()
        return key is not None and queue.due.holds(key, job.id)
    if job.position is None:
        return job.follows is not None and is_held(queue, job.id)
    name, key = job.position
    return name not in LOGS and _holds(queue, name, key, job.id)


def _holds(queue: JobQueue, place: str, key: int, jobid: int) -> bool:
    return (place in queue.lane_names()
            and bool(queue.lanes(place).holds(key, jobid)))


def _look_at_jobs(queue: JobQueue, part: str, start: str, limit: int,
                  now: float) -> _Part:
    # Blocks, as IOBTrees, take ids of 32 or of 64 bits.
    found, following = jobs(
        queue, _number(start, queue.jobs.end), limit, now)
    return found, None if following is None else str(following)


def _look_at_claims(queue: JobQueue, part: str, start: str, limit: int,
                    now: float) -> _Part:
    seen: set[int] = set()
    found = []
    for number in queue.slots:
        for job in queue.claimed(number):
            if job.id in seen:
                found.append(Finding(TWICE, job.id))
            seen.add(job.id)
    for record in queue.workers.values():
        # Each may be lost; no page of claims leads to them.
        if record.beat is not None:
            record.beat._p_activate()
    return found, None


def _look_at_lanes(queue: JobQueue, part: str, start: str, limit: int,
                   now: float) -> _Part:
    lanes, (at, _, end) = queue.lanes(part), start.partition('~')
    first, last = _number(at), _number(end)
    for length in lanes.lengths:
        length()            # it may be lost, too
    if last is None:
        # What is added from now on comes behind it: a check that followed a
        # caller who adds faster than it looks would never end.
        last = lanes.last_key()
    entries = [(key, jobid) for key, jobid in islice(
        lanes.entries_up() if first is None else lanes.entries_up(first),
        limit + 1) if key <= last]
    prefetch(ghosts(queue.jobs, (jobid for _, jobid in entries)))
    found = [Finding(GONE, jobid, (part, key))
             for key, jobid in entries[:limit]
             if not is_entry(queue, (part, key), jobid)]
    return found, (f'{entries[limit][0]}~{last}' if len(entries) > limit
                   else None)


def _look_at_logs(queue: JobQueue, part: str, start: str, limit: int,
                  now: float) -> _Part:
    number, _, at = start.partition('.')
    for slot in queue.slots.keys(_number(number, _SLOTS)):
        log = getattr(queue.slots[slot], part)
        len(log)
        entries = list(islice(log.down(_number(at)), limit + 1))
        found = [Finding(GONE, jobid, (part, (slot, moment)))
                 for moment, jobid in entries[:limit]
                 if not is_entry(queue, (part, (slot, moment)), jobid)]
        if len(entries) > limit:
            return found, f'{slot}.{entries[limit][0]}'
        return found, (None if slot == queue.slots.maxKey()
                       else f'{slot + 1}.')
    return [], None


def is_entry(queue: JobQueue, place: tuple[str, Any], jobid: int) -> bool:
    """Is this an entry of a job that stands here, or was it left here?"""
    job = look(queue.jobs, jobid)
    if isinstance(job, UnreadableJob):
        return True
    name, key = place
    if name.startswith('ready'):
        return job is not None or key in queue.lanes(name).all_left()
    if job is None:
        return False
    if (name == 'due' and job.next is not None
            and job.next_key() in (key, None)):
        return True
    return job.position == place


def _look_at_keys(queue: JobQueue, part: str, start: str, limit: int,
                  now: float) -> _Part:
    shard, _, key = start.partition('.')
    entries, following = queue.uniques.some(
        _number(shard, _SLOTS) or 0, key or None, limit)
    found = [Finding(KEYS, jobid, key) for key, jobid in entries
             if not has_key(queue, key, jobid)]
    return found, (None if following is None
                   else f'{following[0]}.{following[1] or ""}')


def _look_at_gates(queue: JobQueue, part: str, start: str, limit: int,
                   now: float) -> _Part:
    queue.gates.load()
    queue.limits._p_activate()
    return [], None


def _look_at_groups(queue: JobQueue, part: str, start: str, limit: int,
                    now: float) -> _Part:
    load_groups(queue)
    return [], None


def has_key(queue: JobQueue, key: str, jobid: int) -> bool:
    job = look(queue.jobs, jobid)
    return job is not None and (
        job.key == key or isinstance(job, UnreadableJob))


def _parts(queue: JobQueue) -> dict[str, Callable[..., _Part]]:
    """The parts of a look: their names begin a ``start``.

    Jobs come behind lanes and logs: where a lost record of these has been
    replaced, its jobs stand nowhere, and that is found then.
    """
    return {**dict.fromkeys(queue.lane_names(), _look_at_lanes),
            **dict.fromkeys(LOGS, _look_at_logs), 'claims': _look_at_claims,
            'gates': _look_at_gates, 'groups': _look_at_groups,
            'jobs': _look_at_jobs,
            'keys': _look_at_keys}


class _BadStart(Exception):
    pass


def _number(text: str, bound: int = 2 ** 63) -> int | None:
    if not text:
        return None
    if not re.fullmatch('-?[0-9]{1,19}', text, re.ASCII) \
            or not -bound <= int(text) < bound:
        raise _BadStart
    return int(text)
