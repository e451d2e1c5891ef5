"""Time as an argument: one clock, and the conversions at the border.

Inside, times are seconds since 1970 (float); aware UTC datetimes and the
naive local ones of 0.5.2 exist only on the attributes of jobs.
"""

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
