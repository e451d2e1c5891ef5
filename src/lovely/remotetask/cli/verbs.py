"""The verbs of a user of the queue: add, list, show, tasks."""

import json
import random
import sys
import time
from typing import Any

import click

from lovely.remotetask.cli.backends import Backend
from lovely.remotetask.cli.backends import verb
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.output import PAUSED
from lovely.remotetask.cli.output import checkpoint_text
from lovely.remotetask.cli.output import command_streams
from lovely.remotetask.cli.output import error_of
from lovely.remotetask.cli.output import print_json
from lovely.remotetask.cli.output import print_pairs
from lovely.remotetask.cli.output import print_table
from lovely.remotetask.cli.output import progress_text
from lovely.remotetask.cli.output import time_text
from lovely.remotetask.cli.seconds import Seconds
from lovely.remotetask.cli.selecting import Status
from lovely.remotetask.cli.selecting import options as selecting
from lovely.remotetask.edge.texts import MESSAGE_CHARS
from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import indented
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.edge.texts import retry_text
from lovely.remotetask.edge.texts import some_lines
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import KEY_UNTIL
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import ON_DUPLICATE
from lovely.remotetask.interfaces import STATUSES
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.web.plain import read_json

# How long (seconds) to wait between two looks at a job: short at first, for
# short jobs, and then ever longer, so that a hundred waiting clients are no
# load.
FIRST_LOOK = 0.05
SLOWEST_LOOK = 2.0
GROWTH = 1.5

# Which moments a job of a status has, where all have one.
_HAVE = {status: ('createdAt', 'scheduledAt')
         for status in (DELAYED, CRONJOB)}


@click.command('add')
@click.argument('task')
@click.argument('input', metavar='[JSON]', required=False)
@click.option('--wait', is_flag=True,
              help='Wait for the job and print its result as JSON.')
@click.option('--timeout', type=Seconds(), metavar='SECONDS',
              help='With --wait: give up waiting after this time.')
@click.option('--priority', type=click.IntRange(-4, 3), default=0,
              help='Larger runs earlier: -4 to 3, default 0.')
@click.option('--delay', type=Seconds(), metavar='SECONDS',
              help='Run it not before this time has passed.')
@click.option('--key',
              help='Add no job while another one of this key is not over; '
                   'its id is printed then.')
@click.option('--on-duplicate', type=click.Choice(ON_DUPLICATE),
              default='keep', show_default=True,
              help='With --key: keep that other job (any: also where it is '
                   'over), replace it, or fail.')
@click.option('--key-until', type=click.Choice(KEY_UNTIL), default='ended',
              show_default=True,
              help='With --key: started: a job that runs already keeps no '
                   'key.')
@click.option('--queue', metavar='NAME',
              help='Run it in this queue; by default in that of its task.')
@click.option('--concurrency-key', metavar='KEY',
              help='Run it after all others with this key.')
@click.option('--retry', type=click.IntRange(min=0), metavar='N',
              help='Try it again N times; default: as its task has it.')
@click.option('--time-limit', type=Seconds(), metavar='SECONDS',
              help='A run may last so long; default: as its task has it.')
@click.option('--on-success', metavar='CALL',
              help='Add this when it has completed: the name of a task, or '
                   'JSON: {"task": ..., "input": ...}.  In the input, '
                   '{"RESULT": true} stands for the result.')
@click.option('--on-failure', metavar='CALL',
              help='Add this when it has failed for good; RESULT is about '
                   'the error then.')
@verb(tasks=True)
def add_command(task: str, input: str | None, wait: bool,
                timeout: float | None, priority: int, delay: float | None,
                key: str | None, on_duplicate: str, key_until: str,
                queue: str | None, concurrency_key: str | None,
                retry: int | None, time_limit: float | None,
                on_success: str | None, on_failure: str | None,
                backend: Backend, as_json: bool) -> None:
    """Add a job for TASK with the input JSON ("-" reads it from standard
    input) and print its id, or with --wait its result."""
    if timeout is not None and not wait:
        raise click.UsageError('--timeout needs --wait')
    for name, given in (('--on-duplicate', on_duplicate != 'keep'),
                        ('--key-until', key_until != 'ended')):
        if given and key is None:
            raise click.UsageError(f'{name} needs --key')
    request: dict[str, Any] = {'task': task, 'input': parse_input(input)}
    if priority:
        request['priority'] = priority
    if delay is not None:
        request['delay'] = delay
    if key is not None:
        request['key'] = key
        request['onDuplicate'] = on_duplicate
        request['keyUntil'] = key_until
    for name, value in (('queue', queue), ('concurrencyKey', concurrency_key),
                        ('retry', retry), ('timeout', time_limit),
                        ('onSuccess', parse_call('--on-success', on_success)),
                        ('onFailure', parse_call('--on-failure', on_failure))):
        if value is not None:
            request[name] = value
    if wait:
        backend.check_waiting()
    answer = backend.post('jobs', request)
    jobid = answer['id']
    if answer.get('paused'):
        # Before the wait, which may last as long as the pause.
        click.echo(PAUSED, err=True)
    if wait:
        job = wait_for(backend, jobid, timeout)
        _print_result(job)
    elif as_json:
        print_json({'id': jobid})
    else:
        click.echo(jobid)


