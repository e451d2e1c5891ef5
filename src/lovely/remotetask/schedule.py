"""When a cron job runs: functions of its fields and a moment, no more.

The smallest given field sets the granularity (minute, else hour, else day,
else month), finer fields are at their minimum, and all given fields must
match, as in 0.5.2.  UTC.

Days are searched, not minutes: the search visits only months and days that
the fields name.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from collections.abc import Iterator
from datetime import MAXYEAR
from datetime import UTC
from datetime import date
from datetime import datetime
from typing import Any

from lovely.remotetask.bounds import SECONDS
from lovely.remotetask.bounds import is_moment
from lovely.remotetask.bounds import is_seconds
from lovely.remotetask.bounds import shown
from lovely.remotetask.errors import InvalidSchedule

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


def check_delay(delay: Any) -> None:
    """Raise InvalidSchedule unless this is a delay in seconds, or None."""
    if delay is not None and not is_seconds(delay):
        raise InvalidSchedule(f'delay is {shown(delay)}; give {SECONDS}')


def check_next(jobid: int, when: float | None) -> float:
    """The next run of a job.

    Arguments: ``when``, seconds since 1970, None: it has no schedule.
    Raises: InvalidSchedule unless a queue can place the job by it.
    """
    if when is None:
        raise InvalidSchedule(
            f'job {jobid!r} has no schedule: give it a delay, or at '
            f'least one of minute, hour, dayOfMonth, month, dayOfWeek')
    if not is_moment(when):
        # Its delay was assigned from outside, or stored by an earlier release.
        raise InvalidSchedule(
            f'job {jobid!r} would run {shown(when)} seconds after 1970, which '
            f'is no moment; give it a delay or a schedule, by update()')
    return when


def next_time(fields: Fields, now: float) -> int | None:
    """The first moment after ``now`` that all fields match.

    Arguments: ``fields`` from ``check_fields``; ``now``, seconds since 1970.
    Returns: seconds since 1970, strictly after ``now``, aligned to whole
    minutes; None where no field is given.
    Raises: ValueError or OverflowError for a ``now`` beyond the year 9999.
    Cost: O(days searched): those of one month, or of the named days in 40
    years for a 29 February on a certain day of the week.
    Source: 0.5.2, which kept the remainder of ``now``, and so drifted.
    """
    if not any(fields):
        return None
    minute, hour, day, month, week_day = fields
    times = _times_of_day(minute, hour)
    start = datetime.fromtimestamp(now, UTC).date()
    # Months alone mean their first days.
    first_only = bool(month) and not (minute or hour or day or week_day)
    days = (1,) if first_only else day or range(1, 32)
    for at in _days(start, days, month, week_day):
        midnight = (at - date(1970, 1, 1)).days * _DAY
        for offset in times:
            if midnight + offset > now:
                return midnight + offset
    return None


def _times_of_day(minute: tuple[int, ...],
                  hour: tuple[int, ...]) -> list[int]:
    """The matching moments of a day, in seconds."""
    # A given minute repeats every hour; without one, finer fields are 0.
    if minute:
        hours: Iterable[int] = hour or range(24)
    else:
        hours = hour or (0,)
    return [h * 3600 + m * 60 for h in hours for m in minute or (0,)]


def _days(start: date, days: Iterable[int], months: tuple[int, ...],
          week_days: tuple[int, ...]) -> Iterator[date]:
    """The matching days from ``start`` on."""
    last = min(start.year + _YEARS, MAXYEAR)
    for year in range(start.year, last + 1):
        for month in months or range(1, 13):
            if (year, month) < (start.year, start.month):
                continue
            length = calendar.monthrange(year, month)[1]
            for day in days:
                if day > length:
                    continue
                at = date(year, month, day)
                if at >= start and (not week_days
                                    or at.weekday() in week_days):
                    yield at
