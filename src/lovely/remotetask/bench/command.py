"""``remotetask bench``: the options, and the report of a run."""

import importlib
import json
import os
import tempfile
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click

from lovely.remotetask.cli.chosen import db_option
from lovely.remotetask.cli.chosen import read_uri
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.cli.signals import Signals

if TYPE_CHECKING:
    from lovely.remotetask.bench.place import Place
    from lovely.remotetask.bench.place import Stop
    from lovely.remotetask.bench.sizes import Bench
    from lovely.remotetask.bench.sizes import Sizes

# The format of the JSON; a key that changes its meaning changes this.
_VERSION = 1

#: Measure -> the module it is in, in the order of running.
MEASURES = {
    'add': 'lovely.remotetask.bench.rates',
    'claim': 'lovely.remotetask.bench.rates',
    'drain': 'lovely.remotetask.bench.rates',
    'latency': 'lovely.remotetask.bench.latency',
    'backlog': 'lovely.remotetask.bench.backlog',
}


def command(name: str, measures: Mapping[str, str]) -> click.Command:
    """A command that measures, with its options.

    Arguments: ``measures``, as MEASURES.
    """
    @click.command(name)
    # Not from the environment: a measure must not be taken on the database of
    # a site by mistake.
    @db_option('Measure on this database and not on a FileStorage in a '
               'temporary directory', variable=False)
    @click.option('--jobs', type=click.IntRange(1, 10_000_000), metavar='N',
                  help='Drain so many jobs; by default 20,000, or 5,000 on '
                       'a server.')
    @click.option('--only', 'names', metavar='NAME', multiple=True,
                  help=f'Measure nothing but this (may be repeated): '
                       f'{", ".join(measures)}.')
    @click.option('--large', is_flag=True,
                  help='A full queue has a million jobs, not 100,000.')
    @click.option('--smoke', is_flag=True,
                  help='Measure with very few jobs: does it work?')
    @click.option('--json', 'json_file', metavar='FILE', type=click.Path(
        dir_okay=False, path_type=Path), help='Write the report as JSON, too.')
    @click.option('--table', 'table_file', metavar='FILE', type=click.Path(
        dir_okay=False, path_type=Path),
        help='Write the table to a file, too.')
    def run(uri: str | None, jobs: int | None, names: tuple[str, ...],
            large: bool, smoke: bool, json_file: Path | None,
            table_file: Path | None) -> None:
        """Measure the cost of jobs, beside the raw commits of the storage.

        Everything is stored below one name of the database's root, which is
        removed afterwards.
        """
        wrong = [name for name in names if name not in measures]
        if wrong:
            raise click.UsageError(
                f'--only {wrong[0]}: there is no such measure; there are '
                f'{", ".join(measures)}')
        if large and smoke:
            raise click.UsageError('--large and --smoke exclude each other')
        for option, file in (('--json', json_file), ('--table', table_file)):
            _check_writable(option, file)
        from lovely.remotetask.bench import report as reports

        if uri is not None:
            uri = read_uri(uri)
        report = _stoppable(partial(
            _report, uri, partial(_sizes, jobs, large, smoke),
            {name: where for name, where in measures.items()
             if not names or name in names}))
        table = reports.table(report)
        click.echo(table, nl=False)
        for file, text in ((json_file, json.dumps(report, indent=1) + '\n'),
                           (table_file, table)):
            if file is not None:
                file.write_text(text, encoding='utf-8')

    return run


bench_command = command('bench', MEASURES)


def _check_writable(option: str, file: Path | None) -> None:
    """Fail before the minutes of measuring, not after them."""
    if file is None:
        return
    there = file.exists()
    try:
        with file.open('a'):
            pass
        if not there:
            # A run that fails must not leave an empty file.
            file.unlink()
    except OSError as error:
        raise Failure(f'{option} {file}: cannot be written: {reason(error)}',
                      'choose another file') from error


def _sizes(jobs: int | None, large: bool, smoke: bool, shared: bool
           ) -> 'Sizes':
    from lovely.remotetask.bench import sizes

    found = sizes.SMOKE if smoke else sizes.sizes_for(shared)
    return replace(found, jobs=jobs or found.jobs,
                   backlog=sizes.LARGE if large else found.backlog)


class _Interrupted(KeyboardInterrupt):
    """The benchmark was interrupted by a signal."""


def _stoppable(function: Callable[['Stop'], Any]) -> Any:
    """Call ``function(stop)`` in a thread, and let signals stop it.

    This thread does nothing but wait, so that a signal finds it nowhere else:
    see Stop.
    Returns: the function's result.
    Raises: the function's exception; _Interrupted after a signal, once the
    function has ended.
    """
    from lovely.remotetask.bench.place import Stop

    stop, begin, ended = Stop(), threading.Event(), threading.Event()
    results: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        begin.wait()
        try:
            results.append(function(stop))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    # Started before signals are caught: one in the midst of start() would
    # leave a thread that cannot be waited for.
    threading.Thread(target=call, daemon=True, name='bench').start()
    with Signals(_Interrupted, 'benchmark'):
        try:
            begin.set()
            # Where the system gives a signal to another thread, this one
            # raises at its next look.
            while not ended.wait(1.0):
                pass
        except _Interrupted:
            stop.set()
            begin.set()
            ended.wait()
            raise
    if errors:
        raise errors[0]
    return results[0]


def _report(uri: str | None, sizes: 'Callable[[bool], Sizes]',
            measures: Mapping[str, str], stop: 'Stop') -> dict[str, Any]:
    from lovely.remotetask.bench.sizes import Bench

    with _place(uri, stop) as place:
        return _measure(Bench(place, sizes(place.shared)), measures)


@contextmanager
def _place(uri: str | None, stop: 'Stop') -> 'Iterator[Place]':
    """The database under test; all that is stored in it is removed again."""
    from lovely.remotetask import task
    from lovely.remotetask.bench import tasks
    from lovely.remotetask.bench.place import Place
    from lovely.remotetask.cli import databases

    task.scan(tasks)
    with tempfile.TemporaryDirectory(prefix='remotetask-bench-') as directory:
        where = uri or f'file://{os.path.join(directory, "Data.fs")}'
        place = Place(partial(databases.open_uri, where), where, stop)
        try:
            yield place
        finally:
            try:
                place.close()
            finally:
                if uri is not None:
                    place.remove()


def _measure(bench: 'Bench', measures: Mapping[str, str]) -> dict[str, Any]:
    from lovely.remotetask.bench import machine

    started = datetime.now(UTC)
    found: dict[str, Any] = {}
    for name, where in measures.items():
        click.echo(f'remotetask: measuring {name} ...', err=True)
        function = getattr(importlib.import_module(where), name)
        found[name] = function(bench)
    return {
        'version': _VERSION,
        'started': started.isoformat(timespec='seconds'),
        'storage': bench.place.kind,
        'machine': machine.describe(bench.place),
        'measures': found}
