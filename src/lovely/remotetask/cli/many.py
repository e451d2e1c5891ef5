"""The verbs that change one job or many: cancel, retry, clean."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import in_parts
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_progress
from lovely.remotetask.cli.selecting import AGO
from lovely.remotetask.cli.selecting import Status
from lovely.remotetask.cli.selecting import options as selecting
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import NOT_OVER
from lovely.remotetask.interfaces import RETRIED


@click.command('cancel')
@click.argument('jobid', metavar='[ID]', type=int, required=False)
@click.option('--all', 'everything', is_flag=True,
              help='Instead of an ID: all jobs that are not over, schedules '
                   'too.')
@click.option('--status', type=Status(NOT_OVER),
              help='Instead of an ID: all jobs with this status.')
@selecting
@verb()
def cancel_command(jobid: int | None, everything: bool, status: str | None,
                   wanted: dict[str, str], backend: Backend, as_json: bool
                   ) -> None:
    """Cancel a job that has not ended yet, or all that the options select."""
    if _is_one(jobid, everything, status, wanted):
        _cancel(backend, jobid, as_json)
        return
    done = _change(backend, 'cancel', 'cancelled',
                   (status,) if status else NOT_OVER, wanted)
    if as_json:
        print_json({'cancelled': done['cancelled']})
    else:
        click.echo(f'cancelled: {done["cancelled"]}')


def _cancel(backend: Backend, jobid: int | None, as_json: bool) -> None:
    answer = backend.post(f'jobs/{jobid}/cancel', {})
    deleted = 'deleted' in answer
    if answer['status'] != 'cancelled' and not deleted:
        raise Failure(f'job {jobid} has ended already with the status '
                      f'{answer["status"]!r}', 'there is nothing to cancel')
    if as_json:
        print_json(answer)
    elif deleted:
        click.echo(f'job {jobid} could not be read; it is deleted')
    else:
        click.echo(f'job {jobid} is cancelled')


@click.command('retry')
@click.argument('jobid', metavar='[ID]', type=int, required=False)
@click.option('--all', 'everything', is_flag=True,
              help='Instead of an ID: all jobs that failed.')
@click.option('--status', type=Status(RETRIED),
              help='Instead of an ID: all jobs with this status.  Default, '
                   'where other options select jobs: those that failed.')
@click.option('--anew', is_flag=True,
              help='Of one job: forget its checkpoint and its steps, and '
                   'begin at the beginning.')
@selecting
@verb()
def retry_command(jobid: int | None, everything: bool, status: str | None,
                  anew: bool, wanted: dict[str, str], backend: Backend,
                  as_json: bool) -> None:
    """Run a job again that failed or was cancelled, or all that the options
    select."""
    if _is_one(jobid, everything, status, wanted):
        answer = backend.post(f'jobs/{jobid}/retry',
                              {'anew': True} if anew else {})
        if as_json:
            print_json(answer)
        else:
            click.echo(f'job {jobid} is {answer["status"]}')
        return
    if anew:
        raise click.UsageError('--anew is for one job: give its ID')
    done = _change(backend, 'retry', 'retried',
                   (status or ERROR,), wanted)
    if as_json:
        print_json({name: done[name] for name in ('retried', 'left')})
        return
    click.echo(f'retried: {done["retried"]}')
    if done['left']:
        click.echo(f'left: {done["left"]}: another job has the key, the '
                   f'record cannot be read, or the schedule has no next time; '
                   f'retry each by its ID to read why')


def _is_one(jobid: int | None, everything: bool, status: str | None,
            wanted: dict[str, str]) -> bool:
    """Is one job meant?  Raises: click.UsageError where nothing is clear."""
    many = everything or status is not None or bool(wanted)
    if jobid is not None and many:
        raise click.UsageError(
            'give either the ID of a job, or options that select jobs')
    if jobid is None and not many:
        raise click.UsageError(
            'give the ID of a job, or select jobs by --status, --task, '
            '--since and others, or --all')
    if everything and (status is not None or wanted):
        raise click.UsageError(
            '--all means all jobs: leave out the options that select some')
    return jobid is not None


def _change(backend: Backend, path: str, name: str,
            statuses: Sequence[str], wanted: dict[str, str]
            ) -> dict[str, int]:
    """Change all jobs that are wanted, in steps.  Returns: the numbers."""
    done = {name: 0, 'left': 0}
    with print_progress(name) as progress:
        for status in statuses:
            for answer in in_parts(backend, path, {
                    'status': status, **wanted}):
                for key in done:
                    done[key] += answer.get(key, 0)
                progress(done[name])
    return done


@click.command('clean')
@click.option('--all', 'everything', is_flag=True,
              help='All jobs that are over.')
@click.option('--older', 'before', type=AGO, metavar='AGE',
              help='Only jobs that ended longer ago: 90s, 30m, 12h, 7d, 2w, '
                   'or before a moment: 2026-12-31T12:00.')
@click.option('--keep', type=click.IntRange(min=1), metavar='N',
              help='Leave the N jobs that have ended last.')
@click.option('--status', type=Status(FINAL), multiple=True,
              help='Only jobs with this status (may be repeated).')
@verb()
def clean_command(everything: bool, before: str | None, keep: int | None,
                  status: tuple[str, ...], backend: Backend, as_json: bool
                  ) -> None:
    """Remove jobs that are over, with their results and errors.

    Without options it asks, where there is a terminal.
    """
    chosen = bool(before or keep or status)
    if everything and chosen:
        raise click.UsageError(
            '--all means all jobs that are over: leave out the other options')
    if not everything and not chosen:
        _ask(backend)
    wanted: dict[str, Any] = {'status': list(status or FINAL)}
    if before is not None:
        wanted['before'] = before
    if keep is not None:
        wanted['keep'] = keep
    removed: dict[str, int] = {}
    with print_progress('removed') as progress:
        for answer in in_parts(backend, 'clean', wanted):
            for name, count in answer['removed'].items():
                removed[name] = removed.get(name, 0) + count
            progress(sum(removed.values()))
    if as_json:
        print_json({'removed': removed})
        return
    click.echo('removed: ' + ', '.join(
        f'{count} {name}' for name, count in removed.items()))


def _ask(backend: Backend) -> None:
    """Let the user confirm that all is to be removed."""
    if not sys.stdin.isatty():
        raise click.UsageError(
            'say which jobs: --older 7d, --keep 1000, --status completed, or '
            '--all')
    stats = backend.get('stats')
    counts = ', '.join(f'{stats[name]} {name}' for name in FINAL)
    click.confirm(f'Remove all jobs that are over ({counts})?', abort=True,
                  err=True)
