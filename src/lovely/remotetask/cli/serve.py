"""``remotetask serve``: database, web surface and worker in one process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lovely.remotetask.cli import server
from lovely.remotetask.cli.chosen import db_option
from lovely.remotetask.cli.chosen import from_environment
from lovely.remotetask.cli.chosen import read_uri
from lovely.remotetask.cli.chosen import task_options
from lovely.remotetask.cli.logs import Logs
from lovely.remotetask.cli.logs import options as logs_options
from lovely.remotetask.cli.seconds import Seconds

if TYPE_CHECKING:
    from lovely.remotetask.web.public import Public

#: The directory of the data where neither --data nor --db is given.
DEFAULT_DATA = 'remotetask-data'


def _public(context: click.Context, parameter: click.Parameter,
            value: str | None) -> Public | None:
    # Imported here and not above: `--help` does without.
    from lovely.remotetask.web.public import Public

    try:
        return None if value is None else Public.of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command('serve')
@click.option('--data', type=click.Path(path_type=Path), metavar='DIR',
              help=f'Keep the database in this directory; it is made if '
                   f'missing.  Default: ./{DEFAULT_DATA}')
@db_option('Use this database instead')
@click.option('--host', default='127.0.0.1', show_default=True,
              help='The address to listen on.')
@click.option('--port', type=click.IntRange(0, 65535), default=8080,
              show_default=True, help='The port; 0: any free one.')
@task_options
@click.option('--threads', type=click.IntRange(1, 256), metavar='N',
              help='Run this many jobs at once.  Default: as before, one at '
                   'first.')
@click.option('--grace', type=Seconds(), metavar='SECONDS',
              default=server.DEFAULT_GRACE, show_default=True,
              help='At the end, wait this long for running jobs.')
@click.option('--allow-host', 'names', multiple=True, metavar='NAME',
              help='Answer to this name in the Host header as well, that of '
                   'a proxy in front for instance (may be repeated).')
@click.option('--base-url', 'public', callback=_public, metavar='URL',
              help='The address of the pages as browsers know it, behind a '
                   'proxy: https://example.org/tasks.')
@logs_options
def serve_command(data: Path | None, uri: str | None, host: str, port: int,
                  modules: tuple[str, ...], zcml: str | None,
                  threads: int | None, grace: float, names: tuple[str, ...],
                  public: Public | None, logs: Logs) -> None:
    """Run a server with a database, workers, pages, XML-RPC and JSON.

    A browser gets in by the link that it prints.  Clients need its token: the
    file "token" in the data directory, or "token-view" beside it to look
    alone.  The commands of the same user on this machine find it by
    themselves.
    SIGTERM and Ctrl-C end it in an orderly way, a second one at once.
    """
    if data is not None and uri is not None:
        if from_environment('uri'):
            uri = None          # an option comes before the environment
        else:
            raise click.UsageError('--data and --db exclude each other')
    if uri is None:
        # The data may lie on another disk, behind a link; no link counts that
        # is made later.
        data = (data or Path(DEFAULT_DATA)).resolve()
    else:
        uri = read_uri(uri)
    options = server.Options(data, uri, host, port, modules, zcml, threads,
                              grace, names, logs, public)
    server.run(options, lambda address: _announce(address, data))
    click.echo('remotetask: stopped', err=True)


def _announce(address: server.Address, data: Path | None) -> None:
    where = '' if data is None else f' (data in {data})'
    click.echo(f'remotetask: serving {address.url}{where}')
    click.echo(f'remotetask: log in with {address.login} (once, within 10 '
               f'minutes)')
    # A program that has started us with a pipe waits for this line.
    sys.stdout.flush()
