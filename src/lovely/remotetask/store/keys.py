"""Keys: the order of entries, and the ids and keys a connection gives next."""

from __future__ import annotations

import weakref
from typing import Any

from persistent import Persistent

from lovely.remotetask.edge.clock import KEY_RANDOM
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.store.log import Log

_EPOCH_2020 = 1_577_836_800     # 2020-01-01 UTC: its microseconds fit 50 bits
_READY_TAG = 10


class Local:
    """A connection's notes about one persistent object; never stored."""

    def __init__(self) -> None:
        self.next_id: int | None = None
        # The end of the block that this connection has drawn.
        self.own_end: int | None = None
        # Ids to be given first, see reserved.
        self.reserved: tuple[int, int] | None = None
        # The time of the latest ready key (microseconds).
        self.last_us = 0


# Keyed by the connection, not in _v_ attributes: those vanish when the object
# leaves the cache, and with them the block of ids and the order of adds.
_locals: weakref.WeakKeyDictionary[Any, dict[Any, Local]] = (
    weakref.WeakKeyDictionary())


def local(persistent: Persistent) -> Local:
    """The unstored state of a persistent object in its connection."""
    holder = persistent._p_jar
    if holder is None:
        holder = persistent
    key = persistent._p_oid if holder is not persistent else None
    try:
        return _locals[holder][key]
    except KeyError:
        # The notes about a new object go on once it is stored.
        before = {} if key is None else _locals.pop(persistent, {})
        mine = before.get(None) or Local()
        _locals.setdefault(holder, {})[key] = mine
        return mine


def ready_key(priority: int, queue: Persistent) -> int:
    """The key of a job that becomes ready now: priority, time, random tag.

    Arguments: ``priority``, -4 to 3; ``queue``: the earlier keys of its
    connection are smaller.
    Returns: an int of 63 bits.  50 bits of time last until 2055; after that,
    jobs of one priority run in random order, and nothing else breaks.
    """
    mine = local(queue)
    us = int((SYSTEM_CLOCK.now() - _EPOCH_2020) * 1_000_000)
    # Adds of one connection keep their order within one microsecond.
    mine.last_us = us = max(us, mine.last_us + 1)
    return (((3 - priority) << 60)
            + (min(max(us, 0), 2**50 - 1) << _READY_TAG)
            + KEY_RANDOM.getrandbits(_READY_TAG))


# A database, or a log that is in none -> oid -> the latest moment of that log.
_moments: weakref.WeakKeyDictionary[Any, dict[Any, int]] = (
    weakref.WeakKeyDictionary())


def next_moment(log: Log, now: float) -> int:
    """The moment at which a job ends, for a log.

    It is later than all others of the log, although clocks may go back, and
    although some are noted only at the end of a page: a page of a listing
    starts at a moment, and would show jobs twice or not at all.
    """
    jar = log._p_jar
    holder, oid = (log, None) if jar is None else (jar.db(), log._p_oid)
    known = _moments.get(holder)
    if known is None:
        known = _moments.setdefault(holder, {})
    moment = max(time_key(now), log.latest() + 1, known.get(oid, 0) + 1)
    known[oid] = moment
    return moment


def ready_time(key: int) -> float:
    """When (seconds since 1970) the job of a ``ready_key`` became ready."""
    return _EPOCH_2020 + ((key >> _READY_TAG) & (2**50 - 1)) / 1_000_000


def draw(limit: int) -> int:
    """A random int below ``limit``, not from the module-level generator."""
    return KEY_RANDOM.randrange(limit)


class reserved:
    """Within the block, jobs that this connection adds get these ids first.

    Arguments: ``persistent``, the mapping of jobs; ``ids``, (first, end), or
    None; their block of ids is there already.
    """

    def __init__(self, persistent: Persistent,
                 ids: tuple[int, int] | None) -> None:
        self._mine = local(persistent)
        self._ids = ids

    def __enter__(self) -> None:
        mine = self._mine
        self._before = mine.next_id, mine.own_end, mine.reserved
        if self._ids is not None:
            # Checked when a job is added: most tasks add none.
            mine.next_id, mine.own_end, mine.reserved = None, None, self._ids

    def __exit__(self, *error: object) -> None:
        mine = self._mine
        # The connection goes back to the pool; the ids stay with their slot.
        mine.next_id, mine.own_end, mine.reserved = self._before
