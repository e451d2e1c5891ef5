"""The verbs of an administrator: stats, workers, pause, resume, check."""

import socket

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import in_parts
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_pairs
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.cli.output import time_text
from lovely.remotetask.cli.seconds import Seconds
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.edge.texts import some


@click.command('stats')
@verb(looks=True)
def stats_command(backend: Backend, as_json: bool) -> None:
    """Count the jobs by status; tell how long the oldest one waits."""
    answer = backend.get('stats')
    if as_json:
        print_json(answer)
        return
    texts = {'oldest': lambda age: '' if age is None else f'{age:.1f} s',
             'paused': lambda paused: 'yes' if paused else 'no',
             'pausedAt': time_text, 'resumeAt': time_text,
             'reruns': lambda tasks: ', '.join(
                 f'{name} {tasks[name]}' for name in sorted(tasks))}
    print_pairs((name, texts.get(name, str)(value))
                for name, value in answer.items()
                # No task has been run again; nobody has paused the queue.
                if value != {} and (value is not None or name == 'oldest'))


@click.command('workers')
@verb(looks=True)
def workers_command(backend: Backend, as_json: bool) -> None:
    """List the workers, and the jobs they run."""
    answer = backend.get('workers')
    if as_json:
        print_json(answer)
        return
    print_table(
        ('worker', 'host', 'since', 'last sign', 'evidence', 'state', 'slots',
         'jobs'),
        [(worker['id'], worker['host'], time_text(worker['since']),
          time_text(worker.get('lastSign')), ' '.join(worker['evidence']),
          {True: 'live', False: 'stale', None: ''}[worker['live']],
          ' '.join(map(str, worker['slots'])),
          ' '.join(map(str, worker['claims'])))
         for worker in answer['workers']])
    for worker in answer['workers']:
        for job in worker['jobs']:
            click.echo(one_line(
                f'job {job["id"]} of {job["task"]}, attempt {job["attempt"]}, '
                f'runs for {job["seconds"]} s in {worker["id"]}'))
        if worker['lacks']:
            click.echo(one_line(f'{worker["id"]} lacks the tasks '
                                f'{", ".join(worker["lacks"])}'))
        for job in worker['stuck']:
            click.echo(one_line(
                f'stuck: job {job["id"]} {job["why"]}, and a thread of '
                f'{worker["id"]} still runs it'))


@click.command('pause')
@click.option('--reason', help='Why, for those who look at it: "stats" and '
                               'the pages show it.')
@click.option('--queue', metavar='NAME', help='Pause this queue alone.')
@click.option('--for', 'seconds', type=Seconds(), metavar='SECONDS',
              help='Let it end by itself after this time.')
@verb()
def pause_command(reason: str | None, queue: str | None,
                  seconds: float | None, backend: Backend, as_json: bool
                  ) -> None:
    """Let the workers start no further job, until resume."""
    until = None if seconds is None else iso(SYSTEM_CLOCK.now() + seconds)
    answer = backend.post('pause', {name: value for name, value in (
        ('reason', reason), ('queue', queue), ('resumeAt', until))
        if value is not None})
    if as_json:
        print_json(answer)
    else:
        click.echo('paused: no further job' + (
            '' if queue is None else f' of the queue {one_line(queue)}')
            + ' is started' + (
            '' if until is None else f' until {time_text(until)}'))


@click.command('resume')
@click.option('--queue', metavar='NAME', help='Resume this queue alone.')
@verb()
def resume_command(queue: str | None, backend: Backend, as_json: bool
                   ) -> None:
    """Let the workers go on after a pause."""
    answer = backend.post('resume', {} if queue is None else {'queue': queue})
    if as_json:
        print_json(answer)
    else:
        click.echo('resumed')


