"""``remotetask top``: the queue, its workers and its last failures, live."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any
from typing import NamedTuple

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.output import error_of
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import time_text
from lovely.remotetask.cli.seconds import Seconds
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import PROCESSING

# How many running jobs, and failures, one look asks for.
_MOST_JOBS = 100
_MOST_FAILURES = 20

# The shortest pause between two looks (seconds): each is four requests.
_SHORTEST = 0.5

# How many characters the bar of a progress has.
_BAR = 20

# What a terminal has that does not say how large it is.
_USUAL = (80, 24)

_COUNTS = ('queued', 'processing', 'scheduled', 'start later', 'completed',
           'error', 'cancelled')


class Line(NamedTuple):
    """A line of a frame; ``style``, the arguments of click.style."""

    text: str
    style: dict[str, Any] = {}      # noqa: RUF012


class Look(NamedTuple):
    """What one look has found: answers of the API.

    Attributes: ``at``, when (monotonic seconds).
    """

    at: float
    stats: dict[str, Any]
    workers: list[dict[str, Any]]
    running: list[dict[str, Any]]
    failures: list[dict[str, Any]]


@click.command('top')
@click.option('--interval', type=Seconds(), metavar='SECONDS', default=2.0,
              show_default=True, help='How long to wait between two looks.')
@click.option('--once', is_flag=True, help='Print one frame, and end.')
@verb(looks=True)
def top_command(interval: float, once: bool, backend: Backend, as_json: bool
                ) -> None:
    """Watch the queue, what its workers run, and its last failures.

    Ctrl-C ends it.  Where standard output is no terminal, the frames follow
    one another.  With --json it prints what one look finds, and ends.
    """
    if interval < _SHORTEST:
        raise click.UsageError(
            f'--interval is {interval:g}; give {_SHORTEST:g} or more')
    now = _look(backend)
    if as_json:
        print_json({name: getattr(now, name) for name in Look._fields[1:]})
        return
    if not once and not backend.is_live():
        once = True
        click.echo('remotetask: a file is seen as it was when it was opened, '
                   'so this is one frame; --url watches its server', err=True)
    before: Look | None = None
    trouble: str | None = None
    try:
        while True:
            _show(frame(now, before, *_size(), trouble))
            if once:
                return
            time.sleep(interval)
            try:
                before, now, trouble = now, _look(backend), None
            except Failure as error:
                # It may be about to be started again.
                trouble = str(error)
                backend.renew()
    except KeyboardInterrupt:
        return      # the way to end it


def _look(backend: Backend) -> Look:
    def jobs(status: str, most: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = backend.get(
            'jobs', {'status': status, 'limit': most})['jobs']
        return found

    stats = backend.get('stats')
    return Look(SYSTEM_CLOCK.monotonic(), stats,
                backend.get('workers')['workers'],
                jobs(PROCESSING, _MOST_JOBS), jobs(ERROR, _MOST_FAILURES))


def _size() -> tuple[int | None, int | None]:
    """Columns and lines of the terminal; None: there is none."""
    if not sys.stdout.isatty():
        return None, None
    found = shutil.get_terminal_size(_USUAL)
    return found.columns, found.lines


def _show(lines: list[Line]) -> None:
    if sys.stdout.isatty() and os.environ.get('TERM') != 'dumb':
        click.clear()
        end = ''        # a line break in the last line would scroll
    else:
        end = '\n\n'
    text = '\n'.join(click.style(line.text, **line.style) if line.style
                     else line.text for line in lines)
    click.echo(text + end, nl=False)
    sys.stdout.flush()


# --- a frame -----------------------------------------------------------------

def frame(now: Look, before: Look | None, columns: int | None,
          lines: int | None, trouble: str | None = None) -> list[Line]:
    """The lines that show what was found.

    Arguments: ``before``, the look before, None: this is the first one;
    ``columns``, ``lines``, how large they may be, None: any size;
    ``trouble``, why there is nothing newer.
    """
    head = _head(now, before, trouble)
    workers, failures = _workers(now), _failures(now)
    if lines is not None:
        room = max(lines - len(head) - 2, 2)
        # Failures get what the workers leave, and a third at least.
        least = min(len(failures), max(room // 3, 3))
        workers = _some(workers, max(room - least, 2))
        failures = _some(failures, max(room - len(workers), 2))
    found = [*head, Line(''), *workers, Line(''), *failures]
    if lines is not None:
        found = found[:lines]
    return found if columns is None else [
        line._replace(text=line.text[:columns]) for line in found]


def _head(now: Look, before: Look | None, trouble: str | None
          ) -> list[Line]:
    stats = now.stats
    head = [
        Line(f'remotetask top, {time_text(iso(SYSTEM_CLOCK.now()))}',
             {'bold': True}),
        Line('  '.join(f'{name} {stats[name]:,}' for name in _COUNTS),
             {'fg': 'red'} if stats['error'] else {}),
        Line('  '.join((
            _oldest(stats['oldest']),
            _rate('completed', 'completedTotal', 'completedPerMinute', now,
                  before),
            _rate('failed', 'errorTotal', 'errorPerMinute', now, before))))]
    if stats['paused']:
        why = stats.get('pauseReason')
        head.append(Line(one_line(
            f'PAUSED: no job is started{": " + why if why else ""}'),
            {'fg': 'yellow', 'bold': True}))
    if trouble is not None:
        head.append(Line(one_line(f'what follows is old: {trouble}'),
                         {'fg': 'red', 'bold': True}))
    return head


def _oldest(seconds: float | None) -> str:
    return ('nothing waits' if seconds is None
            else f'the oldest waits for {_seconds(seconds)}')


def _rate(name: str, total: str, average: str, now: Look,
          before: Look | None) -> str:
    """How many a second since the look before, and a minute lately."""
    text = f'{name} {now.stats[average]:,.1f}/min'
    if before is None or now.at <= before.at:
        return text
    # A clean, or another service at this address, takes the number back.
    count = max(0, now.stats[total] - before.stats[total])
    return f'{text} ({count / (now.at - before.at):,.1f}/s now)'


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f'{hours:d}:{minutes:02d}:{rest:02d} h' if hours
            else f'{minutes:d}:{rest:02d} min')


def _workers(now: Look) -> list[Line]:
    if not now.workers:
        return [Line('no worker is there', {'fg': 'yellow'})]
    progress = {job['id']: job.get('progress') for job in now.running}
    found = []
    for worker in now.workers:
        live = worker['live']
        state = {True: 'lives', False: 'stale', None: ''}[live]
        found.append(Line(one_line(
            f'{worker["id"]}  {len(worker["jobs"])} of {worker["threads"]} '
            f'threads busy  {state}'),
            {'fg': 'red'} if live is False else {'bold': True}))
        found += [_running(job, progress.get(job['id']))
                  for job in worker['jobs']]
        found += [Line(_indented(f'  stuck: job {job["id"]} {job["why"]}'),
                       {'fg': 'red'}) for job in worker['stuck']]
    return found


def _running(job: dict[str, Any], told: dict[str, Any] | None) -> Line:
    text = (f'  {job["id"]}  {job["task"]}  attempt {job["attempt"]}  '
            f'{_seconds(job["seconds"])}')
    if told is not None:
        text += '  ' + _bar(told['done'], told['total'])
        if told['message']:
            text += f'  {told["message"]}'
    return Line(_indented(text))


def _indented(text: str) -> str:
    """A text of one line; the spaces in front of it stay."""
    return ' ' * (len(text) - len(text.lstrip(' '))) + one_line(text)


def _bar(done: float, total: float | None) -> str:
    if not total:
        return f'{done:,g} done'
    full = int(_BAR * min(done / total, 1))
    return f'[{"#" * full}{"." * (_BAR - full)}] {done:,g} of {total:,g}'


def _failures(now: Look) -> list[Line]:
    if not now.failures:
        return [Line('nothing has failed')]
    return [Line('last failures', {'bold': True}), *(
        Line(_indented(
            f'  {time_text(job["completedAt"]) or "unknown"}  {job["id"]}  '
            f'{job["task"]}  {cut(one_line(error_of(job)))}'))
        for job in now.failures)]


def _some(lines: list[Line], most: int) -> list[Line]:
    """As many of the lines as there is room for."""
    if len(lines) <= most:
        return lines
    left = len(lines) - most + 1
    return [*lines[:most - 1], Line(f'  ... and {left} more lines')]
