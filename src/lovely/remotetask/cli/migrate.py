"""``remotetask migrate``: moves services of 0.5.2 over."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

import click
from ZODB.POSException import ReadOnlyError

from lovely.remotetask.cli import find_service
from lovely.remotetask.cli.chosen import Chosen
from lovely.remotetask.cli.chosen import options
from lovely.remotetask.cli.databases import Patience
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_progress
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.edge import db
from lovely.remotetask.edge.texts import some
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.generations import migration
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import STATUSES
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.store.upstream import NEVER_ADDED
from lovely.remotetask.store.upstream import NOTES

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.store.upstream import Plan

# How many ids of jobs are printed in a line.
_IDS = 10

_REMEDY = ('install the code of the application beside remotetask, or leave '
           'them as they are with --leave-unreadable')


@click.command('migrate')
@options('The database', tasks=False,
         default='all of 0.5.2 that are near the root')
@click.option('--dry-run', is_flag=True,
              help='Change nothing; print what would come of it.')
@click.option('--cancel-lost', is_flag=True,
              help='Cancel queued jobs that 0.5.2 had taken out of the queue '
                   'and not ended.  Default: they run first.')
@click.option('--leave-unreadable', is_flag=True,
              help='Take jobs along that cannot be read, because their code '
                   'is not installed, and leave services out that cannot.  '
                   'Default: migrate nothing then.')
@click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
def migrate_command(chosen: Chosen, dry_run: bool, cancel_lost: bool,
                    leave_unreadable: bool, as_json: bool) -> None:
    """Move the services that 0.5.2 has written over to this release.

    The database has to be converted to Python 3 before, by zodbupdate.  Where
    it is stopped, the next call goes on.
    """
    chosen.check()
    with (chosen.opened(patience=Patience(), looks=dry_run)
          as (database, host), _quiet()):
        paths = db.read(database, lambda connection: _find(
            connection, host, chosen.service))
        missing = [] if chosen.service is not None else db.read(
            database, lambda connection: migration.without_class(
                connection, host))
        if missing and not (dry_run or leave_unreadable):
            raise Failure(f'nothing was migrated: {"; ".join(missing)}',
                          _REMEDY)
        answers = []
        for path in paths:
            found = _migrate(path, dry_run, cancel_lost, leave_unreadable)
            if found is not None:
                answers.append(_answer(path, found))
                if not as_json:
                    _print(answers[-1])
    if as_json:
        print_json({'dryRun': dry_run, 'services': answers,
                    'unreadable': missing})
        return
    for sentence in missing:
        click.echo(f'left out: {sentence}')
    if not (answers or missing):
        click.echo('no service of 0.5.2 is here: there is nothing to migrate')
    elif dry_run:
        click.echo('this was a dry run: nothing has been changed')
    elif answers:
        click.echo('workers will remove old jobs that are over; to keep them, '
                   'say so before you start one: remotetask retention --help',
                   err=True)


@contextmanager
def _quiet() -> Iterator[None]:
    # They log a traceback of each record that cannot be read; we tell of it.
    loggers = [logging.getLogger(name)
               for name in ('ZODB.Connection', 'ZODB.serialize')]
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one in loggers:
            one.disabled = False


def _find(connection: Connection, host: IHost, service: str | None
          ) -> list[ServicePath]:
    if service is not None:
        return [find_service.find(connection, service, host)]
    found = list(migration.old_services(connection, host))
    if not found:
        find_service.check_visible(connection)
    return found


def _migrate(path: ServicePath, dry_run: bool, cancel_lost: bool,
             leave_unreadable: bool) -> Plan | None:
    if dry_run:
        return migration.look_over(path, cancel_lost)
    with print_progress('migrated') as progress:
        try:
            return migration.migrate(path, cancel_lost, leave_unreadable,
                                     progress)
        except ReadOnlyError as error:
            raise Failure(
                f'{show(path)} cannot be migrated: the database is opened '
                f'read-only', 'open it for writing, or use --dry-run'
                ) from error
        except ConfigurationError as error:
            raise Failure(str(error), _REMEDY) from error


def _answer(path: ServicePath, found: Plan) -> dict[str, Any]:
    return {'service': show(path),
            'before': _sorted(found.before), 'after': _sorted(found.after),
            **found.notes, 'unreadable': found.unreadable}


def _sorted(counts: Counter[str]) -> dict[str, int]:
    known = (*STATUSES, NEVER_ADDED, UNKNOWN)
    return {status: counts[status] for status in (
        *known, *sorted(counts.keys() - set(known))) if counts[status]}


def _print(answer: dict[str, Any]) -> None:
    before, after = answer['before'], answer['after']
    click.echo(answer['service'])
    print_table(('status', 'before', 'after'), [
        *((status, str(before.get(status, 0)), str(after.get(status, 0)))
          for status in {**before, **after}),
        ('total', str(sum(before.values())), str(sum(after.values())))])
    for name, text in NOTES.items():
        if answer[name]:
            click.echo(f'{text}: {some(answer[name], _IDS)}')
    for reason, ids in answer['unreadable'].items():
        click.echo(f'cannot be read, {reason}: {some(ids, _IDS)}')
