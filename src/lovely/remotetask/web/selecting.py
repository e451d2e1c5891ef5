"""Which jobs a request is about, read from its texts."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime
from typing import Any

from lovely.remotetask.errors import UsageError
from lovely.remotetask.store.selection import Selection

#: The texts by which jobs are selected.
NAMES = ('task', 'key', 'submitter', 'error', 'queue')

#: The moments by which they are: see Selection.
MOMENTS = ('since', 'before')

#: All parameters of a request that select jobs, besides their status.
PARAMETERS = (*NAMES, *MOMENTS)

# A clean that keeps more would look at so many entries in each request.
_MOST_KEPT = 1_000_000


def selection(**given: Any) -> Selection:
    """The selection that these parameters name; None: anything.

    Raises: UsageError.
    """
    values: dict[str, Any] = {}
    for name in NAMES:
        value = values[name] = given.get(name)
        if value is not None and not isinstance(value, str):
            raise UsageError(f'{"the task" if name == "task" else name} has '
                             f'to be a name or text, not {value!r:.80}')
    for name in MOMENTS:
        values[name] = moment(name, given.get(name))
    return Selection(**values)


def moment(name: str, value: object) -> float | None:
    """Seconds since 1970, of a moment in ISO 8601; without a zone: UTC.

    Arguments: ``name``, of the parameter; ``value``; None: there is none.
    Raises: UsageError.
    """
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise ValueError
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f'{name} has to be a moment like 2026-12-31T12:00:00Z, not '
            f'{value!r:.80}') from None


def kept(value: object) -> int:
    """How many jobs a clean is to keep.  Raises: UsageError."""
    if type(value) is int and 0 <= value <= _MOST_KEPT:
        return value
    raise UsageError(f'keep has to be a whole number from 0 to {_MOST_KEPT}, '
                     f'not {value!r:.80}')
