"""A schedule as a whole: when it runs, and what becomes of times it missed.

One of five rules says when: fields, a crontab string, a period, one moment, or
a delay.  Four policies say what becomes of a time that no worker was there
for, or that comes while a run is under way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from typing import NamedTuple
from typing import Self

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_moment
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.schedule import crontab
from lovely.remotetask.schedule import fields
from lovely.remotetask.schedule import zones
from lovely.remotetask.schedule.fields import Fields

#: What becomes of times at which no worker could begin a run.
MISSED = ('once', 'skip', 'all')

#: What becomes of a time that comes while a run waits or is under way.
OVERLAP = ('skip', 'allow', 'queue', 'cancel')

#: ``next_time(now)``: the next run after a moment (seconds since 1970), or
#: None.
Next = Callable[[float], float | None]

# How late (seconds) a run may begin that is not to be made up.
_PROMPT = 60.0


class Rule(NamedTuple):
    """When a schedule runs; see ICronJob for each attribute.

    ``since``: the moment from which the periods of ``every`` count.
    """

    fields: Fields = ((), (), (), (), ())
    delay: float | None = None
    cron: str | None = None
    every: float | None = None
    at: float | None = None
    timezone: str = 'UTC'
    since: float = 0.0

    @classmethod
    def of(cls, given: Fields, delay: float | None,
           plan: dict[str, Any] | None) -> Self:
        """The rule of these attributes of a cron job: see ``plan``."""
        if not plan:
            return cls(given, delay)
        return cls(given, delay, **{
            name: plan[name] for name in cls._fields[2:] if name in plan})

    def check_known(self) -> None:
        """Raise what ``next_time`` would, where this process cannot tell it.

        Cost: O(1); most of it is remembered.
        """
        zones.check_zone(self.timezone)
        if self.cron is not None:
            crontab.check_crontab(self.cron)

    def next_time(self, now: float) -> float | None:
        """The first moment after ``now`` at which it runs; None: never.

        Raises: InvalidSchedule where this machine does not know its zone;
        ConfigurationError without cronsim.
        Cost: under 100 us, and O(days searched), see ``fields``: half a
        millisecond for one that comes decades later.
        """
        if self.delay is not None:
            return now + self.delay
        if self.at is not None:
            return self.at if self.at > now else None
        if self.every is not None:
            return _next_period(self.since, self.every, now)
        if self.cron is not None:
            times: zones.Times = partial(crontab.times, self.cron)
            fixed = crontab.is_fixed(self.cron)
        elif any(self.fields):
            times = partial(fields.times, self.fields)
            fixed = fields.is_fixed(self.fields)
        else:
            return None
        try:
            return zones.next_time(times, fixed, self.timezone, now)
        except LookupError:
            # Another machine has checked it.
            zones.check_zone(self.timezone)
            raise

    def upcoming(self, now: float, count: int) -> list[float]:
        """The next runs after ``now``, at most ``count`` of them.

        Raises: as ``next_time``.
        """
        found: list[float] = []
        while len(found) < count:
            following = self.next_time(found[-1] if found else now)
            if following is None:
                break
            found.append(following)
            if self.delay is not None:
                break
        return found


class Policy(NamedTuple):
    """What becomes of times that it missed; see ICronJob."""

    missed: str = 'once'
    atMost: int | None = None
    deadline: float | None = None
    overlap: str = 'skip'

    @classmethod
    def of(cls, plan: dict[str, Any] | None) -> Self:
        """The policy of a plan."""
        return cls(**{name: plan[name] for name in cls._fields
                      if name in plan}) if plan else cls()

    def made_up(self, next_time: Next, due: float, now: float
                ) -> tuple[float, float] | None:
        """Which times are run now, where none could begin a run at them.

        Arguments: ``next_time``, of the rule; ``due``, the first one; ``now``,
        at which a worker is there (seconds since 1970).
        Returns: the first time that is to be run, and the moment up to which
        those behind it are run, too; None: none is.
        Cost: O(1); O(atMost) times.
        """
        found = _in_time(next_time, due, now, now, self._late())
        if found is None:
            return None
        first = found
        if self.missed == 'all':
            if self.atMost is not None:
                first = _latest(next_time, first, now, self.atMost)
            return first, now
        # Of several, the last one is made up.
        second = next_time(first)
        if second is not None and second <= now:
            first = _latest(next_time, second, now, 1)
        return first, first

    def is_too_late(self, due: float, now: float) -> bool:
        """Is a time that was due too late to be run?"""
        late = self._late()
        return late is not None and now - due > late

    def _late(self) -> float | None:
        """How late (seconds) a time may be that was missed; None: at will."""
        if self.deadline is None and self.missed == 'skip':
            return _PROMPT
        return self.deadline

    def in_time(self, next_time: Next, owed: tuple[float, float], now: float
                ) -> tuple[float, float] | None:
        """Which of the times that are owed may still begin.

        Arguments: ``owed``, the first and the last of these; the others as for
        ``made_up``.
        Returns: the first and the last of them; None: each is too late.
        """
        first, last = owed
        found = _in_time(next_time, first, last, now, self.deadline)
        return None if found is None else (found, last)


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


def _next_period(since: float, every: float, now: float) -> float:
    # By the count of periods, so that runs do not drift.
    count = math.floor((now - since) / every) + 1
    when = since + count * every
    return when if when > now else since + (count + 1) * every


def _in_time(next_time: Next, first: float, last: float, now: float,
             late: float | None) -> float | None:
    """The first time of a rule that is not too late, None: each is."""
    if late is None or now - first <= late:
        return first
    # Exactly as late as it may be is not too late.
    found = next_time(now - late - 0.001)
    return None if found is None or found > last else found


def _latest(next_time: Next, first: float, now: float, count: int) -> float:
    """The first of the latest ``count`` times of a rule up to ``now``.

    Cost: O(count) times.
    """
    # Backwards with a window twice as long each time: no rule can be asked
    # for the time before.
    window = count * 60.0
    while True:
        start = max(first - 0.5, now - window)
        found = []
        at = next_time(start)
        while at is not None and at <= now:
            found.append(at)
            at = next_time(at)
        if len(found) >= count or start < first:
            return found[-count:][0] if found else first
        window *= 2
