"""The database that a command works on: the options that name it.

All commands share them: ``--db``, ``--zodb-conf``, ``--paste``,
``--zope-conf``, ``--service``, and for some ``--tasks`` and ``--zcml``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import click
from click.core import ParameterSource

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge.texts import without_passwords

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.cli.databases import Patience
    from lovely.remotetask.interfaces import IHost

_F = TypeVar('_F', bound=Callable[..., Any])

#: The variable of the environment with the default of --db.
VARIABLE = 'REMOTETASK_DB'

_SEVERAL = " (may be repeated); '*': all there are, and those that come"

_NAMES = {'uri': '--db', 'zodb_conf': '--zodb-conf', 'paste': '--paste',
          'zope_conf': '--zope-conf'}


@dataclass(frozen=True)
class Chosen:
    """What the options say; at most one of the first four is not None.

    Attributes: ``uri``, of zodburi, or ``@FILE`` that holds it;
    ``zodb_conf``, ``paste``, ``zope_conf``, paths of files; ``service``, its
    path; ``services``, of a command for several, their paths; ``modules``,
    ``zcml``, where tasks come from.
    """

    uri: str | None = None
    zodb_conf: str | None = None
    paste: str | None = None
    zope_conf: str | None = None
    service: str | None = None
    modules: Sequence[str] = ()
    zcml: str | None = None
    services: Sequence[str] = ()

    @property
    def option(self) -> str | None:
        """The option that names the database; None: there is none."""
        return next((option for name, option in _NAMES.items()
                     if getattr(self, name) is not None), None)

    def check(self) -> None:
        """Raise click.UsageError unless there is a database."""
        if self.option is None:
            *names, last = _NAMES.values()
            raise click.UsageError(f'give one of {", ".join(names)} and '
                                   f'{last}')

    @contextmanager
    def opened(self, loaded: Callable[[], object] = lambda: None,
               patience: Patience | None = None, looks: bool = False
               ) -> Iterator[tuple[DB, IHost]]:
        """The open database, and the host that runs its jobs (IHost).

        The tasks are registered in this process.
        Arguments: ``loaded()``, called once they are there; ``patience``, how
        long a database server may take to answer, None: as long as the
        database's own settings say; ``looks``: nothing will be written.
        Raises: Failure; ConfigurationError.
        """
        if self.paste is not None:
            opening = _of_framework('pyramid', self.paste, loaded, looks)
        elif self.zope_conf is not None:
            opening = _of_framework('zope', self.zope_conf, loaded, looks)
        else:
            opening = self._of_storage(loaded, patience, looks)
        with opening as found:
            yield found

    @contextmanager
    def _of_storage(self, loaded: Callable[[], object],
                    patience: Patience | None, looks: bool
                    ) -> Iterator[tuple[DB, IHost]]:
        from zope.component.hooks import setHooks

        from lovely.remotetask.cli import databases
        from lovely.remotetask.cli import server
        from lovely.remotetask.cli import setup
        from lovely.remotetask.edge import db
        from lovely.remotetask.host import current as current_host

        # Without the hooks, tasks that are utilities of a local site are not
        # found.
        setHooks()
        for warning in setup.load_tasks(self.modules, self.zcml):
            server.warn(warning)
        # Before the database is opened: that may say something, too.
        loaded()
        if self.uri is not None:
            database = databases.open_uri(
                read_uri(self.uri), make=False, patience=patience,
                looks=looks)
        else:
            assert self.zodb_conf is not None
            database = databases.open_configuration(
                self.zodb_conf, patience, looks)
        try:
            yield database, current_host()
        finally:
            db.close(database)


@contextmanager
def _of_framework(room: str, file: str, loaded: Callable[[], object],
                  looks: bool) -> Iterator[tuple[DB, IHost]]:
    """Database and host of an application, from its configuration file."""
    # Imported by its name: this room must not depend on those of the hosts.
    try:
        module = importlib.import_module(f'lovely.remotetask.{room}.worker')
    except ModuleNotFoundError as error:
        raise Failure(
            f'{file}: {error}',
            f"install it: pip install 'lovely.remotetask[{room}]'"
            ) from error
    with ExitStack() as stack:
        # A program may read our standard output; an application that prints
        # something while it starts must not spoil it.
        with redirect_stdout(sys.stderr):
            found = stack.enter_context(module.open_host(file, looks))
        # What the application has set up stays.
        loaded()
        yield found


# --- the options -------------------------------------------------------------

def options(what: str, tasks: bool = True,
            default: str = 'the only one there is', several: bool = False
            ) -> Callable[[_F], _F]:
    """Give a command the options; it gets ``chosen`` (Chosen).

    Arguments: ``what``, the help of --db in front of the examples; ``tasks``:
    with those that say where tasks come from; ``default``, of --service;
    ``several``: --service may be repeated.
    """
    def decorate(function: _F) -> _F:
        # With its options: they follow ours in the help.
        @wraps(function)
        def command(*arguments: Any, uri: str | None, zodb_conf: str | None,
                    paste: str | None, zope_conf: str | None,
                    service: Any, modules: Sequence[str] = (),
                    zcml: str | None = None, **more: Any) -> Any:
            chosen = _choose(uri, zodb_conf, paste, zope_conf,
                             None if several else service, modules, zcml,
                             service if several else ())
            return function(*arguments, chosen=chosen, **more)

        decorated: Any = command
        if tasks:
            decorated = task_options(decorated)
        for option in (
                click.option(
                    '--service', metavar='PATH', multiple=several,
                    help='The service in the database, by its path'
                         f"{_SEVERAL if several else ''}.  "
                         f'Default: {default}.'),
                click.option(
                    '--zope-conf', metavar='FILE',
                    help='Or that of a Zope or Plone instance, by its '
                         'zope.conf.'),
                click.option(
                    '--paste', metavar='INI',
                    help='Or that of a Pyramid application, by its '
                         'configuration.'),
                click.option(
                    '--zodb-conf', metavar='FILE',
                    help='Or by a file that holds its <zodb> section.'),
                db_option(what)):
            decorated = option(decorated)
        result: _F = decorated
        return result

    return decorate


def db_option(what: str, variable: bool = True) -> Callable[[_F], _F]:
    """``--db``; the command gets ``uri``, to be read by ``read_uri``."""
    return click.option(
        '--db', 'uri', metavar='URI', envvar=VARIABLE if variable else None,
        show_envvar=variable, help=f'{what}: zeo://, postgres://, file://, '
                                   f'zconfig://, or @FILE that holds the URI')


def task_options(function: _F) -> _F:
    """The options that say where tasks come from."""
    modules = click.option(
        '--tasks', 'modules', multiple=True, metavar='MODULE',
        help='Import this module and register its @task functions (may be '
             'repeated).')
    zcml = click.option(
        '--zcml', metavar='FILE',
        help='Load this ZCML, for instance to register tasks.')
    return modules(zcml(function))


def from_environment(name: str) -> bool:
    """Does the value of an option of this command come from the environment?
    """
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.ENVIRONMENT


def _choose(uri: str | None, zodb_conf: str | None, paste: str | None,
            zope_conf: str | None, service: str | None,
            modules: Sequence[str], zcml: str | None,
            services: Sequence[str]) -> Chosen:
    if uri is not None and from_environment('uri') and not (
            zodb_conf is paste is zope_conf is None):
        uri = None              # an option comes before the environment
    found = Chosen(uri, zodb_conf, paste, zope_conf, service, modules, zcml,
                   services)
    given = [option for name, option in _NAMES.items()
             if getattr(found, name) is not None]
    if len(given) > 1:
        raise click.UsageError(f'{" and ".join(given)} exclude each other')
    if (paste or zope_conf) and (modules or zcml):
        raise click.UsageError('with --paste and --zope-conf, tasks come from '
                               'the application: leave out --tasks, --zcml')
    return found


def read_uri(given: str) -> str:
    """The URI of ``--db``, read from its file where it names one.

    Where its password can be seen by other users of this machine, that is
    said.
    Raises: Failure.
    """
    if (not from_environment('uri')
            and without_passwords(given) != given):
        warn_of_password('--db', f'the URI into {VARIABLE}')
    return read_secret('--db', given)


def read_secret(option: str, given: str) -> str:
    """The value of an option, from a file where it is ``@FILE``.

    Raises: Failure.
    """
    if not given.startswith('@'):
        return given
    path = given[1:]
    try:
        with open(path, encoding='utf-8') as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise Failure(f'{option} {given}: cannot read {path}: '
                      f'{reason(error)}', 'correct the path') from error
    except UnicodeDecodeError as error:
        raise Failure(f'{option} {given}: {path} is no text',
                      'correct the path') from error
    found = [line for line in lines if line and not line.startswith('#')]
    if len(found) != 1:
        raise Failure(
            f'{option} {given}: {path} has {len(found)} lines; there has to '
            f'be one', 'write the value into it, and comments behind #')
    return found[0]


def warn_of_password(option: str, instead: str) -> None:
    """Say that an option shows a password, and where to put it instead."""
    from lovely.remotetask.cli.server import warn

    warn(f'all users of this machine can see the password that follows '
         f'{option} (in the list of processes): put {instead}, or into a '
         f'file that you alone can read, and give {option} @FILE')
