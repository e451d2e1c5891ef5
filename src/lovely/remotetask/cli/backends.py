"""The backend of a verb: a running server, or a database itself.

Both take the same requests and give the same answers: ``web.api`` answers
them, in the server or in this process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol
from typing import TypeVar

import click

from lovely.remotetask.cli.chosen import VARIABLE
from lovely.remotetask.cli.chosen import Chosen
from lovely.remotetask.cli.chosen import from_environment
from lovely.remotetask.cli.chosen import options as chosen_options
from lovely.remotetask.cli.chosen import read_secret
from lovely.remotetask.cli.chosen import warn_of_password
from lovely.remotetask.cli.client import DEFAULT_URL
from lovely.remotetask.cli.client import Client
from lovely.remotetask.cli.failures import Failure

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

_F = TypeVar('_F', bound=Callable[..., Any])


class Backend(Protocol):
    """Answers the requests of a verb.  Raises: Failure."""

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """GET ``api/v1/<path>``."""

    def post(self, path: str, data: object) -> Any:
        """POST data there."""

    def put(self, path: str, data: object) -> Any:
        """PUT data there."""

    def check_waiting(self) -> None:
        """Raise Failure where waiting for a job would never end."""

    def is_live(self) -> bool:
        """Does a later request see what others have done meanwhile?"""

    def renew(self) -> None:
        """After a Failure: a server that was started again has another token.
        """


class DatabaseBackend:
    """Answers from an open database.  See Backend

    Arguments: ``database`` (ZODB.DB); ``host`` (IHost); ``path`` (str), of the
    service; None: the only service of the database.
    """

    def __init__(self, database: DB, host: IHost, path: str | None) -> None:
        from lovely.remotetask.cli import find_service
        from lovely.remotetask.edge import db

        self._database = database
        self._host = host
        self._path = db.read(database, lambda connection: find_service.find(
            connection, path, host))

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """See Backend"""
        texts = {name: str(value) for name, value in (query or {}).items()}
        return self._respond('GET', path, texts, b'')

    def post(self, path: str, data: object) -> Any:
        """See Backend"""
        return self._respond('POST', path, {}, json.dumps(data).encode())

    def put(self, path: str, data: object) -> Any:
        """See Backend"""
        return self._respond('PUT', path, {}, json.dumps(data).encode())

    def check_waiting(self) -> None:
        """See Backend"""
        from lovely.remotetask.peers.liveness import ExclusiveStorage

        # A queue may have a database of its own.
        if ExclusiveStorage(self._path.home or self._database).available:
            raise Failure(
                'no worker can open this database as long as this command '
                'has it open, so waiting is of no use',
                'leave out --wait, or share the database by ZEO')

    def is_live(self) -> bool:
        """See Backend"""
        from ZODB.FileStorage import FileStorage

        from lovely.remotetask.peers.storages import innermost

        # One that is opened to read only never looks at its file again.
        storage = innermost((self._path.home or self._database).storage)
        return not (isinstance(storage, FileStorage) and storage.isReadOnly())

    def renew(self) -> None:
        """See Backend; a database connects anew by itself."""

    def _respond(self, method: str, path: str, query: dict[str, str],
                 body: bytes) -> Any:
        from lovely.remotetask.web import api
        from lovely.remotetask.web.requests import Refused

        try:
            return api.respond(method, path, query, lambda: body, self._run)
        except Refused as refused:
            raise Failure(refused.message) from refused

    def _run(self, function: Callable[[TaskService], object], writes: bool
             ) -> object:
        from lovely.remotetask.errors import ServiceNotFound
        from lovely.remotetask.host import visit

        try:
            return visit(self._database, self._path, self._host, function,
                         writes)
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


def verb(tasks: bool = False, looks: bool = False) -> Callable[[_F], _F]:
    """Give a command the options of all verbs.

    The function gets ``backend`` and ``as_json`` beside its own arguments.
    Arguments: ``tasks``: it needs the tasks to be registered; ``looks``: it
    never writes, so it can look at a file that another process has open.
    """
    def decorate(function: _F) -> _F:
        @chosen_options('Ask this database instead of a server', tasks)
        @client_options
        @click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
        @wraps(function)
        def command(url: str | None, user: str | None, chosen: Chosen,
                    as_json: bool, **arguments: Any) -> None:
            with _backend(url, user, chosen, looks) as backend:
                function(backend=backend, as_json=as_json, **arguments)

        result: Any = command
        return result

    return decorate


def client_options(function: _F) -> _F:
    """Give a command the options that name a server: ``url`` and ``user``."""
    for option in (
            click.option(
                '--user', metavar='USER:PASSWORD',
                help='Credentials, or @FILE that holds them.  Default: from '
                     'REMOTETASK_TOKEN, or REMOTETASK_USER and '
                     'REMOTETASK_PASSWORD, or the token that your own '
                     '"remotetask serve" wrote.'),
            click.option(
                '--url', envvar='REMOTETASK_URL', show_envvar=True,
                help=f'Where the server is.  Default: {DEFAULT_URL}')):
        function = option(function)
    return function


def client(url: str | None, user: str | None) -> Client:
    """The client of the server that these options name."""
    return Client(url or DEFAULT_URL, _credentials(user))


@contextmanager
def _backend(url: str | None, user: str | None, chosen: Chosen, looks: bool
             ) -> Iterator[Backend]:
    if chosen.option is None or _means_server(url, user, chosen):
        for name, value in (('service', chosen.service),
                            ('tasks', chosen.modules), ('zcml', chosen.zcml)):
            if value:
                raise click.UsageError(
                    f'--{name} needs --db, --zodb-conf, --paste or '
                    f'--zope-conf')
        yield client(url, user)
        return
    # REMOTETASK_URL in the environment is no contradiction to an option.
    if url is not None and not from_environment('url'):
        raise click.UsageError(f'{chosen.option} and --url exclude each other')
    if user is not None:
        raise click.UsageError(
            f'{chosen.option} and --user exclude each other')
    from lovely.remotetask.cli.databases import Patience

    if not click.get_current_context().find_root().obj['debug']:
        # It logs a traceback each time that a lost record is asked for; the
        # line of the verb names the record.
        logging.getLogger('ZODB.Connection').setLevel(logging.CRITICAL)
    with chosen.opened(patience=Patience(), looks=looks) as (database, host):
        yield DatabaseBackend(database, host, chosen.service)


def _means_server(url: str | None, user: str | None, chosen: Chosen) -> bool:
    """Is a server meant, although the environment names a database?"""
    if chosen.uri is None or not from_environment('uri'):
        return False
    if url is not None and from_environment('url'):
        raise click.UsageError(
            f'the environment has {VARIABLE} and REMOTETASK_URL: say which '
            f'one you mean by --db or --url, or unset one of them')
    return url is not None or user is not None


def _credentials(user: str | None) -> str | None:
    """What --user says, read from its file where it names one."""
    if user is None:
        return None
    found = read_secret('--user', user)
    if found is user and ':' in user:
        warn_of_password('--user', 'it into REMOTETASK_PASSWORD')
    return found
