"""Opens an application without its web server: ``remotetask worker --paste``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pyramid.config import global_registries
from pyramid.paster import get_app
from pyramid.paster import setup_logging
from zc.lockfile import LockError
from ZODB.POSException import ReadOnlyError

from lovely.remotetask.edge import db
from lovely.remotetask.edge.files import holder
from lovely.remotetask.edge.files import reading_if_in_use
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.run.startup import not_starting

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.pyramid.host import PyramidHost

_IN_USE = ('stop that one, or share the database by ZEO or PostgreSQL '
           '(zodbconn.uri = zeo://...); list, show, stats, tasks and workers '
           'can look at it all the same')


@contextmanager
def open_host(file: str, looks: bool = False
              ) -> Iterator[tuple[DB, PyramidHost]]:
    """The database and the host of the application of a configuration file.

    Arguments: ``file``, the path of the INI, ``#name`` behind it for another
    application than ``main``; ``looks``; True: nothing will be written, so its
    files may be in use by another process.
    Gives: the database (ZODB.DB) and the host (IHost).
    Raises: ConfigurationError.
    """
    path = file.partition('#')[0]
    if not os.path.isfile(path):
        raise ConfigurationError(
            f'--paste {file}: there is no file {path}; correct the path')
    with reading_if_in_use() if looks else nullcontext():
        host = _load(file)
    database = host.database()
    try:
        yield database, host
    finally:
        db.close(database)


def _load(file: str) -> PyramidHost:
    """The host of the application; raises ConfigurationError."""
    before = set(global_registries)
    try:
        setup_logging(file)
        # This process is a worker already.
        with not_starting():
            app = get_app(file, options={'__script__': 'remotetask'})
    except ConfigurationError as error:
        raise ConfigurationError(f'--paste {file}: {error}') from error
    except LockError as error:
        raise ConfigurationError(
            f'--paste {file}: the database of the application is in use by '
            f'{holder(error)}; {_IN_USE}') from error
    except ReadOnlyError as error:
        raise ConfigurationError(
            f'--paste {file}: the application writes to its database when it '
            f'starts, and another process has the file; stop that process, or '
            f'share the file by ZEO') from error
    # The application's code runs there, and may raise any error.
    except Exception as error:
        # So RelStorage says that postgres:// has no port.
        cure = ('write postgresql:// in zodbconn.uri, or the port'
                if '"None" for connection option "port"' in str(error)
                else f'correct that, `pserve {file}` tells the whole story')
        raise ConfigurationError(
            f'--paste {file}: the application cannot be made: '
            f'{describe(error)}; {cure}') from error
    registry = getattr(app, 'registry', None)
    # Middleware may hide the application; then its registry is a new one.
    candidates = [registry] if registry is not None else [
        one for one in global_registries if one not in before]
    hosts = [one.queryUtility(IHost) for one in candidates]
    hosts = [host for host in hosts if host is not None]
    if len(hosts) == 1:
        return hosts[0]
    if hosts:
        raise ConfigurationError(
            f'--paste {file}: several applications have tasks; choose one: '
            f'--paste {file}#NAME')
    raise ConfigurationError(
        f"--paste {file}: the application knows nothing of tasks; add "
        f"config.include('lovely.remotetask.pyramid') to it")
