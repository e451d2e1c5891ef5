"""The click program: its commands, ``--debug``, and its lines about errors."""

import importlib
import os
import sys
import traceback
from typing import Any

import click

from lovely.remotetask.cli import failures
from lovely.remotetask.edge.texts import meant

#: Command -> its module, which is imported when the command is used.
COMMANDS = {
    'serve': 'lovely.remotetask.cli.serve',
    'login': 'lovely.remotetask.cli.login',
    'worker': 'lovely.remotetask.cli.worker',
    'add': 'lovely.remotetask.cli.verbs',
    'list': 'lovely.remotetask.cli.verbs',
    'show': 'lovely.remotetask.cli.verbs',
    'cancel': 'lovely.remotetask.cli.many',
    'tasks': 'lovely.remotetask.cli.verbs',
    'retry': 'lovely.remotetask.cli.many',
    'clean': 'lovely.remotetask.cli.many',
    'retention': 'lovely.remotetask.cli.retention',
    'cron': 'lovely.remotetask.cli.cron',
    'chain': 'lovely.remotetask.cli.group',
    'group': 'lovely.remotetask.cli.group',
    'check': 'lovely.remotetask.cli.admin',
    'stats': 'lovely.remotetask.cli.admin',
    'workers': 'lovely.remotetask.cli.admin',
    'top': 'lovely.remotetask.cli.top',
    'pause': 'lovely.remotetask.cli.admin',
    'resume': 'lovely.remotetask.cli.admin',
    'queues': 'lovely.remotetask.cli.flow',
    'limits': 'lovely.remotetask.cli.flow',
    'limit': 'lovely.remotetask.cli.flow',
    'migrate': 'lovely.remotetask.cli.migrate',
    'demo': 'lovely.remotetask.cli.demo',
    'bench': 'lovely.remotetask.bench.command',
}

INTERRUPTED = 130


class _Program(click.Group):

    def resolve_command(self, context: click.Context, arguments: list[str]
                        ) -> tuple[str | None, click.Command | None,
                                   list[str]]:
        name = arguments[0]
        # An option in front of the command is told of by click.
        if name not in COMMANDS and not name.startswith('-'):
            context.fail(f'there is no command {name!r}'
                         f'{meant(name, COMMANDS)}; remotetask --help lists '
                         f'them')
        return super().resolve_command(context, arguments)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str
                    ) -> click.Command | None:
        where = COMMANDS.get(name)
        if where is None:
            return None
        command: click.Command = getattr(
            importlib.import_module(where), f'{name}_command')
        if _DEBUG not in command.params:
            # Users write it behind the command.
            command.params.append(_DEBUG)
        return command


def _set_debug(context: click.Context, parameter: click.Parameter,
               value: bool) -> None:
    if value:
        context.obj['debug'] = True


_DEBUG = click.Option(
    ['--debug'], is_flag=True, expose_value=False, callback=_set_debug,
    help='Show the traceback of an error.')


program = _Program(
    name='remotetask',
    params=[_DEBUG],
    context_settings={'help_option_names': ['-h', '--help']},
    help='A persistent task queue in a ZODB: serve it, add jobs, watch them.'
         '\n\nTo see it at work: remotetask demo')
click.version_option(package_name='lovely.remotetask',
                     message='%(package)s %(version)s')(program)


def run(arguments: list[str]) -> int:
    """Run one command.  Returns: the exit code."""
    # A task's result may hold characters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    state: dict[str, Any] = {'debug': False}
    try:
        # In this mode click returns the code given to context.exit().
        code = program.main(arguments, prog_name='remotetask', obj=state,
                            standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo('remotetask: interrupted', err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone.  Without this, Python complains
        # once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if state['debug']:
            traceback.print_exc()
        click.echo(f'remotetask: {failures.line(error)}', err=True)
        return 1