def _problems(backend: Backend, pid: int | None, host: str | None,
              oldest: float | None) -> list[str]:
    """What a supervisor has to know."""
    problems = []
    if pid is not None or host is not None:
        if host is None:
            host = socket.gethostname()
        known = [one for one in backend.get('workers')['workers']
                 if one['host'] == host and pid in (None, one['pid'])]
        if not any(one['live'] for one in known):
            name = f' with the process id {pid}' if pid is not None else ''
            signs = sorted(one['lastSign'] for one in known if one['lastSign'])
            problems.append(
                f'no worker{name} lives on {host}' + (
                    f'; the last sign of one was at {time_text(signs[-1])}'
                    if signs else ''))
    if oldest is not None:
        waited = backend.get('stats')['oldest']
        if waited is not None and waited > oldest:
            problems.append(f'the oldest job has waited {waited:.0f} seconds')
    return problems


def _answer(problems: list[str], as_json: bool) -> None:
    if as_json:
        print_json({'problems': problems})
    else:
        for problem in problems or ['nothing is wrong']:
            click.echo(one_line(problem))
    if problems:
        click.get_current_context().exit(1)


#: What a check may find, and what is printed of it.
CHECKED = {
    'adrift': 'jobs that wait and stand in no lane',
    'unclaimed': 'jobs that are processing under no claim of a known worker',
    'twice': 'jobs that stand twice in claims',
    'gone': 'entries of jobs that are gone or stand elsewhere',
    'unreadable': 'jobs whose record cannot be read',
    'keys': 'unique keys of jobs that are gone',
    'late': 'jobs that are to wait longer than their delay or schedule says',
    'unlisted': 'jobs that are over, and that no listing shows',
    'lost': 'lost records of the queue itself, by their oids',
}

# How many ids of one kind are printed.
_IDS = 50


@click.command('check')
@click.option('--repair', is_flag=True,
              help='Put jobs back into a lane, remove entries and keys of '
                   'jobs that are gone, and replace lost lanes, logs and '
                   'unique keys.')
@click.option('--pid', type=click.IntRange(1), metavar='N',
              help='Instead, ask whether the worker with this process id '
                   'lives, on this machine or the --host.')
@click.option('--host', metavar='NAME',
              help='Instead, ask whether a worker lives on this machine.')
@click.option('--oldest', type=Seconds(), metavar='SECONDS',
              help='Instead, ask whether every job that could run has waited '
                   'for no longer.')
@verb()
def check_command(repair: bool, pid: int | None, host: str | None,
                  oldest: float | None, backend: Backend, as_json: bool
                  ) -> None:
    """Look over all jobs for those that no worker would ever come to.

    Exit status 1 if any is found, or with --repair if any is left.  With
    --pid, --host or --oldest it looks at no job, but answers a supervisor:
    exit status 0 if all is well, 1 if not.
    """
    if (pid, host, oldest) != (None, None, None):
        if repair:
            raise click.UsageError('--repair excludes --pid, --host and '
                                   '--oldest')
        _answer(_problems(backend, pid, host, oldest), as_json)
        return
    found: dict[str, list[int]] = {}
    repaired: dict[str, list[int]] = {}
    lost: dict[str, str] = {}
    for answer in in_parts(backend, 'check', {'repair': repair}):
        lost |= answer.get('records', {})
        for name, total in (('found', found), ('repaired', repaired)):
            for kind, ids in answer[name].items():
                total.setdefault(kind, []).extend(ids)
    left = sum(map(len, found.values())) - sum(map(len, repaired.values()))
    if as_json:
        records = {'records': lost} if lost else {}
        print_json({'found': found, 'repaired': repaired, **records})
    else:
        for kind, text in CHECKED.items():
            if kind in found:
                click.echo(f'{text}: '
                           # An entry of a job may be found in several lanes.
                           f'{some(sorted(set(found[kind])), _IDS)}'
                           + (' (repaired)' if kind in repaired else ''))
        for text in lost.values():
            click.echo(text)
        if not found:
            click.echo('nothing is wrong')
    if left:
        click.get_current_context().exit(1)
