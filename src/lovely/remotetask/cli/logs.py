"""What a server and a worker log, and where."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import TypeVar

import click

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import runs
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import describe

LOG_FORMAT = '%(asctime)s %(levelname)s %(name)s: %(message)s'

LEVELS: Sequence[str] = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')

_F = TypeVar('_F', bound=Callable[..., Any])


@dataclass(frozen=True)
class Logs:
    """What the options say; all of them may be left out.

    Attributes: ``level``, a name of LEVELS; ``config``, a file.
    """

    level: str | None = None
    config: Path | None = None

    def set_up(self) -> None:
        """Set up logging, after the tasks were imported.

        What their modules have set up stays: handlers are added only where
        there are none.
        Raises: Failure for a file that cannot be used.
        """
        if self.config is not None:
            _load(self.config)
        level = logging.getLevelName(self.level or 'WARNING')
        logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)
        if self.level is not None:
            # Our own loggers alone: those of ZODB say much at DEBUG.
            log.setLevel(level)
            runs.setLevel(level)
            if level <= logging.DEBUG:
                trace.setLevel(level)


def options(function: _F) -> _F:
    """Give a command the options; it gets ``logs`` (Logs)."""
    def command(*arguments: Any, log_level: str | None,
                log_config: Path | None, verbose: bool, **more: Any) -> Any:
        if verbose and log_level is not None:
            raise click.UsageError('-v is --log-level INFO: give one of them')
        logs = Logs('INFO' if verbose else log_level, log_config)
        return function(*arguments, logs=logs, **more)

    command.__doc__ = function.__doc__
    decorated: Any = command
    for option in (
            click.option(
                '-v', '--verbose', is_flag=True,
                help='Log the end of each run: --log-level INFO.'),
            click.option(
                '--log-config', metavar='FILE',
                type=click.Path(path_type=Path),
                help='Set up logging by this file: .ini for '
                     'logging.config.fileConfig, .json for dictConfig.'),
            click.option(
                '--log-level', type=click.Choice(LEVELS, False),
                help='What the queue logs.  Default: WARNING.')):
        decorated = option(decorated)
    result: _F = decorated
    return result


def _load(file: Path) -> None:
    kind = file.suffix.lower()
    if kind not in ('.ini', '.json'):
        raise Failure(f'--log-config {file} is neither .ini nor .json',
                      'rename it after what it holds')
    try:
        if kind == '.json':
            settings = json.loads(file.read_text(encoding='utf-8'))
            # As below: loggers that exist already stay what they are.
            settings.setdefault('disable_existing_loggers', False)
            logging.config.dictConfig(settings)
        else:
            with file.open(encoding='utf-8') as lines:
                logging.config.fileConfig(
                    lines, disable_existing_loggers=False)
    except OSError as error:
        raise Failure(f'{file}: {reason(error)}', 'correct --log-config'
                      ) from error
    # Configuration errors are of many kinds, with the cause inside.
    except Exception as error:
        cause = error.__cause__ or error
        raise Failure(f'{file} does not set up logging: {describe(error)}'
                      + ('' if cause is error else f' ({describe(cause)})'),
                      'correct the file') from error
