"""Time as an argument: one clock, and the keys of its moments."""

import os
import random
import time

from zope.interface import implementer

from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.interfaces import IClock


@implementer(IClock)
class SystemClock:
    """See IClock"""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


def iso(seconds: float | None) -> str | None:
    """The moment as ISO 8601 text in UTC; None where there is none to show.
    """
    moment = None if seconds is None else as_utc(seconds)
    return None if moment is None else moment.isoformat()


# --- moments as keys of ordered structures -----------------------------------

_TIME_TAG = 4

# Not the module-level generator: job ids are drawn from that, and
# applications seed it to predict them.  Not random.SystemRandom either: it
# costs a system call for each key.
KEY_RANDOM = random.Random()
# Without this a child would draw the keys of its parent, and each of them
# would meet one of the parent's.
os.register_at_fork(after_in_child=KEY_RANDOM.seed)


def time_key(seconds: float) -> int:
    """The key of a moment (seconds since 1970), in lanes ordered by time.

    Microseconds since 1970 and a random tag, which spreads equal moments over
    the lanes: whole seconds are multiples of 64, so without it all of them
    would stand in one lane.
    Lasts for 18,000 years: applications use delays of a century.
    """
    return ((int(seconds * 1_000_000) << _TIME_TAG)
            + KEY_RANDOM.getrandbits(_TIME_TAG))


def first_key(seconds: float) -> int:
    """The smallest key of a moment: those before it are smaller."""
    return int(seconds * 1_000_000) << _TIME_TAG


def last_key(seconds: float) -> int:
    """The largest key that counts as due at a moment.

    It counts a millisecond more: where the tags of equal moments meet, a key
    moves on by a microsecond, and its job is due all the same.
    """
    return ((int(seconds * 1_000_000) + 1000) << _TIME_TAG) - 1


def key_time(key: int) -> float:
    """The moment of a ``time_key``."""
    return key_us(key) / 1_000_000


def key_us(key: int) -> int:
    """The moment of a ``time_key``, in microseconds since 1970."""
    return key >> _TIME_TAG