@click.command('list')
@click.option('--status', type=Status(STATUSES),
              help='Only jobs with this status.')
@selecting
@click.option('--limit', type=click.IntRange(min=1), default=50,
              show_default=True, help='This many at most.')
@verb(looks=True)
def list_command(status: str | None, wanted: dict[str, str], limit: int,
                 backend: Backend, as_json: bool) -> None:
    """List jobs: first those that run and wait, then those that have ended."""
    jobs: list[dict[str, Any]] = []
    start: str | None = None
    while True:
        query = {'status': status, 'start': start, **wanted,
                 'limit': min(limit - len(jobs), MAX_PAGE)}
        page = backend.get('jobs', {key: value for key, value in query.items()
                                  if value is not None})
        jobs += page['jobs']
        paused = page.get('paused', False)
        start = page['next']
        # An empty page may not be the last one: what selects jobs looks at a
        # bounded number of them.
        if start is None or len(jobs) >= limit:
            break
    if as_json:
        print_json({'jobs': jobs, 'next': start,
                    **({'paused': True} if paused else {})})
        return
    rows = [(str(job['id']), job['status'], job['task'],
             time_text(job['createdAt']) or 'unknown', str(job['attempts']),
             error_of(job)) for job in jobs]
    print_table(('id', 'status', 'task', 'created', 'attempts', 'error'),
                 rows)
    if start is not None:
        click.echo(f'There are more; use --limit {limit * 2}.', err=True)
    if paused:
        click.echo(PAUSED, err=True)


@click.command('show')
@click.argument('jobid', metavar='ID', type=int)
@verb(looks=True)
def show_command(jobid: int, backend: Backend, as_json: bool) -> None:
    """Show one job, with its input and result."""
    job = backend.get(f'jobs/{jobid}')
    if as_json:
        print_json(job)
        return
    pairs = []
    short = False
    errors = job.pop('errors', [])
    places = job.pop('bytes', ())
    streams = command_streams(job['output'], places)
    if streams is not None:
        job['output'] = streams.pop('')
    runs = job.pop('runs', ())
    follow_ups = job.pop('followUps', ())
    if 'progress' in job:
        job['progress'] = progress_text(job['progress'])
    if isinstance(job['retry'], dict):
        job['retry'] = retry_text(job['retry'])
    if 'checkpoint' in job:
        job['checkpoint'] = checkpoint_text(job['checkpoint'])
    job['error'] = error_of(job) or None
    del job['errorType']
    for name, value in job.items():
        if name == 'scheduledAt' and job.get('enabled') is False:
            value = 'paused'
        elif value is None and name in _HAVE.get(
                job['status'], ('createdAt',)):
            value = 'unknown'       # no calendar has this moment
        elif value is None and name not in ('input', 'output'):
            continue
        if name == 'input' or (name == 'output' and streams is None):
            value = json.dumps(value, ensure_ascii=False)
        elif name.endswith('At') and value not in ('unknown', 'paused'):
            value = time_text(value)
        text = str(value)
        shown = cut(text)
        short = short or shown != text
        pairs.append((name, shown))
    print_pairs(pairs)
    for name, text in (streams or {}).items():
        shown = some_lines(text, MESSAGE_CHARS)
        short = short or len(text) > MESSAGE_CHARS
        click.echo(f'{name}:')
        for line in shown.splitlines():
            click.echo(f'    {line}')
    for one in follow_ups:
        click.echo(_follow_up_text(one))
    if runs:
        click.echo('latest runs:')
        print_table(('ended', 'seconds', 'outcome', 'error'), [
            (time_text(run['endedAt']) or 'unknown', f'{run["seconds"]:.3f}',
             run['outcome'], run['error'] or '') for run in runs])
    for error in errors:
        click.echo(f'\nattempt {error["attempt"]} failed at '
                   f'{time_text(error["time"])}: {error["type"]}: '
                   f'{cut(one_line(error["message"]))}')
        for line in error['traceback'].splitlines():
            click.echo(f'    {indented(line)}')
    if short:
        click.echo('Some of it is cut; --json shows all.', err=True)


