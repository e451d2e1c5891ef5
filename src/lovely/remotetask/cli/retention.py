"""The verb about how long jobs are kept: retention."""

from __future__ import annotations

from typing import Any

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR

# In this order they are printed.
_STATUSES = (COMPLETED, ERROR, CANCELLED)

_ANY = 'any'


class _Bound(click.FloatRange):
    """A number, or ``any``: there is no bound.

    Which numbers are bounds, the service says.
    """

    name = 'bound'

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        if value == _ANY:
            return value
        try:
            number = float(value)
            # 30, and not 30.0, in what is printed.
            return int(number) if number == int(number) else number
        except (ValueError, OverflowError):
            self.fail(f'{value!r:.80} is no number; give one, or {_ANY!r}',
                      param, ctx)


@click.command('retention')
@click.argument('status', required=False, type=click.Choice(_STATUSES))
@click.option('--days', type=_Bound(), metavar='N|any',
              help='Remove such jobs so many days after their end; any: '
                   'at no age.')
@click.option('--count', type=_Bound(), metavar='N|any',
              help='Keep this many of them at most, the newest; any: any '
                   'number.')
@verb()
def retention_command(status: str | None, days: Any, count: Any,
                      backend: Backend, as_json: bool) -> None:
    """Tell, or with STATUS say, how long jobs that are over are kept.

    Workers remove the others by themselves.
    """
    given = {name: None if value == _ANY else value
             for name, value in (('days', days), ('count', count))
             if value is not None}
    if status is None and given:
        raise click.UsageError('name the status of the jobs: '
                               + ', '.join(_STATUSES))
    if status is not None and not given:
        raise click.UsageError('give --days or --count, or both')
    answer = (backend.get('retention') if status is None
              else backend.put('retention', {status: given}))
    if as_json:
        print_json(answer)
        return
    print_table(('status', 'days', 'count'), [
        (name, *(_ANY if value is None else f'{value:g}'
                 if isinstance(value, float) else str(value)
                 for value in (answer[name]['days'], answer[name]['count'])))
        for name in _STATUSES])
