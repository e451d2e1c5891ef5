"""The verbs about queues and limits: queues, limits, limit."""

import math
from typing import Any

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.cli.output import time_text


@click.command('queues')
@verb(looks=True)
def queues_command(backend: Backend, as_json: bool) -> None:
    """List the queues: how many jobs are ready in each, and which rest."""
    answer = backend.get('queues')
    if as_json:
        print_json(answer)
        return
    print_table(('queue', 'ready', 'paused', 'until', 'reason'), [
        (one['name'], str(one['ready']), 'yes' if one['paused'] else 'no',
         time_text(one['resumeAt']) or '', one['pauseReason'] or '')
        for one in answer['queues']])


@click.command('limits')
@verb(looks=True)
def limits_command(backend: Backend, as_json: bool) -> None:
    """List the limits that hold: of tasks, and of concurrency keys."""
    _show(backend.get('limits'), as_json)


class _Rate(click.ParamType[Any]):
    """A rate: 100/60, a hundred in a minute."""

    name = 'rate'

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        """See click.ParamType"""
        if isinstance(value, list):
            return value
        number, _, seconds = value.partition('/')
        try:
            found = [int(number), float(seconds or 1)]
            if not math.isfinite(found[1]):
                raise ValueError
            return found
        except ValueError:
            self.fail(f'{value!r} is no rate; give how many jobs may begin, '
                      f'and in how many seconds: 100/60', param, ctx)


@click.command('limit')
@click.argument('task', metavar='[TASK]', required=False)
@click.option('--key', help='Limit the jobs with this concurrency key, and '
                            'not those of a task.')
@click.option('--at-once', type=click.IntRange(1), metavar='N',
              help='Run this many at once, at most.')
@click.option('--rate', type=_Rate(), metavar='N/SECONDS',
              help='Begin this many in so many seconds, at most.')
@click.option('--none', 'lift', is_flag=True,
              help='Run any number, also where the code says otherwise.')
@click.option('--unset', is_flag=True, help='Let the code say it again.')
@verb()
def limit_command(task: str | None, key: str | None, at_once: int | None,
                  rate: Any, lift: bool, unset: bool, backend: Backend,
                  as_json: bool) -> None:
    """Limit how many jobs of TASK run; it holds in all workers, at once."""
    if (task is None) == (key is None):
        raise click.UsageError('give a TASK or --key')
    some = at_once is not None or rate is not None
    if some + lift + unset != 1:
        raise click.UsageError('give --at-once, --rate or both; or --none; or '
                               '--unset')
    which = {'task': task} if key is None else {'key': key}
    if unset:
        answer = backend.post('limits/unset', which)
    else:
        answer = backend.post('limits', {
            **which, 'limit': at_once, 'rate': rate})
    _show(answer, as_json)


def _show(answer: Any, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    def text(one: Any, value: Any, shown: Any) -> str:
        if value is not None:
            return str(shown(value))
        # Jobs wait for a limit of a task that this process does not have.
        known = one['set'] or one['limit'] or one['rate']
        return 'any' if known else '?'

    print_table(('limit of', 'name', 'at once', 'rate', 'said by', 'running',
                 'waiting'), [
        (one['kind'], one['name'],
         text(one, one['limit'], str),
         text(one, one['rate'], lambda rate: f'{rate[0]:g} in {rate[1]:g} s'),
         'people' if one['set'] else 'the code', str(one['running']),
         str(one['waiting'])) for one in answer['limits']])
