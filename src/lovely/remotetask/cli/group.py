"""The verbs of chains and groups: ``remotetask chain``, ``remotetask group
...``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.output import PAUSED
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_pairs
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.cli.output import time_text
from lovely.remotetask.cli.verbs import parse
from lovely.remotetask.cli.verbs import parse_call
from lovely.remotetask.follow import POLICIES
from lovely.remotetask.follow import STOP
from lovely.remotetask.interfaces import MAX_PAGE

_F = TypeVar('_F', bound=Callable[..., Any])

_COUNTED = ('completed', 'error', 'cancelled', 'gone', 'open')


@click.group('group')
def group_command() -> None:
    """Add, list, show and cancel groups of jobs."""


def _calls(help: str) -> Callable[[_F], _F]:
    """Give a command the calls, and what becomes of those that follow."""
    def decorate(function: _F) -> _F:
        function = click.option(
            '--policy', type=click.Choice(POLICIES), default=STOP,
            show_default=True, help=help)(function)
        return click.argument('calls', metavar='JSON')(function)

    return decorate


def _request(calls: str, policy: str) -> dict[str, Any]:
    return {'calls': parse(sys.stdin.read() if calls == '-' else calls,
                           'the list of calls'), 'policy': policy}


@click.command('chain')
@_calls('What becomes of the others where one fails for good.')
@verb(tasks=True)
def chain_command(calls: str, policy: str, backend: Backend, as_json: bool
                  ) -> None:
    """Add jobs that come one after the other, and print the id of the first.

    JSON is a list ("-" reads it from standard input) of calls: names of tasks,
    or objects like {"task": "mail", "input": {"to": "ann"}}.  In an input,
    {"RESULT": true} stands for the result of the job before.
    """
    _print_added(backend.post('chains', _request(calls, policy)), as_json)


@group_command.command('add')
@_calls('stop: all jobs have to complete; continue: all have to be over.')
@click.option('--then', metavar='CALL',
              help='Add this job when all have ended: the name of a task, or '
                   'a JSON object; RESULT tells how they have ended.')
@verb(tasks=True)
def add_command(calls: str, policy: str, then: str | None, backend: Backend,
                as_json: bool) -> None:
    """Add jobs that run side by side, and one that follows them all.

    JSON is a list of calls, as "remotetask chain" has them.  Prints the id of
    the group.
    """
    request = _request(calls, policy)
    if then is not None:
        request['then'] = parse_call('--then', then)
    _print_added(backend.post('groups', request), as_json)


def _print_added(answer: dict[str, Any], as_json: bool) -> None:
    if answer.get('paused'):
        click.echo(PAUSED, err=True)
    if as_json:
        print_json({'id': answer['id']})
    else:
        click.echo(answer['id'])


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
