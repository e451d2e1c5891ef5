"""Gates: how many jobs of a task, or of one key, may run at once, or begin in
a span of time.

::

    ready  --claim-->  runs             all its gates were open: the record of
      |       ^                         each notes the claim
      |       | claim, once the gate is open again
      v       |
    barred ---+                         the gate was shut: the job stands there
      |                                 behind those that came before it
      +--unbar--> ready                 who frees the place cannot claim it

The record of a gate is written by each claim that passes it, and so two claims
at one moment conflict.  It is no counter: it names the claims that have
passed, and one counts as long as its job carries that token.  A limit dies
with its job, and there is nothing to reset.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple
from zlib import crc32

from BTrees.IOBTree import IOBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

from lovely.remotetask.job import Job
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.order import READY_TIME
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look

# Over how many records the gates are spread: claims of two gates that share
# one conflict now and then, and are repeated.
_SHARDS = 256

# A rate is counted in so many slices of its span.  One more than these never
# has more than the rate, and so has no span of that length.
_SLICES = 20

# A key in ``barred``: a number of the gate, the priority, and the time at
# which the job became ready, in 8 ms.
_GATE_BITS, _PRIORITY_BITS, _TIME_BITS, _CUT_BITS = 22, 3, 37, 13


class Gate(NamedTuple):
    """What a job has to pass.

    Attributes: ``name`` (str), see ``names_of``; ``limit`` (int), how many
    jobs behind it run at once, None: any; ``rate``, (number, seconds): how
    many begin in each span of that length, None: any.
    """

    name: str
    limit: int | None = None
    rate: tuple[int, float] | None = None


def names_of(job: Job) -> tuple[str, ...]:
    """The names of the gates that a job may have to pass."""
    name = f'task:{job.task}'
    key = job.concurrencyKey
    return (name,) if key is None else (name, f'key:{key}')


class Passed(Persistent):
    """Which claims have passed some gates: one of many records of these.

    Attributes: ``claims``, name -> those under which jobs may still run,
    (job id, token); ``begun``, name -> how many jobs began in the latest
    slices of time, (number of the last slice, counts, seconds of a slice).
    """

    def __init__(self) -> None:
        self.claims: dict[str, tuple[tuple[int, Token], ...]] = {}
        self.begun: dict[str, tuple[int, tuple[int, ...], float]] = {}


class Gates(Persistent):
    """Who has passed the gates of a queue.  Arguments: ``jobs``, of all."""

    def __init__(self, jobs: Blocks) -> None:
        self._jobs = jobs
        self._passed: IOBTree[Passed] = IOBTree()

    def running(self, name: str) -> list[Job]:
        """The jobs that run behind a gate.

        Cost: O(those); their records are loaded.
        """
        passed = self._passed.get(_shard(name))
        return [] if passed is None else [
            job for claim in passed.claims.get(name, ())
            if (job := self._holder(*claim)) is not None]

    def _holder(self, jobid: int, token: Token) -> Job | None:
        job = look(self._jobs, jobid)
        # One that cannot be read here may run elsewhere.
        return job if isinstance(job, UnreadableJob) or (
            job is not None and job.claim == token) else None

    def opens(self, gate: Gate, now: float, jobid: int) -> float | None:
        """When one more job may pass (seconds since 1970), by its rate and
        its limit.

        Arguments: ``jobid``, of the one that wants to, which may run already.
        Returns: None: now; inf: when one ends that runs.
        """
        if gate.limit is not None and gate.limit <= sum(
                job.id != jobid for job in self.running(gate.name)):
            return inf
        if gate.rate is None:
            return None
        number, seconds = gate.rate
        passed = self._passed.get(_shard(gate.name))
        width = seconds / _SLICES
        last, counts = _up_to(
            () if passed is None else passed.begun.get(gate.name, ()),
            now, width)
        room = number - sum(counts)
        if room > 0:
            return None
        for age, count in reversed(list(enumerate(reversed(counts)))):
            room += count
            if room > 0:
                return (last - age + _SLICES + 1) * width
        return now + seconds

    def load(self) -> None:
        """Load all records.  Raises: POSKeyError.  Cost: O(gates)."""
        for passed in self._passed.values():
            passed._p_activate()

    def is_whole(self) -> bool:
        """Can all records be read?  Cost: O(gates)."""
        try:
            self.load()
        except POSKeyError:
            return False
        return True

    def enter(self, gates: Iterable[Gate], jobid: int, token: Token,
              now: float) -> None:
        """Note that a claim has passed.

        Txn: writes a record that each claim of such a job writes.
        """
        for gate in gates:
            shard = _shard(gate.name)
            passed = self._passed.get(shard)
            if passed is None:
                passed = self._passed[shard] = Passed()
            claims = self._still(passed, jobid)
            passed.claims = claims | {
                gate.name: (*claims.get(gate.name, ()), (jobid, token))}
            if gate.rate is not None:
                width = gate.rate[1] / _SLICES
                last, counts = _up_to(
                    passed.begun.get(gate.name, ()), now, width)
                passed.begun = passed.begun | {
                    gate.name: (last, (*counts[:-1], counts[-1] + 1), width)}
            elif gate.name in passed.begun:
                passed.begun = {name: begun for name, begun
                                in passed.begun.items() if name != gate.name}

    def _still(self, passed: Passed, without: int) -> dict[
            str, tuple[tuple[int, Token], ...]]:
        """The claims of a record that count; a gate without any is gone."""
        found = {name: tuple(claim for claim in claims if claim[0] != without
                             and self._holder(*claim) is not None)
                 for name, claims in passed.claims.items()}
        return {name: claims for name, claims in found.items() if claims}


def _up_to(begun: tuple[int, tuple[int, ...], float] | tuple[()], now: float,
           width: float) -> tuple[int, tuple[int, ...]]:
    """The counts of the slices up to the current one.

    Arguments: ``width``, of a slice now (seconds): people may have set another
    rate since, and what has begun counts by that one, too.
    """
    current, none = int(now // width), (0,) * (_SLICES + 1)
    last, counts, before = begun or (current, none, width)
    if last * before > now + _SLICES * before:
        # A clock has gone back by more than the span: what it has counted
        # would shut the gate for that long.
        return current, none
    if before != width:
        found = list(none)
        for age, count in enumerate(reversed(counts)):
            # At its latest moment: rather too few begin than too many.
            moment = min((last - age + 1) * before, now)
            slices = current - int(moment // width)
            if slices <= _SLICES:
                found[_SLICES - max(0, slices)] += count
        last, counts = current, tuple(found)
    current = max(current, last)
    counts = (*counts, *(0,) * min(current - last, _SLICES + 1))
    return current, counts[-_SLICES - 1:]


def _shard(name: str) -> int:
    # Not hash(): its value for a text differs from process to process.
    return crc32(name.encode('utf-8', 'surrogatepass')) % _SHARDS


# --- the order of those that are barred --------------------------------------

def barred_key(name: str, ready_key: int) -> int:
    """The key of a barred job: behind its gate by priority and time."""
    gate = crc32(name.encode('utf-8', 'surrogatepass')) % 2**_GATE_BITS
    priority, us = ready_key >> 60, (ready_key & READY_TIME) >> 10
    return ((gate << _PRIORITY_BITS | priority) << _TIME_BITS
            | us >> _CUT_BITS)


def unbarred_key(key: int) -> int:
    """The ready key that a barred job had, but for its last 8 ms."""
    priority = key >> _TIME_BITS & 2**_PRIORITY_BITS - 1
    us = (key & 2**_TIME_BITS - 1) << _CUT_BITS
    return (priority << 60) + (us << 10)


def last_like(key: int) -> int:
    """The last key of the gate and the priority of a key."""
    return key | 2**_TIME_BITS - 1


def behind(name: str) -> tuple[int, int]:
    """The first and the last key of the jobs that a gate bars.

    Gates of two names may share these.
    """
    return span_of(barred_key(name, 0))


def span_of(key: int) -> tuple[int, int]:
    """The first and the last key of the gate of a key."""
    first = key >> _PRIORITY_BITS + _TIME_BITS << _PRIORITY_BITS + _TIME_BITS
    return first, first + 2**(_PRIORITY_BITS + _TIME_BITS) - 1
