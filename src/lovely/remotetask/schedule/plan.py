"""The plan of a schedule: what it has beside the fields and delay of 0.5.2.

One plain dict of what differs from the defaults.  An edit changes it as a
whole, and a schedule that has the fields alone is stored as it always was.
"""

from __future__ import annotations

from datetime import UTC
from datetime import datetime
from typing import Any

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors.bounds import MOMENT
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import seconds_of
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.schedule import crontab
from lovely.remotetask.schedule import zones
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.fields import Fields
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.rule import MISSED
from lovely.remotetask.schedule.rule import OVERLAP
from lovely.remotetask.schedule.rule import Policy
from lovely.remotetask.schedule.rule import Rule
from lovely.remotetask.schedule.rule import check_delay

#: The attributes of a cron job that say when it runs.
TIMES = (*FIELDS, 'delay', 'plan')

#: What ``CronJob.update`` takes beside the fields and the delay.
PLANNED = ('cron', 'every', 'at', 'timezone', *Policy._fields)

#: Those that say what becomes of times that it misses.
POLICIES = Policy._fields

_DEFAULTS = Rule._field_defaults | Policy._field_defaults

# How many missed times may be asked for.
_MOST = 10_000


class Planned:
    """An attribute of a cron job that its plan holds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, job: Any, owner: Any = None) -> Any:
        plan = None if job is None else job.plan
        return (plan or {}).get(self._name, _DEFAULTS[self._name])


class PlannedMoment(Planned):
    """The same of one that is stored as seconds since 1970."""

    def __get__(self, job: Any, owner: Any = None) -> datetime | None:
        found = super().__get__(job, owner)
        return None if found is None else as_utc(found)


def check_plan(fields: Any, delay: Any, now: float, *, cron: Any = None,
               every: Any = None, at: Any = None, timezone: Any = 'UTC',
               missed: Any = 'once', atMost: Any = None, deadline: Any = None,
               overlap: Any = 'skip'
               ) -> tuple[Fields, float | None, dict[str, Any] | None]:
    """The fields, the delay and the plan of a schedule, if it is one.

    Arguments: ``fields``, the five of 0.5.2; ``now`` (seconds since 1970),
    from which on the periods of ``every`` count; the others as ICronJob says.
    Raises: InvalidSchedule that names the value and the reason;
    ConfigurationError for a crontab string without the extra [cron].
    """
    checked = check_fields(*fields)
    if delay == 0 and (any(checked) or cron or every or at):
        # The form of 0.5.2 always gives a delay: 0 if there is none.
        delay = None
    check_delay(delay)
    rules = [name for name, value in (
        # In 0.5.2 a delay beats the fields.
        ('fields', (any(checked) and delay is None) or None), ('delay', delay),
        ('cron', cron), ('every', every), ('at', at)) if value is not None]
    if len(rules) > 1:
        raise InvalidSchedule(
            f'a schedule has one rule, and this one has {" and ".join(rules)};'
            f' give the fields (minute, hour, dayOfMonth, month, dayOfWeek), '
            f'or one of cron, every, at, delay')
    zone = zones.check_zone(timezone)
    if zone != 'UTC' and (every is not None or delay is not None):
        raise InvalidSchedule(
            f'timezone is {zone!r}, and {rules[0]} asks no clock; give none')
    _check_every(every)
    policy = _check_policy(missed, atMost, deadline, overlap)
    if policy != Policy() and (at is not None or delay is not None):
        raise InvalidSchedule(
            'missed, atMost, deadline and overlap are for schedules that run '
            'again, and this one runs once; give none of them')
    plan = {'cron': None if cron is None else crontab.check_crontab(cron),
            'every': every, 'since': 0.0 if every is None else now,
            'at': None if at is None else _moment(at, zone),
            'timezone': zone, **policy._asdict()}
    return checked, delay, {
        name: value for name, value in plan.items()
        if value != _DEFAULTS[name]} or None


def planned(plan: dict[str, Any] | None) -> dict[str, Any]:
    """What ``CronJob.update`` has been given for this plan."""
    found = {name: value for name, value in (plan or {}).items()
             if name != 'since'}
    if 'at' in found:
        found['at'] = as_utc(found['at'])
    return found


def continued(plan: dict[str, Any] | None, before: dict[str, Any] | None
              ) -> dict[str, Any] | None:
    """A plan that takes the place of another one.

    A period goes on to count from where it began: otherwise what is asked for
    at each start of an application might never run.
    """
    if (plan and before and 'every' in plan
            and plan['every'] == before.get('every')):
        return {**plan, 'since': before['since']}
    return plan


def _check_every(every: Any) -> None:
    if every is not None and not (is_seconds(every) and every >= 1):
        raise InvalidSchedule(
            f'every is {shown(every)}; give {SECONDS}, and at least 1')


def _check_policy(missed: Any, atMost: Any, deadline: Any,
                  overlap: Any) -> Policy:
    for name, value, known in (('missed', missed, MISSED),
                               ('overlap', overlap, OVERLAP)):
        if not isinstance(value, str) or value not in known:
            raise InvalidSchedule(f'{name} is {shown(value)}; one of '
                                  f'{", ".join(map(repr, known))}')
    if atMost is not None and (type(atMost) is not int
                               or not 1 <= atMost <= _MOST):
        raise InvalidSchedule(f'atMost is {shown(atMost)}; give a whole '
                              f'number from 1 to {_MOST}, or None')
    if atMost is not None and missed != 'all':
        raise InvalidSchedule(
            f"atMost is {atMost}: it bounds missed='all', and missed is "
            f'{missed!r}')
    if deadline is not None and not (is_seconds(deadline) and deadline > 0):
        raise InvalidSchedule(
            f'deadline is {shown(deadline)}; give {SECONDS}, not 0, or None')
    return Policy(missed, atMost, deadline, overlap)


def _moment(at: Any, zone: str) -> float:
    """The moment of a datetime; a naive one is of the zone's clock."""
    if not isinstance(at, datetime):
        raise InvalidSchedule(f'at is {shown(at)}; give a datetime')
    if at.tzinfo is None:
        wall = seconds_of(at.replace(tzinfo=UTC))
        found = wall if wall is None or zone == 'UTC' else float(
            zones.moment(zones.zone(zone), int(wall // 1)) + wall % 1)
    else:
        found = seconds_of(at)
    if found is None:
        raise InvalidSchedule(f'at is {shown(at)}; give {MOMENT}')
    return found
