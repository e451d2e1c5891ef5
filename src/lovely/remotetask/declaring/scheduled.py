"""Schedules that the code declares: what of them is checked and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import KEY_CHARS
from lovely.remotetask.errors.bounds import is_key
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.plan import POLICIES
from lovely.remotetask.schedule.plan import check_plan
from lovely.remotetask.schedule.plan import planned

#: What says when a schedule runs.
RULE = (*FIELDS, 'cron', 'every', 'timezone')

#: The options of a task, and of a declared schedule, that say so.
TIMES = (*RULE, *POLICIES)

#: With what the key of a schedule begins that a task declares.
PREFIX = 'code:'


@implementer(IDeclaredSchedule)
class DeclaredSchedule:
    """See IDeclaredSchedule

    Arguments: ``task``, the name of a task; ``input``, fit for JSON, None:
    what a call without arguments gives; ``priority``; ``service``, the path of
    the one service that has it, None: each service whose workers declare it;
    ``times``: fields, cron, every, timezone, missed, atMost, deadline,
    overlap, see addCronJob.
    Raises: UsageError that names what is wrong; ConfigurationError for a
    crontab string without the extra [cron].
    """

    def __init__(self, task: str, *, input: Any = None, priority: int = 0,
                 service: str | None = None, **times: Any) -> None:
        if not isinstance(task, str) or not task:
            raise UsageError(f'task is {shown(task)}; give the name of a task')
        if type(priority) is not int or not -4 <= priority <= 3:
            raise UsageError(f'priority is {shown(priority)}; give a whole '
                             f'number from -4 to 3')
        if service is not None and not isinstance(service, str):
            raise UsageError(f'service is {shown(service)}; give the path of '
                             f'a service')
        # Imported here and not above: most processes declare no schedule.
        import json

        try:
            # As ``digest`` does: keys of several types have no order.
            json.dumps(input, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            raise UsageError(
                f'input is {shown(input)}; a schedule of the code takes what '
                f'JSON can hold, so that two releases can be compared'
            ) from None
        self.task, self.input, self.priority = task, input, priority
        self.service = service
        self.times = check_times(times)

    @property
    def declaration(self) -> dict[str, Any]:
        """See IDeclaredSchedule"""
        return {'task': self.task, 'input': self.input,
                'priority': self.priority, **self.times}

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.declaration!r}>'


def check_times(times: Mapping[str, Any]) -> dict[str, Any]:
    """What says when a schedule runs, without what is as by default.

    Raises: UsageError; ConfigurationError.
    """
    unknown = sorted(times.keys() - set(TIMES))
    if unknown:
        raise UsageError(f'{unknown[0]!r:.80} says nothing of a schedule; '
                         f'there are {", ".join(TIMES)}')
    fields, _, plan = check_plan(
        [times.get(name, ()) for name in FIELDS], None, 0.0,
        **{name: value for name, value in times.items()
           if name not in FIELDS})
    found = {name: list(values) for name, values
             in zip(FIELDS, fields, strict=True) if values} | planned(plan)
    if not found.keys() & {*FIELDS, 'cron', 'every'}:
        raise InvalidSchedule(
            'no schedule: give cron, every, or at least one of '
            + ', '.join(FIELDS))
    return found


def split_options(options: dict[str, Any]
                  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a task without those about its schedule, and these.

    Raises: TypeError for a schedule that cannot be one.
    """
    if isinstance(options.get('schedule'), dict):
        options = {**options, **options['schedule'], 'schedule': None}
    times = {name: value for name, value in options.items()
             if name in TIMES and value is not None}
    others = {name: value for name, value in options.items()
              if name not in TIMES}
    if times:
        try:
            times = check_times(times)
        except ConfigurationError:
            pass        # without the extra [cron], a worker says so
        except UsageError as error:
            raise TypeError(f'the schedule of the task: {error}') from error
    return others, times


def check_schedule_key(key: Any) -> None:
    """Raise UsageError unless a schedule of the code can have this key.

    It is that of its job, which a worker adds: told there, a mistake would be
    a line of a log.
    """
    if not is_key(key):
        raise UsageError(f'key is {shown(key)}; give a text of 1 to '
                         f'{KEY_CHARS} characters')


def check_task_name(name: str, schedule: Any) -> None:
    """Raise UsageError where the schedule of a task makes its name too long.

    Arguments: ``schedule``, the option of the task, or None.
    """
    if isinstance(schedule, dict) and not is_key(PREFIX + name):
        raise UsageError(
            f'the name is {shown(name)}, of {len(name)} characters; the '
            f'schedule of a task has the key {PREFIX!r} and its name: give '
            f'one of at most {KEY_CHARS - len(PREFIX)} characters')


def digest(declaration: Mapping[str, Any]) -> str:
    """A short text that is another one for each other declaration."""
    import json

    text = json.dumps(declaration, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rule_of(declaration: Mapping[str, Any]) -> dict[str, Any]:
    """What of a declaration says when it runs, without its policies."""
    return {name: value for name, value in declaration.items()
            if name in (*RULE, 'delay', 'at')}


def as_changes(declaration: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as editCronJob takes it: also what is as by default."""
    found = rule_of(declaration)
    if 'every' not in found:
        found.setdefault('timezone', 'UTC')
    if not found.keys() & {'cron', 'every'}:
        found = {**dict.fromkeys(FIELDS, ()), **found}
    return found


def text_of(declaration: Mapping[str, Any]) -> str:
    """A declaration, or a part of one, as people read it."""
    return ', '.join(f'{name}={value!r}' for name, value in declaration.items()
                     if value not in (None, 0))
