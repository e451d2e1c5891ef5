"""Time as an argument: one clock, its keys, and the conversions at the border.

Inside, times are seconds since 1970 (float); aware UTC datetimes and the
naive local ones of 0.5.2 exist only on the attributes of jobs.
"""

import os
import random
import time
from datetime import UTC
from datetime import datetime

from zope.interface import implementer

from lovely.remotetask.interfaces import IClock


@implementer(IClock)
class SystemClock:
    """See IClock"""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


def as_utc(seconds: float) -> datetime:
    """The aware UTC datetime of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def as_local(seconds: float) -> datetime:
    """The naive local datetime of seconds since 1970, as 0.5.2 stored it."""
    return datetime.fromtimestamp(seconds)


def as_seconds(moment: datetime) -> float:
    """Seconds since 1970 of a datetime; a naive one is local time."""
    return moment.timestamp()


# --- moments as keys of ordered structures -----------------------------------

_TIME_TAG = 4

# Not the module-level generator: applications seed that one to predict job
# ids, which are drawn from it.  Nor the system's: that costs a call of it for
# each key.
KEY_RANDOM = random.Random()
# Else a child's keys would be its parent's, and meet them everywhere.
os.register_at_fork(after_in_child=KEY_RANDOM.seed)


def time_key(seconds: float) -> int:
    """The key of a moment (seconds since 1970), in lanes ordered by time.

    Microseconds since 1970 and a random tag, which spreads equal moments over
    the lanes: whole seconds are multiples of 64, and would all meet in one.
    Good for 18,000 years: delays of a century are ordinary here.
    """
    return ((int(seconds * 1_000_000) << _TIME_TAG)
            + KEY_RANDOM.getrandbits(_TIME_TAG))


def last_key(seconds: float) -> int:
    """The largest key that counts as due at a moment.

    One millisecond is given: equal moments move on by a microsecond when
    their tags meet, and are due all the same.
    """
    return ((int(seconds * 1_000_000) + 1000) << _TIME_TAG) - 1


def key_time(key: int) -> float:
    """The moment of a ``time_key``."""
    return (key >> _TIME_TAG) / 1_000_000
