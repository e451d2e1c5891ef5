"""Numbers, times and counts as people read them."""

from __future__ import annotations

import datetime
import urllib.parse
from typing import Any

#: A thin space that no line breaks at.
THIN = '\u202f'

#: status -> (its name on the pages, one word for a style).
STATUSES = {
    'queued': ('Queued', 'open'),
    'processing': ('Running', 'running'),
    'scheduled': ('Scheduled', 'open'),
    'delayed': ('Delayed', 'open'),
    'cronjob': ('Schedule', 'open'),
    'start later': ('Start later', 'open'),
    'completed': ('Completed', 'completed'),
    'error': ('Failed', 'failed'),
    'cancelled': ('Cancelled', 'cancelled'),
}


def number(value: float) -> str:
    """A number with its thousands apart."""
    if isinstance(value, float) and not value.is_integer():
        return f'{value:,.1f}'.replace(',', THIN)
    return f'{int(value):,}'.replace(',', THIN)


def count(value: int, one: str, many: str) -> str:
    """``1 job``, ``2 jobs``: a number and its noun."""
    return f'{number(value)} {one if value == 1 else many}'


def quoted(text: str) -> str:
    """A text as the value of a parameter in an address."""
    return urllib.parse.quote(text, safe='', errors='replace')


def duration(seconds: float | None) -> str:
    """How long something took or has waited, to two digits."""
    if seconds is None:
        return '–'
    if seconds < 0.9995:
        return f'{max(seconds, 0) * 1000:.0f}{THIN}ms'
    for limit, unit, name in ((99.5, 1, 's'), (5970, 60, 'min'),
                              (172_800, 3600, 'h')):
        if seconds < limit:
            value = seconds / unit
            return f'{value:.{1 if value < 9.95 else 0}f}{THIN}{name}'
    return count(int(seconds // 86_400), 'day', 'days')


def digits(value: float) -> str:
    """A number, each digit of it: what a form is given, it gives back."""
    return repr(value).removesuffix('.0')


def moment(iso: str | None) -> dict[str, str] | None:
    """An ISO moment as ``<time>`` shows it, or None.

    The script of the page shows it in the zone of its reader; without the
    script the text, which is UTC, stays.
    """
    if iso is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return {'iso': iso, 'text': iso}
    if found.tzinfo is not None:
        iso = found.astimezone(datetime.UTC).isoformat(timespec='seconds')
    return {'iso': iso, 'text': f'{found:%Y-%m-%d %H:%M:%S}'}


def between(first: str | None, last: str | None) -> float | None:
    """The seconds between two ISO moments, or None."""
    if first is None or last is None:
        return None
    try:
        found = (datetime.datetime.fromisoformat(last)
                 - datetime.datetime.fromisoformat(first))
    # A naive one among aware ones.
    except (TypeError, ValueError):
        return None
    return max(0.0, found.total_seconds())


def badge(status: str) -> dict[str, str]:
    """A status, and the style in which it is shown."""
    return {'text': status, 'kind': STATUSES.get(status, ('', 'open'))[1]}


def error_line(job: dict[str, Any]) -> str | None:
    """The error of a job with its class, in one line."""
    message, kind = job['error'], job['errorType']
    if message is None:
        return None
    name = str(kind).rpartition('.')[2]
    text = name if message in ('', name) else f'{name}: {message}'
    return text if len(text) <= 300 else f'{text[:300]}…'
