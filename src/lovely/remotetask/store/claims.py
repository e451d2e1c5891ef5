"""Slots: which jobs a worker's thread has claimed, and which it has ended.

::

    lanes of ready        page of the slot            log of the slot
    key -> job    plan    (key, job) x 32     close   moment -> job
                 ------>  ended | runs | next ------>
                             |
                             v  left: entries that the slot leaves in the
                                lanes until it removes many at once

A thread plans a page of jobs and writes that down once.  A commit that ends
one job of the page and claims the next writes those two Job records and
nothing else: the page says which jobs may carry a claim of this slot, and the
jobs say which of them the slot has ended.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import NamedTuple

from persistent import Persistent
from ZODB.POSException import POSKeyError

from lovely.remotetask.fields.limits import DEFAULT_QUEUE
from lovely.remotetask.store.history import History
from lovely.remotetask.store.log import Log

Entries = list[tuple[int, int]]

#: (worker id, slot, number): the worker and slot that run a job, and the
#: number of the claim.  No two claims share a token.
Token = tuple[str, int, int]


def pack(entries: Entries) -> bytes:
    """Pairs of ints as one value.

    ZODB's pickler asks about each single value of a record whether it is
    persistent, which is most of what a record costs.
    """
    numbers = [number for entry in entries for number in entry]
    return struct.pack(f'<{len(numbers)}q', *numbers)


def unpack(packed: bytes) -> Entries:
    """The entries that ``pack`` was given."""
    numbers = iter(struct.unpack(f'<{len(packed) // 8}q', packed))
    return list(zip(numbers, numbers, strict=True))


class Left(Persistent):
    """Entries that a slot has left in the lanes, (key, job id).

    A record of its own, written once: the claims are written for each page.
    """

    def __init__(self, entries: Entries) -> None:
        self._packed = pack(entries)

    def entries(self) -> Entries:
        return unpack(self._packed)


class Claims(Persistent):
    """The claims of one thread; written when it turns to a new page.

    Attributes: ``ahead`` (bool): the jobs of the page are claimed without a
    removal of their entries; ``left`` (tuple of Left), the entries that
    earlier pages have left in the lanes; ``taken`` (int), how many they are;
    ``ids``, (first, end), the ids for jobs that tasks of the slot add, in a
    block that is there before the tasks start; ``queue``, the name of the
    queue of which the page is, and all that was left, None: the default one;
    ``held`` (tuple of int), the jobs that follow long runs of the slot and
    stand in no lane yet: see following.
    """

    queue = None        # type: str | None
    held: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._page = b''
        self.ahead = False
        self.left: tuple[Left, ...] = ()
        self.taken = 0
        self.ids: tuple[int, int] | None = None

    def page(self) -> Entries:
        """The entries, (key, job id), that this slot works on.

        Each job that runs under a claim of the slot is among them.  A key of
        -1 stands for a job that was not taken from a lane.
        """
        return unpack(self._page)

    def turn(self, entries: Entries, ahead: bool,
             queue: str | None = None) -> None:
        """Turn to a new page."""
        self._page, self.ahead = pack(entries), ahead
        if queue != self.queue:
            self.queue = queue

    def leave(self, entries: Entries) -> None:
        """Note the entries that the page leaves in the lanes."""
        if entries:
            self.left = (*self.left, Left(entries))
            self.taken += len(entries)

    def leave_nothing(self) -> None:
        """Note that all those entries have been removed."""
        if self.left:
            self.left, self.taken = (), 0


class Progress(Persistent):
    """How far the job has come that a slot runs, as its task has told.

    A record of its own: it is written beside the transaction of the run.
    Attributes: ``token``, of the run: what an earlier one has told is told by
    that; ``told``, (done, total, message, at), ``at`` in seconds since 1970.
    """

    token: tuple[str, int, int] | None = None
    told: tuple[float, float | None, str, float] = (0, None, '', 0.0)


class Serves(NamedTuple):
    """The queues whose jobs a thread runs: their names.

    Attributes: ``only``, these and no others; None: all; ``never``, but for
    these.
    """

    only: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()

    def has(self, queue: str | None) -> bool:
        """Are the jobs of this queue run?  None: of the default one."""
        name = DEFAULT_QUEUE if queue is None else queue
        return name not in self.never and (
            self.only is None or name in self.only)


ALL_QUEUES = Serves()


class Slot(Persistent):
    """One thread's place in the database: its claims, and logs of its ends.

    Slots have numbers and are used again: workers that restart daily need no
    more logs than there ever were threads at once.
    Attributes: ``owner``, the id of the worker whose thread has the slot,
    None: it is free; ``guest`` (bool): its worker lacks a task, and so the
    slot owns no lanes; ``serves`` (Serves), the queues whose jobs it runs;
    ``claims`` (Claims); ``completed``, ``error`` (Log); ``progress``
    (Progress), ``history`` (History), None: an earlier release has made the
    slot, or it is that of direct processing.
    The owner stands here and not in the claims: each claim of any thread
    looks at the owners of all slots, and must load no claims for that.
    """

    guest = False
    serves = ALL_QUEUES     # type: Serves
    progress: Progress | None = None
    history: History | None = None

    def __init__(self, owner: str | None) -> None:
        self.claims = Claims()
        self.completed = Log()
        self.error = Log()
        self.owner: str | None = None
        if owner is not None:
            self.give_to(owner)

    def give_to(self, owner: str, serves: Serves = ALL_QUEUES) -> None:
        """Let a worker's thread have this slot, which is free."""
        self.owner, self.guest = owner, False
        if self.serves != serves:
            self.serves = serves
        # Here, and not at their first use: the slot is never written in the
        # commit of a run, for that would meet those that take slots.
        if self.progress is None:
            self.progress = Progress()
        if self.history is None:
            self.history = History()

    def renew(self, name: str) -> bool:
        """Put an empty log in the place of one that has lost a record.

        A check lists its jobs anew.
        Arguments: ``name``, of the log.
        Returns: had it lost one?
        Cost: O(n): all records are loaded.
        """
        log = getattr(self, name)
        try:
            for _ in log.down():
                pass
            len(log)
        except POSKeyError:
            setattr(self, name, Log(_known_total(log)))
            return True
        return False


def _known_total(log: Log) -> int:
    """The total of a log that has lost a record, as far as it is known."""
    known = 0
    # The record of the log itself may be lost, of its tree, or of a bucket.
    with suppress(POSKeyError):
        known = others = log.others
        for first in log.buckets:
            with suppress(POSKeyError):
                known = max(known, others + log.buckets[first].get(-1, 0))
    return known
