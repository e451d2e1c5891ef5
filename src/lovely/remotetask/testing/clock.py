"""A clock that stands still, for tests."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import Self

from zope.interface import implementer

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import MOMENT
from lovely.remotetask.errors.bounds import is_moment
from lovely.remotetask.errors.bounds import seconds_of
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import IClock
from lovely.remotetask.service import TaskService


@implementer(IClock)
class FrozenClock:
    """A clock that moves only when the test says so.

    ``with FrozenClock(moment) as clock:`` gives it to all services of this
    process, those of other threads and of stubs, too.
    Arguments: ``moment``, an aware datetime, or seconds since 1970; None: now.
    Raises: UsageError for any other moment.
    """

    def __init__(self, moment: datetime | float | None = None) -> None:
        self._now = (SYSTEM_CLOCK.now() if moment is None
                     else seconds_since_1970('moment', moment))
        # One for each block that has been entered.
        self._before: list[Any] = []

    def now(self) -> float:
        """Seconds since 1970 (float)."""
        return self._now

    def monotonic(self) -> float:
        """Seconds (float) of the real time that passes: durations are real."""
        return SYSTEM_CLOCK.monotonic()

    @property
    def moment(self) -> datetime:
        """Where it stands, an aware datetime in UTC."""
        return datetime.fromtimestamp(self._now, UTC)

    def advance(self, time: timedelta | float) -> None:
        """Move on.

        Arguments: ``time``, a timedelta, or seconds.
        Raises: UsageError where it would be no moment.
        """
        seconds = (time.total_seconds() if isinstance(time, timedelta)
                   else time)
        if type(seconds) not in (int, float):
            raise UsageError(f'time is {shown(time)}; give a timedelta, or a '
                             f'number of seconds')
        self.set(self._now + seconds)

    def set(self, moment: datetime | float) -> None:
        """Move to a moment, which may be an earlier one.

        Arguments: ``moment``, an aware datetime, or seconds since 1970.
        Raises: UsageError for any other moment.
        """
        self._now = seconds_since_1970('moment', moment)

    def __enter__(self) -> Self:
        # Of the class, and not of one service: each connection, and so each
        # worker, has its own object of that, and this clock cannot be stored.
        self._before.append(TaskService.clock)
        TaskService.clock = self
        return self

    def __exit__(self, *error: object) -> None:
        TaskService.clock = self._before.pop()

    def __reduce__(self) -> Any:
        raise UsageError(
            'a FrozenClock is for one process and cannot be stored: say "with '
            'FrozenClock(...):" instead of giving it to a service')

    def __repr__(self) -> str:
        return f'<FrozenClock {self.moment.isoformat()}>'


def seconds_since_1970(name: str, moment: Any) -> float:
    """The seconds since 1970 of a moment that a test gives.

    Arguments: ``name``, of the argument, for the error.
    Raises: UsageError.
    """
    if isinstance(moment, datetime):
        seconds = None if moment.tzinfo is None else seconds_of(moment)
    else:
        seconds = moment if is_moment(moment) else None
    if seconds is None:
        raise UsageError(
            f'{name} is {shown(moment)}; give an aware datetime (one with a '
            f'time zone) or the seconds since 1970, of {MOMENT}')
    return float(seconds)
