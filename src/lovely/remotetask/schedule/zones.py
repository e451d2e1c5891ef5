"""Times on the wall of a time zone, and the moments that they name.

Twice a year most clocks are set.  An hour is **skipped** in spring: its times
never come.  An hour is **repeated** in autumn: its times come twice.

=====================  ====================  =================================
A schedule of          a time is skipped     a time is repeated
=====================  ====================  =================================
fixed times (a job a   runs at the moment    runs the first time, and not the
day at 2:30)           of the change         second
each hour or minute    does not run then     runs both times
=====================  ====================  =================================

So a fixed time runs once on each day, and what runs every ten minutes goes on
every ten minutes of real time.  Source: the cron of Debian.

Nothing here knows a rule of a zone: zoneinfo answers how far a zone is from
UTC at a moment, and that is all that is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Iterable
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors.bounds import shown

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

#: ``times(after)``: the times on the wall (seconds since 1970, as if the zone
#: were UTC) after one, ascending.
Times = Callable[[float], Iterable[int]]

# How far to look for a change of the clocks (seconds).  No zone has ever set
# its clocks by more than a day, so a time that comes again does so within it.
_DAY = 86_400

# EST names a number of hours, and no summer time; IST is that of three
# countries.  UTC and GMT are what they say.
_ABBREVIATION = '(?!UTC$|GMT$)[A-Z]{2,5}([0-9][A-Z]{3})?'

# Files beside the zones, which are others on another machine, or count leap
# seconds.
_NO_ZONE = '(right|posix)/.*|localtime|posixrules|Factory'


def check_zone(name: Any) -> str:
    """The name of a time zone, as zoneinfo knows it.

    Raises: InvalidSchedule for a name that is unknown or ambiguous.
    """
    if not isinstance(name, str):
        raise InvalidSchedule(
            f'timezone is {shown(name)}; give the name of a zone (str), for '
            f"instance 'Europe/Vienna'")
    if re.fullmatch(_ABBREVIATION, name):
        raise InvalidSchedule(
            f'timezone {name!r} is an abbreviation: it is ambiguous, or knows '
            f"no summer time; name a place, for instance 'America/New_York'")
    try:
        if re.fullmatch(_NO_ZONE, name):
            raise KeyError(name)
        zone(name)
    except (KeyError, ValueError, OSError):
        hint = ('' if _has_zones() else
                ': this machine has no time zones; install tzdata')
        raise InvalidSchedule(
            f'timezone {shown(name)} is unknown{hint}; give the name of a '
            f"zone, for instance 'Europe/Vienna'") from None
    return name


@lru_cache
def _has_zones() -> bool:
    from zoneinfo import available_timezones

    # Each of them is a file: a worker without one zone asks at each look.
    return len(available_timezones()) > 1


def zone(name: str) -> ZoneInfo:
    """The zone of this name.  Raises: ZoneInfoNotFoundError (a KeyError)."""
    # Here: its import is a good part of ours, and UTC needs none of it.
    from zoneinfo import ZoneInfo
    return ZoneInfo(name)


def offset(where: ZoneInfo, seconds: float) -> int:
    """How far a zone is before UTC at a moment (seconds)."""
    return _seconds(datetime.fromtimestamp(seconds, where).utcoffset())


def local(name: str, seconds: float) -> str:
    """A moment as the clock of a zone shows it, in ISO 8601, to the second.

    Arguments: ``name``, of the zone; ``seconds`` since 1970.
    """
    return datetime.fromtimestamp(
        int(seconds), UTC if name == 'UTC' else zone(name)).isoformat()


def moment(where: ZoneInfo, wall: int) -> int:
    """The moment of a time on the wall: the first, where it comes twice.

    Returns: seconds since 1970; of a time that is skipped, the moment at which
    the clocks are set.
    """
    named = datetime.fromtimestamp(wall, UTC).replace(tzinfo=where)
    # Of a time that is skipped this is the offset before the change.
    found = wall - _seconds(named.utcoffset())
    if found + offset(where, found) == wall:
        return found
    return _change(where, wall - _seconds(named.replace(fold=1).utcoffset()),
                   found)


def next_time(times: Times, fixed: bool, name: str, now: float) -> int | None:
    """The first moment after ``now`` whose time on the wall matches.

    Arguments: ``times``, see Times; ``fixed``: does it name fixed times?  See
    above; ``name``, of the zone; ``now``, seconds since 1970.
    Returns: seconds since 1970; None: there is none.
    Raises: as ``zone``.
    """
    if name == 'UTC':
        return next(iter(times(now)), None)
    where = zone(name)
    if not fixed:
        return _next_of_all(times, where, now)
    # The moments of ascending times on the wall ascend, too.
    for wall in times(now + offset(where, now)):
        found = moment(where, wall)
        if found > now:
            return found
    return None


def _next_of_all(times: Times, where: ZoneInfo, now: float) -> int | None:
    """The first moment after ``now`` at which the clock shows a match."""
    before = offset(where, now)
    end = int(now) + _DAY + 1
    change = (_change(where, int(now), end)
              if offset(where, end) != before else None)
    for wall in times(now + before):
        if wall - before < (change or end):
            return wall - before        # the offset is the same until then
        if change is None:
            # No time that has passed comes again before this one does.
            found = moment(where, wall)
            if found + offset(where, found) == wall:
                return found
        else:
            break
    if change is None:
        return None
    # From the change on, with the clock as it has been set.
    after = offset(where, change)
    for wall in times(change + after - 1):
        found = (wall - after if wall - after < change + _DAY
                 else moment(where, wall))
        if found + offset(where, found) == wall:
            return found
    return None


def _change(where: ZoneInfo, low: int, high: int) -> int:
    """The moment in ``low`` < it <= ``high`` at which the clocks are set."""
    before = offset(where, low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(where, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _seconds(found: timedelta | None) -> int:
    assert found is not None        # a ZoneInfo always answers
    return found.days * _DAY + found.seconds
