"""The verbs of groups: ``remotetask group ...``."""

from __future__ import annotations

from typing import Any

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_pairs
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.cli.output import time_text
from lovely.remotetask.interfaces import MAX_PAGE

_COUNTED = ('completed', 'error', 'cancelled', 'gone', 'open')


@click.group('group')
def group_command() -> None:
    """List, show and cancel groups of jobs.

    Applications add them, by addGroup().
    """


@group_command.command('list')
@verb(looks=True)
def list_command(backend: Backend, as_json: bool) -> None:
    """List the groups that are not over, the newest first."""
    found: list[Any] = []
    start: str | None = None
    while True:
        page = backend.get('groups', {
            'limit': MAX_PAGE, **({} if start is None else {'start': start})})
        found += page['groups']
        start = page['next']
        if start is None:
            break
    if as_json:
        print_json({'groups': found})
        return
    print_table(('id', 'state', 'jobs', 'added', 'then'), [
        (str(one['id']), one['state'], str(one['of']),
         time_text(one['createdAt']), one['task'] or '') for one in found])


@group_command.command('show')
@click.argument('group', metavar='ID', type=int)
@verb(looks=True)
def show_command(group: int, backend: Backend, as_json: bool) -> None:
    """Show one group: how its jobs have ended, and what follows."""
    found = backend.get(f'groups/{group}')
    if as_json:
        print_json(found)
        return
    print_pairs((name, str(value)) for name, value in (
        ('id', found['id']), ('state', found['state']),
        ('note', found['note']), ('policy', found['policy']),
        ('jobs', found['of']),
        *((name, found[name]) for name in _COUNTED if found[name]),
        ('looked at', None if found['looked'] == found['of']
         else f'the first {found["looked"]} jobs'),
        ('added', time_text(found['createdAt'])),
        ('ended', time_text(found['endedAt'])),
        ('then', found['task']), ('as job', found['then'])) if value)


@group_command.command('cancel')
@click.argument('group', metavar='ID', type=int)
@verb()
def cancel_command(group: int, backend: Backend, as_json: bool) -> None:
    """Cancel what is open of a group, and what follows it."""
    answer = backend.post(f'groups/{group}/cancel', {})
    if as_json:
        print_json(answer)
    else:
        click.echo(f'{answer["cancelled"]} jobs cancelled')
