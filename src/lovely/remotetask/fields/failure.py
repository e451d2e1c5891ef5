"""Errors as text: what is stored of the attempts of a job that failed."""

from __future__ import annotations

import traceback
from collections import namedtuple
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.errors.bounds import middle_out

#: How many attempts a job keeps the errors of.
KEPT = 5

# How much (characters) is kept of a message and a traceback once a later
# attempt has failed, too: a job that fails for weeks must not grow.
_MESSAGE = 500
_TRACEBACK = 2000


#: In place of the number of an attempt: none has failed, and the record tells
#: why the job waits.
NO_ATTEMPT = 0


class Failure(namedtuple('Failure', 'type message traceback attempt time')):
    """An error as text; ``str()`` is its message.

    Stored as a plain tuple: a live exception may not be picklable, and then
    its job could never end.
    """

    __slots__ = ()

    @classmethod
    def of(cls, error: BaseException, attempt: int, now: float) -> Failure:
        """The record of an exception, its traceback bounded."""
        lines = ''.join(traceback.format_exception(error))
        if len(lines) > settings.TRACEBACK_CHARS:
            # The end alone may be a long message.
            lines = middle_out(lines, settings.TRACEBACK_CHARS)
        try:
            message = str(error)
        except Exception:
            message = ''
        name = f'{type(error).__module__}.{type(error).__qualname__}'
        return cls(name.removeprefix('builtins.'),
                   message[:settings.TRACEBACK_CHARS] or type(error).__name__,
                   lines, attempt, now)

    def __str__(self) -> str:
        return str(self.message)


def keep(earlier: tuple[Any, ...], error: Any, latest: Failure | None
         ) -> tuple[Any, ...] | None:
    """The errors before the latest one, as they are stored.

    Arguments: ``earlier``, what was stored so far; ``error``, the record that
    was the latest until now, or None; ``latest``, the new one, or None.
    Returns: a tuple of plain tuples, oldest first; None: there are none.
    """
    # 0.5.2 has stored live exceptions.
    if type(error) is tuple and error[3] != NO_ATTEMPT and (
            latest is None or error[::3] != (latest.type, latest.attempt)):
        kind, message, lines, attempt, time = error
        if len(lines) > _TRACEBACK:
            lines = '...\n' + lines[-_TRACEBACK:]
        earlier = (*earlier, (kind, message[:_MESSAGE], lines, attempt, time))
    return earlier[-(KEPT - 1):] or None
