"""Crontab strings: read by cronsim, which the extra [cron] brings.

The five fields are minute, hour, day of the month, month and day of the week,
as crontab(5) has them: Sunday is 0 and 7, names are read (``MON``, ``JAN``),
and where both days are given one of them is enough.  The tuples of 0.5.2 are
other ones in both respects: see ``fields``.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from datetime import date
from datetime import datetime
from functools import lru_cache
from typing import Any
from typing import NamedTuple

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.schedule.fields import matching

#: What the names mean.
_NAMED = {'@yearly': '0 0 1 1 *', '@annually': '0 0 1 1 *',
          '@monthly': '0 0 1 * *', '@weekly': '0 0 * * 0',
          '@daily': '0 0 * * *', '@midnight': '0 0 * * *',
          '@hourly': '0 * * * *'}

# The longest text that is read (characters): each value of each field fits.
_LONGEST = 500


def check_crontab(text: Any) -> str:
    """The text as it is to be stored, if it is that of a schedule.

    Raises: InvalidSchedule that names the text and the reason;
    ConfigurationError without the extra [cron].
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise InvalidSchedule(
            f"cron is {shown(text)}; give a text of five fields, for instance "
            f"'*/5 * * * *', or one of {', '.join(_NAMED)}")
    text = ' '.join(text.split())
    _read(text)
    return text


def times(text: str, after: float) -> Iterator[int]:
    """The times on the wall that match: as ``fields.times``.

    Raises: InvalidSchedule; ConfigurationError.
    Cost: of each, O(days searched): those of one month, or of the named days
    in 40 years.
    """
    found = _read(text)
    return matching(after, found.months, found.days, found.matches,
                    found.times)


def is_fixed(text: str) -> bool:
    """Has neither the minute nor the hour a star?  See zones."""
    minute, hour = _fields(text)[:2]
    return not (minute.startswith('*') or hour.startswith('*'))


def _fields(text: str) -> list[str]:
    return _NAMED.get(text.lower(), text).split()


class _Read(NamedTuple):
    """What cronsim has read: see ``fields.matching``."""

    months: tuple[int, ...]
    days: tuple[int, ...]
    matches: Callable[[date], bool]
    times: tuple[int, ...]


@lru_cache(maxsize=1000)
def _read(text: str) -> _Read:
    try:
        from cronsim import CronSim
        from cronsim import CronSimError
    except ImportError:
        raise ConfigurationError(
            f'the schedule cron={text!r} needs cronsim: install '
            f'lovely.remotetask[cron]') from None
    fields = _fields(text)
    if text.startswith('@') and len(fields) != 5:
        raise InvalidSchedule(
            f'cron {text!r} is unknown; one of {", ".join(_NAMED)}')
    if len(fields) != 5:
        reason = ('seconds are not supported' if len(fields) == 6 else
                  f'it has {len(fields)} fields')
        raise InvalidSchedule(
            f'cron {text!r}: {reason}; give five fields: minute, hour, day of '
            f'the month, month, day of the week')
    try:
        read = CronSim(' '.join(fields), datetime(1970, 1, 1))
    except CronSimError as reason:
        raise InvalidSchedule(
            f'cron {text!r}: {str(reason).lower()}; see crontab(5)') from None
    except Exception as reason:
        # cronsim asserts, and takes the least of nothing, for texts that its
        # authors did not think of.
        raise InvalidSchedule(
            f'cron {text!r} is no schedule; see crontab(5)') from reason
    # Days below 0 are the last ones of a month; with the other days of the
    # week, each day may match.
    named = sorted(read.days)
    days = named if read.day_and and named[0] > 0 else range(1, 32)
    return _Read(
        tuple(sorted(read.months)), tuple(days), read.match_day,
        tuple(h * 3600 + m * 60 for h in sorted(read.hours)
              for m in sorted(read.minutes)))
