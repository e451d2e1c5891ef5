"""Limits: how many jobs of a task, or with a key, run at once or begin; and
the names of queues.
"""

from __future__ import annotations

import re
from typing import Any
from typing import NamedTuple

from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown

#: The name of the queue of those jobs that name none.
DEFAULT_QUEUE = 'default'

# The largest limit, and the longest span (seconds) of a rate.
_MOST = 1_000_000
_LONGEST = 366 * 86_400.0


class Limit(NamedTuple):
    """How many jobs of a task, or with a key, run.

    Attributes: ``limit``, how many at once; ``rate``, (number, seconds): how
    many begin in each span of that length.  None: any number.
    """

    limit: int | None = None
    rate: tuple[int, float] | None = None


def check_limit(limit: Any, rate: Any, name: str = 'limit') -> Limit:
    """A limit and a rate as they are kept.

    Arguments: ``limit``, a whole number from 1 on, or None; ``rate``, a pair
    of such a number and seconds, or None; ``name``, by which the first one is
    told of.
    Raises: UsageError for others.
    """
    if limit is not None and not _is_count(limit):
        raise UsageError(f'{name} is {shown(limit)}; give a whole number from '
                         f'1 to {_MOST}, or None')
    if rate is None:
        return Limit(limit)
    if (not isinstance(rate, tuple | list) or len(rate) != 2
            or not _is_count(rate[0]) or not is_seconds(rate[1])
            or not 0 < rate[1] <= _LONGEST):
        raise UsageError(
            f'rate is {shown(rate)}; give a pair: how many jobs may begin, a '
            f'whole number from 1 to {_MOST}, and in how many seconds, more '
            f'than 0 and up to a year; or None')
    return Limit(limit, (rate[0], float(rate[1])))


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MOST


def check_queue(name: Any) -> None:
    """Raise UsageError for what is no name of a queue; None: of the default
    one.
    """
    # No dot: a cursor of a listing ends behind one.
    if name is not None and not (isinstance(name, str) and re.fullmatch(
            '[A-Za-z0-9_-]{1,64}', name, re.ASCII)):
        raise UsageError(f'queue is {shown(name)}; give a name of 1 to 64 '
                         f'ASCII letters, digits, "-" and "_"')


def queue_named(name: Any) -> str | None:
    """A queue as a job names it: None for the default one.

    Raises: UsageError for what is no name of a queue.
    """
    check_queue(name)
    return None if name == DEFAULT_QUEUE else name
