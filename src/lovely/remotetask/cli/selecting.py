"""The options that say which jobs a verb is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from functools import wraps
from typing import Any
from typing import TypeVar

import click

from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import SCHEDULED

_F = TypeVar('_F', bound=Callable[..., Any])

_UNITS = {'s': 'seconds', 'm': 'minutes', 'h': 'hours', 'd': 'days',
          'w': 'weeks'}


class Ago(click.ParamType):  # type: ignore[type-arg]
    """A moment, by how long ago it was, or by its date; as ISO 8601."""

    name = 'ago'

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> str:
        """See click.ParamType"""
        found = re.fullmatch(r'([0-9]+(?:\.[0-9]+)?)([smhdw])', value,
                             re.ASCII)
        try:
            if found is not None:
                moment = datetime.now(UTC) - timedelta(
                    **{_UNITS[found[2]]: float(found[1])})
            else:
                # Without a zone: as the clock on the user's wall shows it.
                moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f'{value!r} is no age and no moment; give one like 90s, '
                      f'30m, 12h, 7d or 2w, or like 2026-12-31 or '
                      f'2026-12-31T12:00', param, ctx)
        return moment.isoformat()


AGO = Ago()


def options(function: _F) -> _F:
    """Give a command the options; it gets ``wanted`` (dict): what requests
    to the backend take, without the options that were not given."""
    @wraps(function)
    def command(*arguments: Any, task: str | None, key: str | None,
                submitter: str | None, error: str | None,
                queue: str | None, since: str | None, before: str | None,
                **more: Any) -> Any:
        wanted = {'task': task, 'key': key, 'submitter': submitter,
                  'error': error, 'queue': queue, 'since': since,
                  'before': before}
        return function(*arguments, wanted={
            name: value for name, value in wanted.items()
            if value is not None}, **more)

    decorated: Any = command
    for option in (
            click.option(
                '--older', 'before', type=AGO, metavar='AGE',
                help='Only jobs that were added, or have ended, longer ago: '
                     '7d.'),
            click.option(
                '--since', type=AGO, metavar='AGE',
                help='Only jobs that were added, or if they are over have '
                     'ended, within this time, or since a moment: 90s, 30m, '
                     '12h, 7d, 2w, 2026-12-31T12:00.'),
            click.option(
                '--error', metavar='TEXT',
                help='Only jobs whose error has this text in its class or '
                     'message.'),
            click.option('--submitter', metavar='NAME',
                         help='Only jobs that this user has added.'),
            click.option('--key', help='Only jobs with this key.'),
            click.option('--queue', metavar='NAME',
                         help='Only jobs of this queue.'),
            click.option('--task', metavar='NAME',
                         help='Only jobs of this task.')):
        decorated = option(decorated)
    result: _F = decorated
    return result


class Status(click.Choice):  # type: ignore[type-arg]
    """A status, or a word that people use for it.

    Arguments: ``statuses``, those that make sense for the verb.
    """

    def __init__(self, statuses: tuple[str, ...]) -> None:
        more = [FAILED] if ERROR in statuses else []
        if DELAYED in statuses:
            more.append(SCHEDULED)
        super().__init__((*statuses, *more))

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> str:
        """See click.ParamType"""
        found = str(super().convert(value, param, ctx))
        return ERROR if found == FAILED else found


#: What people call a job with the status ERROR.
FAILED = 'failed'
