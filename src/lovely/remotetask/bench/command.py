"""``remotetask bench``: options, and the order of things."""

import json
import os
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.cli.signals import Signals

if TYPE_CHECKING:
    from lovely.remotetask.bench.pace import Figures
    from lovely.remotetask.bench.sizes import Bench

#: The format of the JSON; a key that changes its meaning changes this.
VERSION = 1

#: Measure -> the module it is in, in the order of running.
MEASURES = {
    'add': 'rates',
    'claim': 'rates',
    'drain': 'rates',
    'life': 'life',
    'latency': 'latency',
    'busy': 'latency',
    'backlog': 'backlog',
    'conflicts': 'conflicts',
    'idle': 'idle',
    'memory': 'idle',
    'listing': 'listing',
}


@click.command('bench')
@click.option('--db', 'uri', metavar='URI',
              help='Measure on this database: file://, zeo://, postgres://. '
                   'Default: a FileStorage in a temporary directory.')
@click.option('--jobs', type=click.IntRange(1, 10_000_000), metavar='N',
              help='Drain so many jobs; by default 20,000, or 5,000 on a '
                   'server.')
@click.option('--only', 'names', metavar='NAME', multiple=True,
              help=f'Measure nothing but this (may be repeated): '
                   f'{", ".join(MEASURES)}.')
@click.option('--large', is_flag=True,
              help='With a million jobs where others are queued.')
@click.option('--smoke', is_flag=True,
              help='Some seconds of everything: whether it works.')
@click.option('--json', 'json_file', metavar='FILE', type=click.Path(
    dir_okay=False, path_type=Path), help='Write the report as JSON, too.')
@click.option('--table', 'table_file', metavar='FILE', type=click.Path(
    dir_okay=False, path_type=Path), help='Write the table to a file, too.')
def bench_command(uri: str | None, jobs: int | None, names: tuple[str, ...],
                  large: bool, smoke: bool, json_file: Path | None,
                  table_file: Path | None) -> None:
    """Measure what jobs cost, beside what the storage itself does.

    All of it happens below one name of the database's root, which is removed
    afterwards.  The exit code says that it was measured, not that the targets
    were met.
    """
    wrong = [name for name in names if name not in MEASURES]
    if wrong:
        raise click.UsageError(
            f'--only {wrong[0]}: there is no such measure; there are '
            f'{", ".join(MEASURES)}')
    if large and smoke:
        raise click.UsageError('--large and --smoke exclude each other')
    for option, file in (('--json', json_file), ('--table', table_file)):
        _check_writable(option, file)
    from lovely.remotetask.bench import sizes

    # Whatever ends it leaves nothing behind in the database.
    with (Signals(_Interrupted, 'benchmark'), _place(uri) as place):
        how_much = (sizes.SMOKE if smoke
                    else sizes.sizes_for(place.shared))
        if jobs is not None:
            how_much.jobs = jobs
        if large:
            how_much.backlog = how_much.stock = sizes.LARGE
        report = _measure(sizes.Bench(place, how_much),
                          [name for name in MEASURES
                           if not names or name in names])
    table = _table(report)
    click.echo(table, nl=False)
    for file, text in ((json_file, json.dumps(report, indent=1) + '\n'),
                       (table_file, table)):
        if file is not None:
            file.write_text(text, encoding='utf-8')


def _check_writable(option: str, file: Path | None) -> None:
    """Better before the minutes than after them."""
    if file is None:
        return
    there = file.exists()
    try:
        with file.open('a'):
            pass
        if not there:
            # A run that fails leaves no empty one.
            file.unlink()
    except OSError as error:
        raise Failure(f'{option} {file}: cannot be written: {reason(error)}',
                      'choose another file') from error


class _Interrupted(KeyboardInterrupt):
    """Python remembers a KeyboardInterrupt itself even where it is caught (in
    code that a library makes from a string), and ends with its signal."""


@contextmanager
def _place(uri: str | None) -> Iterator[Any]:
    """The database under test; what we store in it is removed again."""
    from lovely.remotetask import task
    from lovely.remotetask.bench import tasks
    from lovely.remotetask.bench.place import Place
    from lovely.remotetask.cli import databases

    task.scan(tasks)
    with tempfile.TemporaryDirectory(prefix='remotetask-bench-') as directory:
        where = uri or f'file://{os.path.join(directory, "Data.fs")}'
        place = Place(partial(databases.open_uri, where), where)
        try:
            yield place
        finally:
            place.close()
            if uri is not None:
                place.remove()


def _measure(bench: 'Bench', names: list[str]) -> dict[str, Any]:
    from lovely.remotetask.bench import machine
    from lovely.remotetask.bench import targets

    # All of them now: an import that is interrupted may leave Python with an
    # import lock, or with the exit code of a signal.
    functions = {name: _function(name) for name in names}
    started = datetime.now(UTC)
    measures: dict[str, Figures] = {}
    for name, function in functions.items():
        click.echo(f'remotetask: measuring {name} ...', err=True)
        measures[name] = function(bench)
    return {
        'version': VERSION,
        'started': started.isoformat(timespec='seconds'),
        'storage': bench.place.kind,
        'machine': machine.describe(bench.place),
        'measures': measures,
        'targets': targets.judged(measures, bench.place.kind)}


def _function(name: str) -> Any:
    import importlib

    module = importlib.import_module(
        f'lovely.remotetask.bench.{MEASURES[name]}')
    return getattr(module, name)


def _table(report: dict[str, Any]) -> str:
    from lovely.remotetask.bench import targets

    machine = report['machine']
    lines = [*textwrap.wrap(
        f'{report["storage"]}, {report["started"][:10]}: '
        + ', '.join(f'{name} {value}' for name, value in machine.items()),
        79), '']
    table = [('measure', 'measured', 'target', ''), *targets.rows(report)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for name, value, target, verdict in table:
        lines.append(f'{name:{widths[0]}}  {value:>{widths[1]}}  '
                     f'{target:{widths[2]}}  {verdict}'.rstrip())
    told = [target['ok'] for target in report['targets']
            if target['ok'] is not None]
    lines += ['', f'{sum(told)} of {len(told)} targets reached']
    return '\n'.join(lines) + '\n'