def _follow_up_text(one: dict[str, Any]) -> str:
    """What follows a job: ``on success: tell, stuck: ...``."""
    state = {'added': f'is job {one["id"]}', 'waits': 'waits for its end',
             'off': 'does not come', 'stuck': 'is stuck'}[one['state']]
    more = ''
    if one['behind'] and one['state'] != 'added':
        more = f' ({one["behind"]} more behind it)'
    note = '' if one['note'] is None else f': {one["note"]}'
    return one_line(f'on {one["on"]}: {one["task"]} {state}{more}{note}')


@click.command('tasks')
@verb(tasks=True, looks=True)
def tasks_command(backend: Backend, as_json: bool) -> None:
    """List the tasks that jobs can be added for, and the input of each."""
    answer = backend.get('tasks')
    if as_json:
        print_json(answer)
        return
    print_table(('task', 'input'), [
        (name, _input_text(answer['inputs'][name]))
        for name in answer['tasks']])


def _input_text(takes: dict[str, Any]) -> str:
    """What a task takes: its parameters as Python writes them, in JSON."""
    found = []
    for one in takes['parameters']:
        default = ''
        if 'defaultNote' in one:
            default = '=...'
        elif not one['required']:
            default = '=' + json.dumps(one['default'], ensure_ascii=False)
        found.append(one['name'] + default)
    if takes['others']:
        found.append('**others')
    if takes['whole']:
        found.append('as it is')
    return ', '.join(found) or 'none'


def wait_for(backend: Backend, jobid: int, timeout: float | None
             ) -> dict[str, Any]:
    """Wait until a job has ended.

    Arguments: ``timeout``, seconds or None.
    Returns: the job, as the backend shows it.
    Raises: Failure when the time is over.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    interval = FIRST_LOOK
    while True:
        job: dict[str, Any] = backend.get(f'jobs/{jobid}')
        if job['status'] in FINAL:
            return job
        if job['status'] == UNKNOWN:
            raise Failure(f'job {jobid} cannot be read: {job["error"]}')
        pause = interval * random.uniform(0.8, 1.2)
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(
                    f'job {jobid} is still {job["status"]!r} after '
                    f'{timeout:g} s',
                    f'it goes on; look at it with: remotetask show {jobid}')
            pause = min(pause, left)
        time.sleep(pause)
        interval = min(interval * GROWTH, SLOWEST_LOOK)


def _print_result(job: dict[str, Any]) -> None:
    if job['status'] == 'error':
        raise Failure(f'job {job["id"]} failed: {error_of(job)}')
    if job['status'] == 'cancelled':
        raise Failure(f'job {job["id"]} was cancelled')
    if 'outputNote' in job:
        raise Failure(f'job {job["id"]} is completed, but its result '
                      f'{job["outputNote"]}')
    # On one line: the next program of a pipe may read it.
    click.echo(json.dumps(job['output'], ensure_ascii=False))


def parse_call(option: str, text: str | None) -> object:
    """A call that follows: the name of a task, or a JSON object."""
    if text is None or not text.lstrip().startswith('{'):
        return text
    return parse(text, option)


def parse_input(text: str | None) -> object:
    """The input on a command line; "-": it is on standard input."""
    if text is None:
        return None
    return parse(sys.stdin.read() if text == '-' else text, 'the input')


def parse(text: str, what: str) -> Any:
    """What JSON on a command line means.

    Arguments: ``what``, its name in errors.
    Raises: click.UsageError.
    """
    try:
        return read_json(text)
    except UsageError as error:
        raise click.UsageError(str(error)) from None
    except ValueError as error:
        raise click.UsageError(
            f'{what} is not JSON: {error}.  Text needs double quotes '
            f'inside of the shell\'s: \'"text"\'') from None
    except RecursionError:
        raise click.UsageError(f'{what} is nested too deeply') from None
