"""Prints the answers of the verbs: tables, times and JSON."""

import base64
import json
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import click

from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import one_line

#: What a command says of a queue that is paused.
PAUSED = ('remotetask: the queue is paused: no job is started until: '
          'remotetask resume')

# The longest cell of a table (characters); --json has the whole text.
_CELL_CHARS = 200


def error_of(job: dict[str, Any]) -> str:
    """The error of a job with its class, or ''.

    Some messages say nothing without that: ``KeyError('name')``.
    """
    message, kind = job['error'], job['errorType']
    if message is None:
        return ''
    name = str(kind).rpartition('.')[2]
    return name if message in ('', name) else f'{name}: {message}'


#: The keys of what a CommandTask gives.
_OF_COMMAND = {'returncode', 'stdout', 'stderr', 'stdout_truncated',
               'stderr_truncated', 'seconds'}


def command_streams(output: object, places: Sequence[str]
                    ) -> dict[str, str] | None:
    """What a command has written, as text; None: another task's result.

    Arguments: ``places``, the JSON pointers of bytes in the job.
    Returns: the texts under ``stdout`` and ``stderr``, where there are any,
    and under '' how it ended.
    """
    if not isinstance(output, dict) or set(output) != _OF_COMMAND:
        return None
    found = {'': f'exit code {output["returncode"]} after '
                 f'{output["seconds"]:.3g} s'}
    for name in ('stdout', 'stderr'):
        text = output[name]
        if f'/output/{name}' in places:
            text = _text_of(base64.b64decode(text))
        if text:
            cut_off = output[f'{name}_truncated']
            found[name + (', not all of it' if cut_off else '')] = text
    return found


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f'{len(data):,} bytes that are no text'


def print_json(data: object) -> None:
    """Print JSON for people and programs."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text in columns."""
    table = [head, *[[cut(one_line(cell), _CELL_CHARS) for cell in row]
                     for row in rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = zip(row, widths, strict=True)
        click.echo('  '.join(f'{cell:{width}}' for cell, width in cells)
                   .rstrip())


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, a line each."""
    rows = [(f'{name}:', one_line(value)) for name, value in pairs]
    width = max(len(name) for name, _ in rows) + 1
    for name, value in rows:
        click.echo(f'{name:{width}}{value}')


@contextmanager
def print_progress(label: str) -> Iterator[Callable[[int], None]]:
    """Show a number that grows, where standard error is a terminal."""
    shown = False

    def progress(count: int) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            click.echo(f'\r{label}: {count}', err=True, nl=False)
            shown = True

    try:
        yield progress
    finally:
        if shown:
            click.echo(err=True)


def checkpoint_text(reached: dict[str, Any]) -> str:
    """What a job has reached, in a line: its steps, its cursor, and when."""
    parts = []
    if reached.get('steps'):
        parts.append(f'{reached["steps"]:,} steps, the last of them '
                     f'{reached["latestStep"]}')
    if 'cursorNote' in reached:
        parts.append(f'cursor {reached["cursorNote"]}')
    elif reached['cursor'] is not None:
        parts.append('cursor '
                     + json.dumps(reached['cursor'], ensure_ascii=False))
    at = time_text(reached.get('at'))
    return '; '.join(parts or ['no cursor']) + (f' ({at})' if at else '')


def progress_text(progress: dict[str, Any]) -> str:
    """How far a job has come: ``41 of 120: page 41 (20:39:45 UTC)``."""
    total = progress['total']
    return (f'{progress["done"]:,}'
            + ('' if total is None else f' of {total:,}')
            + (progress['message'] and f': {progress["message"]}')
            + f' ({time_text(progress["at"])})')


def time_text(value: str | None) -> str:
    """An ISO moment in UTC, to the second."""
    if value is None:
        return ''
    return value[:19].replace('T', ' ') + (
        ' UTC' if value.endswith('+00:00') else '')
