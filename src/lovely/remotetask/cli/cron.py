"""The verbs of schedules: ``remotetask cron ...``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_pairs
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.cli.output import time_text
from lovely.remotetask.cli.seconds import Seconds
from lovely.remotetask.cli.verbs import parse_call
from lovely.remotetask.cli.verbs import parse_input
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.texts import retry_text
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.fields.limits import DEFAULT_QUEUE
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import ON_DUPLICATE_CRON
from lovely.remotetask.schedule import plan
from lovely.remotetask.schedule import zones
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.rule import MISSED
from lovely.remotetask.schedule.rule import OVERLAP
from lovely.remotetask.schedule.rule import Rule

_F = TypeVar('_F', bound=Callable[..., Any])

# What an option of the command line is called where the API takes it.
_NAMES = {'at_most': 'atMost', 'on_duplicate': 'onDuplicate',
          'time_limit': 'timeout', 'concurrency_key': 'concurrencyKey'}


@click.group('cron')
def cron_command() -> None:
    """List, add and change schedules, and tell when they run.

    To remove one, cancel it by its ID.
    """


def _rule_options(function: _F) -> _F:
    for option in (
            click.option('--concurrency-key', metavar='KEY',
                         help='Run it after all others with this key.'),
            click.option('--queue', metavar='NAME',
                         help='Run it in this queue; by default in that of '
                              'its task.'),
            click.option('--time-limit', type=Seconds(), metavar='SECONDS',
                         help='A run may last so long; default: as its task '
                              'has it.'),
            click.option('--retry', type=click.IntRange(min=0), metavar='N',
                         help='Try a run that fails again N times; default: '
                              'as its task has it.'),
            click.option('--priority', type=click.IntRange(-4, 3),
                         help='Larger runs earlier: -4 to 3.'),
            click.option('--overlap', type=click.Choice(OVERLAP),
                         help='What becomes of a time that comes amid a run: '
                              'skip it, allow another run beside it, queue '
                              'it until the end, or cancel the run for it.'),
            click.option('--deadline', type=Seconds(), metavar='SECONDS',
                         help='A run that is later than that does not run.'),
            click.option('--at-most', type=click.IntRange(1), metavar='N',
                         help='With --missed all: the latest N of them.'),
            click.option('--missed', type=click.Choice(MISSED),
                         help='What becomes of times at which no worker was '
                              'there: run once, skip them, or run all.'),
            click.option('--timezone', metavar='ZONE',
                         help='As Europe/Vienna: whose clock counts.'),
            click.option('--at', metavar='MOMENT',
                         help='Once, at this moment, as 2027-03-28T02:30.'),
            click.option('--every', type=Seconds(), metavar='SECONDS',
                         help='With this period, at least one second.'),
            click.option('--cron', metavar="'* * * * *'",
                         help='By a crontab string.')):
        function = option(function)
    return function


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the API takes them."""
    return {_NAMES.get(name, name): value for name, value in options.items()
            if value is not None}


@cron_command.command('list')
@verb(looks=True)
def list_command(backend: Backend, as_json: bool) -> None:
    """List the schedules, the one that runs next first."""
    found: list[Any] = []
    start: str | None = None
    while True:
        page = backend.get('schedules', {
            'limit': MAX_PAGE, **({} if start is None else {'start': start})})
        found += page['jobs']
        start = page['next']
        if start is None:
            break
    if as_json:
        print_json({'schedules': found})
        return
    print_table(
        ('id', 'task', 'by', 'when', 'next run', 'in its zone', 'last run'),
        [(str(job['id']), job['task'], _by(job), _when(job), _next(job),
          _local(job), _last(job)) for job in found])


def _by(job: dict[str, Any]) -> str:
    return 'code' if job.get('declared') else ''


def _when(job: dict[str, Any]) -> str:
    told = {name: ','.join(map(str, values))
            for name, values in job['schedule'].items() if values}
    told |= job['plan']
    if job['delay'] is not None:
        told = {'delay': f'{job["delay"]:g}'}
    return ' '.join(f'{name}={value!r}' if name == 'cron' else
                    f'{name}={value}' for name, value in told.items())


def _next(job: dict[str, Any]) -> str:
    if job.get('enabled') is False:
        why = job.get('pausedBecause')
        return 'paused' if why is None else f'paused: {why}'
    return time_text(job['scheduledAt'])


def _local(job: dict[str, Any]) -> str:
    return '' if job.get('enabled') is False else (
        job.get('localAt') or '').replace('T', ' ')


def _last(job: dict[str, Any]) -> str:
    last = job['lastRun']
    return '' if last is None else (
        f'{time_text(last["endedAt"])} {last["outcome"]}')


