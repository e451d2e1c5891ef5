"""The backend of a verb: a running server, or with ``--db`` a database.

Both take the same requests and give the same answers: ``web.api`` answers
them, in the server or in this process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol
from typing import TypeVar

import click
from click.core import ParameterSource

from lovely.remotetask.cli.client import DEFAULT_URL
from lovely.remotetask.cli.client import Client
from lovely.remotetask.cli.failures import Failure

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.service import TaskService

_F = TypeVar('_F', bound=Callable[..., Any])


class Backend(Protocol):
    """Answers the requests of a verb.  Raises: Failure."""

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """GET ``api/v1/<path>``."""

    def post(self, path: str, data: object) -> Any:
        """POST data there."""

    def check_waiting(self) -> None:
        """Raise Failure where waiting for a job would never end."""


class DatabaseBackend:
    """Answers from an open database.  See Backend

    Arguments: ``database`` (ZODB.DB); ``path`` (str), of the service; None:
    the only service of the database.
    """

    def __init__(self, database: DB, path: str | None) -> None:
        from lovely.remotetask.cli import find_service
        from lovely.remotetask.edge import db
        from lovely.remotetask.host import current as current_host

        self._database = database
        self._path = db.read(database, lambda connection: find_service.find(
            connection, path, current_host()))

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """See Backend"""
        texts = {name: str(value) for name, value in (query or {}).items()}
        return self._respond('GET', path, texts, b'')

    def post(self, path: str, data: object) -> Any:
        """See Backend"""
        return self._respond('POST', path, {}, json.dumps(data).encode())

    def check_waiting(self) -> None:
        """See Backend"""
        from lovely.remotetask.peers.liveness import ExclusiveStorage

        # A queue may have a database of its own.
        if ExclusiveStorage(self._path.home or self._database).available:
            raise Failure(
                'no worker can open this database as long as this command '
                'has it open, so waiting is of no use',
                'leave out --wait, or share the database by ZEO')

    def _respond(self, method: str, path: str, query: dict[str, str],
                 body: bytes) -> Any:
        from lovely.remotetask.web import api

        try:
            return api.respond(method, path, query, lambda: body, self._run)
        except api.Refused as refused:
            raise Failure(refused.message) from refused

    def _run(self, function: Callable[[TaskService], object], writes: bool
             ) -> object:
        from lovely.remotetask.errors import ServiceNotFound
        from lovely.remotetask.host import current as current_host
        from lovely.remotetask.host import visit

        try:
            return visit(self._database, self._path, current_host(),
                         function, writes)
        except ServiceNotFound as error:
            raise Failure('the task service has just been removed') from error


def in_parts(backend: Backend, path: str, data: dict[str, Any]
             ) -> Iterator[Any]:
    """POST until all is done, each time from where the last answer stopped.

    Yields: the answers.
    """
    start: str | None = None
    while True:
        more = {} if start is None else {'start': start}
        answer = backend.post(path, {**data, **more})
        yield answer
        start = answer['next']
        if start is None:
            return


def verb(function: _F) -> _F:
    """Give a command the options of all verbs.

    The function gets ``backend`` and ``as_json`` beside its own arguments.
    """
    return _verb(function, tasks=False)


def verb_with_tasks(function: _F) -> _F:
    """The same for verbs for which the tasks have to be registered."""
    return _verb(function, tasks=True)


def _verb(function: _F, tasks: bool) -> _F:

    @wraps(function)
    def command(url: str | None, user: str | None, uri: str | None,
                service: str | None, as_json: bool,
                modules: Sequence[str] = (), zcml: str | None = None,
                **arguments: Any) -> None:
        with _backend(url, user, uri, service, modules, zcml) as backend:
            function(backend=backend, as_json=as_json, **arguments)

    options = [
        click.option(
            '--url', envvar='REMOTETASK_URL', show_envvar=True,
            help=f'Where the server is.  Default: {DEFAULT_URL}'),
        click.option(
            '--user', metavar='USER:PASSWORD',
            help='Credentials.  Default: from REMOTETASK_TOKEN, or '
                 'REMOTETASK_USER and REMOTETASK_PASSWORD, or the token that '
                 'your own "remotetask serve" wrote.'),
        click.option(
            '--db', 'uri', metavar='URI',
            help='Ask this database instead of a server: zeo://, '
                 'postgres://, file://, zconfig://'),
        click.option(
            '--service', metavar='PATH',
            help='With --db: the service, by its path.  Default: the only '
                 'one there is.'),
    ]
    if tasks:
        options.append(task_options('With --db: '))
    options.append(click.option(
        '--json', 'as_json', is_flag=True, help='Print JSON.'))
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    result: _F = decorated
    return result


def task_options(when: str = '') -> Callable[[_F], _F]:
    """Give a command the options that say where tasks come from."""
    modules = click.option(
        '--tasks', 'modules', multiple=True, metavar='MODULE',
        help=f'{when}Import this module and register its @task functions '
             f'(may be repeated).')
    zcml = click.option(
        '--zcml', metavar='FILE',
        help=f'{when}Load this ZCML, for instance to register tasks.')
    return lambda function: modules(zcml(function))


@contextmanager
def _backend(url: str | None, user: str | None, uri: str | None,
             service: str | None, modules: Sequence[str], zcml: str | None
             ) -> Iterator[Backend]:
    if uri is None:
        for name, value in (('service', service), ('tasks', modules),
                            ('zcml', zcml)):
            if value:
                raise click.UsageError(f'--{name} needs --db')
        yield Client(url or DEFAULT_URL, user)
        return
    # REMOTETASK_URL in the environment is no contradiction to --db.
    source = click.get_current_context().get_parameter_source('url')
    if source is ParameterSource.COMMANDLINE:
        raise click.UsageError('--db and --url exclude each other')
    if user is not None:
        raise click.UsageError('--db and --user exclude each other')
    with opened(uri, None, modules, zcml) as database:
        yield DatabaseBackend(database, service)


@contextmanager
def opened(uri: str | None, configuration: str | None,
           modules: Sequence[str], zcml: str | None,
           loaded: Callable[[], object] = lambda: None) -> Iterator[DB]:
    """An open database, and the tasks registered in this process.

    Arguments: ``uri`` or else ``configuration``, a file's path; ``modules``
    and ``zcml``, where tasks come from; ``loaded()``, called once they are
    there, and before the database is opened.
    Raises: Failure.
    """
    from zope.component.hooks import setHooks

    from lovely.remotetask.cli import databases
    from lovely.remotetask.cli import server
    from lovely.remotetask.cli import setup
    from lovely.remotetask.edge import db

    # Without the hooks, tasks that are utilities of a local site are not
    # found.
    setHooks()
    for warning in setup.load_tasks(modules, zcml):
        server.warn(warning)
    loaded()
    if uri is not None:
        database = databases.open_uri(uri, make=False)
    else:
        assert configuration is not None
        database = databases.open_configuration(configuration)
    try:
        yield database
    finally:
        db.close(database)
