"""Order: by which key a ready job runs, and by which moment one has ended.

Jobs of one priority run first in, first out.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from persistent import Persistent

from lovely.remotetask.edge.clock import KEY_RANDOM
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.store.local import local
from lovely.remotetask.store.log import Log

_EPOCH_2020 = 1_577_836_800     # 2020-01-01 UTC: its microseconds fit 50 bits
_READY_TAG = 10


def ready_key(priority: int, queue: Persistent, key: str | None = None
              ) -> int:
    """The key of a job that becomes ready now: priority, time, random tag.

    Arguments: ``priority``, -4 to 3; ``queue``: the earlier keys of its
    connection are smaller; ``key``, a concurrencyKey or None.
    Returns: an int of 63 bits.  50 bits of time last until 2055; after that,
    jobs of one priority run in random order, and nothing else breaks.
    """
    mine = local(queue)
    us = int((SYSTEM_CLOCK.now() - _EPOCH_2020) * 1_000_000)
    # Adds of one connection keep their order within one microsecond.
    mine.last_us = us = max(us, mine.last_us + 1)
    return tagged(((3 - priority) << 60)
                  + (min(max(us, 0), 2**50 - 1) << _READY_TAG), key)


def tagged(time: int, key: str | None) -> int:
    """A ready key with a tag, which decides on the lane.

    Arguments: ``time``, the key without one; ``key``, a concurrencyKey, whose
    jobs share a lane, for only there the next of them is known; or None.
    """
    if key is None:
        return time + KEY_RANDOM.getrandbits(_READY_TAG)
    # Enough bits for any number of lanes that divides 64.
    return (time + (KEY_RANDOM.getrandbits(_READY_TAG - 6) << 6)
            + crc32(key.encode('utf-8', 'surrogatepass')) % 64)


def untagged(key: int) -> int:
    """A ready key without its tag: what ``tagged`` takes."""
    return key >> _READY_TAG << _READY_TAG


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


#: The bits of a ready key that tell the time.
READY_TIME = (2**50 - 1) << _READY_TAG


def waited_ms(keys: Sequence[int | None], starts: Sequence[float | None]
              ) -> int:
    """For how long (milliseconds) some jobs have waited, all together.

    Arguments: ``keys``, their ready_keys; ``starts``, when they were started
    (seconds since 1970); None: it is not known, and the job does not count.
    Cost: without a step of ours for each job, where all are known.
    """
    if None in keys or None in starts:
        known = [(key, start) for key, start in zip(keys, starts, strict=True)
                 if key is not None and start is not None]
        keys, starts = zip(*known, strict=True) if known else ((), ())
    ready: Any = sum(map(READY_TIME.__and__, keys)) >> _READY_TAG
    began: Any = sum(starts) - len(starts) * _EPOCH_2020
    # The clocks of who adds and who runs may differ.
    return max(0, round(began * 1000 - ready / 1000))


def ready_time(key: int) -> float:
    """When (seconds since 1970) the job of a ``ready_key`` became ready."""
    return _EPOCH_2020 + ((key >> _READY_TAG) & (2**50 - 1)) / 1_000_000