@cron_command.command('show')
@click.argument('jobid', metavar='ID', type=int)
@verb(looks=True)
def show_command(jobid: int, backend: Backend, as_json: bool) -> None:
    """Show one schedule: when it runs, and how its latest run went."""
    job = backend.get(f'schedules/{jobid}')
    if as_json:
        print_json(job)
        return
    limit = job['timeout']
    print_pairs((name, value) for name, value in (
        ('id', str(job['id'])), ('task', job['task']),
        ('status', job['status']),
        ('declared by', _by(job)), ('when', _when(job)),
        ('retry', None if job['retry'] is None else retry_text(job['retry'])),
        ('timeout', None if limit is None else f'{limit:g} s'),
        ('queue', None if job['queue'] == DEFAULT_QUEUE else job['queue']),
        ('concurrency key', job['concurrencyKey']),
        ('next run', _next(job)), ('last run', _last(job)),
        ('error', (job['lastRun'] or {}).get('error'))) if value)
    _print_runs(job['nextRuns'])


@cron_command.command('add')
@click.argument('task')
@click.argument('input', metavar='[JSON]', required=False)
@_rule_options
@click.option('--key', help='Add none while another job has this key.')
@click.option('--on-duplicate', type=click.Choice(ON_DUPLICATE_CRON),
              help='With --key: keep that other job (the default), update '
                   'it, or fail.')
@click.option('--on-success', metavar='CALL',
              help='Add this after each run: as "remotetask add" has it.')
@click.option('--on-failure', metavar='CALL',
              help='Add this after each run that has failed for good.')
@click.option('--paused', is_flag=True, help='It begins paused.')
@verb(tasks=True)
def add_command(task: str, input: str | None, paused: bool,
                on_success: str | None, on_failure: str | None,
                backend: Backend, as_json: bool, **options: Any) -> None:
    """Add a schedule for TASK with the input JSON; print its id."""
    if options['on_duplicate'] and options['key'] is None:
        raise click.UsageError('--on-duplicate needs --key')
    given = {'task': task, 'input': parse_input(input), **_given({
        **options, 'onSuccess': parse_call('--on-success', on_success),
        'onFailure': parse_call('--on-failure', on_failure)})}
    if paused:
        given['enabled'] = False
    answer = backend.post('schedules', given)
    if as_json:
        print_json({'id': answer['id']})
    else:
        click.echo(answer['id'])


@cron_command.command('edit')
@click.argument('jobid', metavar='ID', type=int)
@click.option('--task', help='Another task.')
@click.option('--input', metavar='JSON', help='Another input.')
@_rule_options
@verb(tasks=True)
def edit_command(jobid: int, input: str | None, backend: Backend,
                 as_json: bool, **options: Any) -> None:
    """Change a schedule; what is not named stays."""
    given = _given(options)
    if input is not None:
        given['input'] = parse_input(input)
    if not given:
        raise click.UsageError('say what to change; --help lists the options')
    _print_done(backend.put(f'schedules/{jobid}', given), 'changed', as_json)


def _verb_of_one(name: str, path: str, done: str, help: str) -> None:
    @cron_command.command(name, help=help)
    @click.argument('jobid', metavar='ID', type=int)
    @verb()
    def command(jobid: int, backend: Backend, as_json: bool) -> None:
        _print_done(backend.post(f'schedules/{jobid}/{path}', {}), done,
                    as_json)


_verb_of_one('pause', 'disable', 'paused',
             'Let a schedule begin no further run, until resume.')
_verb_of_one('resume', 'enable', 'resumed', 'Let a paused schedule go on.')
_verb_of_one('run', 'run', 'a run was added',
             'Let a schedule run once now; its times stay.')


def _print_done(answer: dict[str, Any], done: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(f'{answer["id"]}: {done}')


@cron_command.command('next')
@click.argument('jobid', metavar='ID', type=int)
@click.argument('count', metavar='[N]', type=click.IntRange(1, 1000),
                default=5)
@verb(looks=True)
def next_command(jobid: int, count: int, backend: Backend, as_json: bool
                 ) -> None:
    """Tell the next N runs of a schedule (5), in UTC and in its zone."""
    runs = backend.get(f'schedules/{jobid}', {'runs': count})['nextRuns']
    if as_json:
        print_json({'nextRuns': runs})
    else:
        _print_runs(runs)


@cron_command.command('check')
@click.argument('expression', metavar='EXPR')
@click.option('--timezone', metavar='ZONE', default='UTC', show_default=True,
              help='Whose clock counts.')
@click.option('--count', metavar='N', type=click.IntRange(1, 1000),
              default=5, show_default=True, help='How many runs to tell.')
@click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
def check_command(expression: str, timezone: str, count: int, as_json: bool
                  ) -> None:
    """Tell when the crontab string EXPR would run; asks no server."""
    now = time.time()
    try:
        rule = Rule.of(*plan.check_plan(
            ((),) * len(FIELDS), None, now, cron=expression,
            timezone=timezone))
        found = rule.upcoming(now, count)
    except (InvalidSchedule, ConfigurationError) as error:
        raise Failure(str(error)) from None
    if not found:
        raise Failure(f'cron {expression!r} never occurs')
    runs = [{'at': iso(at) or '', 'local': zones.local(timezone, at)}
            for at in found]
    if as_json:
        print_json({'nextRuns': runs})
    else:
        _print_runs(runs)


def _print_runs(runs: list[dict[str, str]]) -> None:
    print_table(('next runs', 'in its zone'), [
        (time_text(run['at']), run['local'].replace('T', ' '))
        for run in runs])
