"""Which numbers, moments and texts can be stored, compared and shown.

A number that a key of 64 bits or a datetime cannot hold fails far from the
call that gave it: after the first write, or in each listing from then on.
Inside, times are seconds since 1970 (float); aware UTC datetimes and the
naive local ones of 0.5.2 exist only on the attributes of jobs.
"""

from __future__ import annotations

import re
from datetime import UTC
from datetime import datetime
from typing import Any

#: The longest delay, wait or time limit (seconds): two hundred years.  The
#: threads of Python cannot wait for three hundred.
LONGEST = 6_311_520_000

#: Moments (seconds since 1970) from the year 2 to the year 9998: a datetime
#: of any time zone can show them, and those a little earlier and later.
FIRST_MOMENT = -62_104_060_800
LAST_MOMENT = 253_370_764_799

#: Where what never comes stands in an order of moments.
NEVER = LAST_MOMENT + 86_400

#: The longest unique key, or concurrencyKey (characters): each add with a
#: unique key writes a bucket of dozens of them.
KEY_CHARS = 200

SECONDS = (f'a number of seconds from 0 on, at most {LONGEST} (two '
           f'hundred years)')
MOMENT = 'a moment of the years 2 to 9998'


def is_seconds(value: Any) -> bool:
    """Is this a time (int or float, seconds) that one can wait for?"""
    # The comparison is false for NaN.  True is an int, and never meant as 1.
    return type(value) in (int, float) and 0 <= value <= LONGEST


def is_moment(seconds: Any) -> bool:
    """Is this a moment (int or float, seconds since 1970) to reckon with?"""
    return (type(seconds) in (int, float)
            and FIRST_MOMENT <= seconds <= LAST_MOMENT)


def seconds_of(moment: datetime) -> float | None:
    """Seconds since 1970 of a datetime; a naive one is local time.

    Returns: None for a datetime outside of FIRST_MOMENT to LAST_MOMENT.
    """
    try:
        seconds = moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None         # a naive one, at an end of the calendar
    return seconds if is_moment(seconds) else None


def as_utc(seconds: float) -> datetime | None:
    """The aware UTC datetime of seconds since 1970.

    Returns: None for a moment that no datetime can show.  An earlier release
    may have stored one, and a page of jobs must not fail for it.
    """
    return datetime.fromtimestamp(seconds, UTC) if is_moment(seconds) else None


def as_local(seconds: float) -> datetime | None:
    """The naive local datetime of seconds since 1970, as 0.5.2 stored it.

    Returns: None for a moment that no datetime can show.
    """
    return datetime.fromtimestamp(seconds) if is_moment(seconds) else None


def is_key(value: Any) -> bool:
    """Can this be a unique key, or a concurrencyKey?"""
    return isinstance(value, str) and 1 <= len(value) <= KEY_CHARS


def whole(text: str, low: int, high: int) -> int | None:
    """The whole number that a client's text writes in plain digits.

    Returns: None for any other text, and for a number outside of ``low`` to
    ``high``.
    """
    # Not int(text) alone: that reads ' 1_0 ', and fails for 5,000 digits.
    if not re.fullmatch('-?[0-9]{1,19}', text):
        return None
    number = int(text)
    return number if low <= number <= high else None


def shown(value: Any) -> str:
    """A value as an error message shows it; never long, and never fails."""
    try:
        return f'{value!r:.80}'
    except Exception:
        # An int of more than 4,300 digits, or a repr() that raises.
        return f'a value of type {type(value).__name__}'


def middle_out(text: str, chars: int) -> str:
    """A text of about so many characters, its middle left out.

    The end says most: of a traceback where, and what, an error was.
    """
    if len(text) <= chars:
        return text
    return f'{text[:chars // 4]}\n...\n{text[-(chars - chars // 4):]}'
