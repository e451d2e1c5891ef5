"""Runs a server: opens all that it needs, and ends it in an orderly way."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from urllib.parse import urljoin

import click

from lovely.remotetask.cli import tokens
from lovely.remotetask.cli.client import is_loopback
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.cli.logs import Logs
from lovely.remotetask.cli.output import PAUSED
from lovely.remotetask.cli.signals import Signals

if TYPE_CHECKING:
    from lovely.remotetask.cli import connections
    from lovely.remotetask.web.public import Public

#: How long (seconds) running jobs get to come to their end.
DEFAULT_GRACE = 10.0


@dataclass(frozen=True)
class Options:
    """The options of ``remotetask serve``; see its ``--help``."""

    data: Path | None = None
    uri: str | None = None
    host: str = '127.0.0.1'
    port: int = 8080
    modules: Sequence[str] = ()
    zcml: str | None = None
    threads: int | None = None
    grace: float = DEFAULT_GRACE
    names: Sequence[str] = ()
    logs: Logs = field(default_factory=Logs)
    public: Public | None = None


@dataclass(frozen=True)
class Address:
    """Where a running server is found.

    Attributes: ``url``, of the service; ``token``; ``stop()``, ends the
    server from another thread; False: it was ending already; ``login``, a
    link that lets one browser in, once.
    """

    url: str
    token: str
    stop: Callable[[], bool]
    login: str


class _Stop(SystemExit):
    """A signal asked for the end; waitress ends its loop on a SystemExit."""


def run(options: Options, ready: Callable[[Address], None]) -> None:
    """Run a server until a signal ends it.

    Arguments: ``options``; ``ready``, called once, in this thread, when
    requests are about to be answered.
    Raises: Failure.
    """
    # Imported here and not above: `--help` does without the database.
    from lovely.remotetask.cli import databases
    from lovely.remotetask.cli import setup
    from lovely.remotetask.edge import db
    from lovely.remotetask.edge.clock import SYSTEM_CLOCK
    from lovely.remotetask.web import app
    from lovely.remotetask.web import guard
    from lovely.remotetask.web import requests
    from lovely.remotetask.web.pages import compiled

    # waitress warns each time when five requests come at once.
    logging.getLogger('waitress').setLevel(logging.ERROR)
    with (suppress(_Stop), Signals(_Stop, 'server') as signals,
          ExitStack() as stack):
        for warning in setup.load_tasks(options.modules, options.zcml):
            warn(warning)
        options.logs.set_up()
        if options.uri is not None:
            database = databases.open_uri(options.uri)
        else:
            assert options.data is not None
            database = databases.open_directory(options.data)
        stack.callback(db.close, database)
        setup.ensure_service(database, options.threads)
        token, view = tokens.new_token(), tokens.new_token()
        public = options.public
        application = app.Application(
            database, guard.TokenCheck(token),
            guard.HostCheck(options.host, (
                *options.names, *((public.host,) if public else ()))),
            setup.PATH, logins=guard.Logins(token, SYSTEM_CLOCK.now),
            view_check=guard.TokenCheck(view), public=public)
        server = _listen(application, options.host, options.port,
                         requests.DEFAULT_LIMIT)
        stack.callback(server.close)
        stack.enter_context(tokens.published(
            tokens.Token(token, tuple(server.addresses)), server.port,
            options.data, view))
        stack.callback(_end, setup.end_processing, options.grace)
        if setup.start_processing(database):
            click.echo(PAUSED, err=True)
        if not is_loopback(options.host.strip('[]')) and public is None:
            warn(f'{options.host} can be reached from other machines, and '
                 f'plain HTTP shows them the token; put a proxy with TLS in '
                 f'front')
        # Later: the first jobs come first, and so do commands that they start.
        compiled.begin(5.0)
        url = _url(options.host, server.port, setup.PATH)
        origin = f'{public.scheme}://{public.netloc}' if public else url
        ready(Address(url, token, signals.send,
                      urljoin(origin, application.login_path())))
        # The signal's exception ends it, once it has answered the requests
        # that it had begun.
        server.run()


def _end(end_processing: Callable[[float], int], grace: float) -> None:
    given = end_processing(grace)
    if given:
        warn(given_back(given).removeprefix(': '))


def given_back(count: int) -> str:
    """The end of the last line: how many jobs outlived their grace."""
    return {0: '', 1: ': a running job was given back'}.get(
        count, f': {count} running jobs were given back')


def _listen(application: Callable[..., Any], host: str, port: int,
            limit: int) -> connections.Listener:
    from lovely.remotetask.cli import connections

    try:
        return connections.Listener(application, host.strip('[]'), port,
                                    connections.Limits(body_bytes=limit))
    except OSError as error:
        where = f'port {port} of {host}'
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f'{where} is in use by another program',
                'stop that one, or choose another port with --port'
                ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Failure(f'this user may not listen on {where}',
                          'choose a --port above 1023') from error
        raise Failure(f'cannot listen on {where}: {reason(error)}',
                      'correct --host') from error
    except ValueError as error:
        # So waitress says that a name does not resolve.
        raise Failure(f'cannot listen on {host}: it is no address of this '
                      f'machine', 'correct --host') from error


def _url(host: str, port: int, path: Sequence[str]) -> str:
    host = host.strip('[]')
    # No client can connect to the address that means "every address".
    host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host)
    name = f'[{host}]' if ':' in host else host
    return f'http://{name}:{port}/{"/".join(path)}'


def warn(text: str) -> None:
    """Print a warning."""
    click.echo(f'remotetask: warning: {text}', err=True)
