"""The five fields of 0.5.2: which times of a clock on the wall match them.

The smallest given field sets the granularity (minute, else hour, else day,
else month), finer fields are at their minimum, and all given fields must
match, as in 0.5.2.

Days are searched, not minutes: the search visits only months and days that
the fields name.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import MAXYEAR
from datetime import UTC
from datetime import date
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors.bounds import shown

#: minute, hour, dayOfMonth, month, dayOfWeek; each sorted, () for any.
Fields = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...],
               tuple[int, ...], tuple[int, ...]]

_LIMITS = (('minute', 0, 59), ('hour', 0, 23), ('dayOfMonth', 1, 31),
           ('month', 1, 12), ('dayOfWeek', 0, 6))

#: The names of the fields.
FIELDS = tuple(name for name, _, _ in _LIMITS)

# The longest any month gets: 29 February exists.
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# The calendar repeats after 400 years, week days included.
_YEARS = 400

_DAY = 86400
_EPOCH = date(1970, 1, 1).toordinal()
_DAYS = range(1, 32)


def check_fields(minute: Any = (), hour: Any = (), dayOfMonth: Any = (),
                 month: Any = (), dayOfWeek: Any = ()) -> Fields:
    """The fields as sorted tuples, if they can occur in a calendar.

    Arguments: iterables of int.
    Returns: five tuples, sorted, each value once.
    Raises: InvalidSchedule naming field and value, also for dates that no
    year has.
    Source: 0.5.2, which took 60, '0' and 30 February, and never recovered.
    """
    given = (minute, hour, dayOfMonth, month, dayOfWeek)
    fields = tuple(
        _check_field(name, values, low, high)
        for (name, low, high), values in zip(_LIMITS, given, strict=True))
    days, months = fields[2], fields[3]
    if days and months and not any(
            days[0] <= _LONGEST[m - 1] for m in months):
        raise InvalidSchedule(
            f'dayOfMonth {days[0]} never occurs in month '
            f'{", ".join(map(str, months))}')
    return fields  # type: ignore[return-value]


def _check_field(name: str, values: Any, low: int,
                 high: int) -> tuple[int, ...]:
    wanted = f'whole numbers from {low} to {high}'
    # A string is iterable, and its characters are never meant.
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidSchedule(
            f'{name} is {shown(values)}; give a tuple of {wanted}')
    found = set()
    for value in values:
        # True is an int, and is never meant as 1; calendar.MONDAY is an int,
        # too, and is meant as 0.
        if (not isinstance(value, int) or isinstance(value, bool)
                or not low <= value <= high):
            raise InvalidSchedule(
                f'{name} contains {shown(value)}; give {wanted}')
        found.add(int(value))
    return tuple(sorted(found))


def times(fields: Fields, after: float) -> Iterator[int]:
    """The times on the wall that all fields match, from a moment on.

    Arguments: ``fields`` from ``check_fields``; ``after``, a time on the wall,
    in seconds since 1970.
    Returns: seconds since 1970 on the wall, strictly after ``after``,
    ascending, aligned to whole minutes; none where no field is given.
    Raises: ValueError or OverflowError for a moment beyond the year 9999.
    Cost: of each, O(days searched): those of one month, or of the named days
    in 40 years for a 29 February on a certain day of the week.
    Source: 0.5.2, which kept the remainder of the moment, and so drifted.
    """
    if not any(fields):
        return iter(())
    minute, hour, day, month, week_day = fields
    # Months alone mean their first days.
    first_only = bool(month) and not (minute or hour or day or week_day)
    return matching(
        after, month or range(1, 13), (1,) if first_only else day or _DAYS,
        lambda at: not week_day or at.weekday() in week_day,
        _times_of_day(minute, hour))


def matching(after: float, months: Iterable[int], days: Iterable[int],
             matches: Callable[[date], bool], times: Sequence[int]
             ) -> Iterator[int]:
    """The times on the wall of the days that match, from a moment on.

    Arguments: ``after``, as for ``times``; ``months`` and ``days`` (of the
    month), ascending, to be looked at; ``matches(date)``: is it such a day?
    ``times``, those of each day, in seconds, ascending.
    Returns, Raises: as ``times``.
    """
    start = datetime.fromtimestamp(after, UTC).date()
    for at in _days(start, months, days):
        if matches(at):
            midnight = (at.toordinal() - _EPOCH) * _DAY
            first = bisect_right(times, after - midnight) if at == start else 0
            for offset in islice(times, first, None):
                yield midnight + offset


def is_fixed(fields: Fields) -> bool:
    """Do the fields name hours, and not each hour?  See zones."""
    minute, hour = fields[:2]
    return bool(hour) or not minute


@lru_cache(maxsize=1000)
def _times_of_day(minute: tuple[int, ...],
                  hour: tuple[int, ...]) -> tuple[int, ...]:
    """The matching moments of a day, in seconds."""
    # A given minute repeats every hour; without one, finer fields are 0.
    if minute:
        hours: Iterable[int] = hour or range(24)
    else:
        hours = hour or (0,)
    return tuple(h * 3600 + m * 60 for h in hours for m in minute or (0,))


def _days(start: date, months: Iterable[int], days: Iterable[int]
          ) -> Iterator[date]:
    """The days of these months, from ``start`` on."""
    last = min(start.year + _YEARS, MAXYEAR)
    for year in range(start.year, last + 1):
        for month in months:
            if (year, month) < (start.year, start.month):
                continue
            length = calendar.monthrange(year, month)[1]
            for day in days:
                if day > length:
                    break
                at = date(year, month, day)
                if at >= start:
                    yield at
