"""Opens databases, and says in a line why one cannot be opened."""

import io
import logging
import os
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import ZODB
from zc.lockfile import LockError
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageFormatError
from ZODB.POSException import ReadOnlyError
from ZODB.POSException import StorageError

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge import private
from lovely.remotetask.edge import uris
from lovely.remotetask.edge.files import holder
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import without_passwords

# Web threads and workers each have a connection; ZODB warns beyond this.
_CONNECTIONS = 50

_IN_USE = ('stop that one, or share the database by ZEO or PostgreSQL; list, '
           'show, stats, tasks and workers can look at it all the same')


@dataclass(frozen=True)
class Patience:
    """How long a person waits for a database server.

    Attributes: ``says``, seconds after which a line says that we wait;
    ``ends``, seconds after which we give up.
    """

    says: float = 2.0
    ends: float = 5.0


def open_directory(directory: Path) -> ZODB.DB:
    """Open the database in a directory; both are made if missing.

    Raises: Failure, also for a directory that other users can use: who can
    write there can have the server run any code, and who can read there knows
    all jobs.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.check(directory.lstat(), 0o077,
                      'choose a directory of your own with --data')
        storage = FileStorage(str(directory / 'Data.fs'),
                              blob_dir=str(directory / 'blobs'))
    except private.NotPrivate as error:
        raise Failure(f'the data directory {directory} {error.cause}',
                      error.cure) from error
    except LockError as error:
        raise Failure(
            f'the data directory {directory} is in use by {holder(error)}',
            'stop that one, or choose another directory with --data'
            ) from error
    except OSError as error:
        raise Failure(
            f'cannot write to the data directory {directory}: '
            f'{reason(error)}', 'choose another one with --data') from error
    except StorageError as error:
        _refuse_python2(error)
        raise Failure(
            f'{directory / "Data.fs"} is damaged or no database: '
            f'{describe(error)}',
            'restore a copy, or choose another directory with --data'
            ) from error
    return ZODB.DB(storage, pool_size=_CONNECTIONS)


def open_uri(uri: str, make: bool = True, patience: Patience | None = None,
             looks: bool = False) -> ZODB.DB:
    """Open the database that a URI of zodburi names.

    Arguments: ``make``; False: a file has to exist already; ``patience``; a
    ``wait_timeout`` of the URI comes before it; None: as long as the storage
    waits; ``looks``; True: nothing will be written, so a file may be in use
    by another process.
    Raises: Failure; it never shows the URI's password.
    """
    import zodburi

    shown = without_passwords(uri)
    uri = uris.complete(uri)
    if uri.startswith('file://') and not make:
        path = uri.removeprefix('file://').partition('?')[0]
        # FileStorage would make an empty one of every misspelt name.
        if not os.path.exists(path):
            raise Failure(f'--db {shown}: there is no file {path}',
                          'correct the path')
        if looks and 'read_only' not in uri:
            uri += ('&' if '?' in uri else '?') + 'read_only=1'
    try:
        factory, options = zodburi.resolve_uri(uri)
    except zodburi.NoResolverForScheme as error:
        known = sorted({entry.name for entry
                        in entry_points(group='zodburi.resolvers')})
        raise Failure(
            f'--db {shown}: there is no storage for this kind of URI; '
            f'there are {", ".join(known)}',
            "correct it, or install the package that brings this kind (for "
            "postgres: RelStorage[postgresql])") from error
    except ModuleNotFoundError as error:
        raise Failure(f'--db {shown}: {error}',
                      f'install the package that brings {error.name}'
                      ) from error
    except Exception as error:
        raise Failure(
            f'--db {shown} cannot be read: '
            f'{describe(error).replace(uri, shown)}',
            'compare it with the examples in the documentation') from error
    options['pool_size'] = max(options['pool_size'], _CONNECTIONS)

    def connect() -> ZODB.DB:
        # DB() reads the root, which may wait for the server, too.
        return ZODB.DB(factory(), **options)

    return _connect(connect, f'the database {shown}', '--db',
                    patience and _of_uri(uri, patience),
                    lambda text: text.replace(uri, shown))


def _of_uri(uri: str, patience: Patience) -> Patience:
    """The patience that the user wants, who may say so in the URI."""
    query = urllib.parse.parse_qs(uri.partition('?')[2])
    try:
        seconds = float(query['wait_timeout'][0])
    except (KeyError, ValueError):
        return patience
    # A second more: the storage's own error says more than ours.
    return Patience(patience.says, seconds + 1)


def open_configuration(path: str, patience: Patience | None = None,
                       looks: bool = False) -> ZODB.DB:
    """Open the database of a ZODB configuration file.

    Arguments: see ``open_uri``.
    Raises: Failure.
    """
    import ZConfig
    import ZODB.config

    option = f'--zodb-conf {path}'
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
    except OSError as error:
        raise Failure(f'{option} cannot be read: {reason(error)}',
                      'correct the path') from error
    except UnicodeDecodeError as error:
        raise Failure(f'{option} is no text', 'correct the path') from error

    def connect() -> ZODB.DB:
        try:
            # The text, and not the path: ZConfig would take that for a URL,
            # in which characters have to be quoted.
            config, _ = ZConfig.loadConfigFile(
                ZODB.config.getDbSchema(), io.StringIO(text))
            if looks:
                for factory in config.database:
                    _set_read_only(factory.config.storage)
            return ZODB.config.databaseFromConfig(config.database)
        except ZConfig.ConfigurationError as error:
            raise Failure(
                f'{option} cannot be used: {describe(error)}',
                'correct the file: it has to hold one <zodb> section'
                ) from error

    database = _connect(connect, f'the database of {path}', 'the file',
                        patience)
    database.setPoolSize(max(database.getPoolSize(), _CONNECTIONS))
    return database


def _set_read_only(storage: Any) -> None:
    """Let the files of a storage's configuration be opened for reading."""
    import ZODB.config

    if isinstance(storage, ZODB.config.FileStorage):
        storage.config.read_only = True
    # <blobstorage> and <demostorage> are around another one.
    base = getattr(storage.config, 'base', None)
    if base is not None:
        _set_read_only(base)


def _connect(connect: Callable[[], ZODB.DB], name: str, where: str,
             patience: Patience | None = None,
             hide: Callable[[str], str] = str) -> ZODB.DB:
    """Open a database; every error becomes a Failure.

    Arguments: ``name``, of the database, for people; ``where``, the option
    or file to correct; ``hide``, takes secrets out of a driver's message.
    """
    try:
        # Drivers log each attempt; the Failure below says the same once.
        logging.disable(logging.WARNING)
        return connect() if patience is None else _in_time(
            connect, name, where, patience)
    except Failure:
        raise
    except LockError as error:
        raise Failure(f'{name} is in use by {holder(error)}', _IN_USE
                      ) from error
    except ReadOnlyError as error:
        # ZODB makes the root of an empty file.
        raise Failure(f'{name} is empty: it holds no task service',
                      f'correct {where}') from error
    # A driver may raise any kind of error.
    except Exception as error:
        _refuse_python2(error)
        raise Failure(
            f'cannot open {name}: {hide(describe(error))}',
            f'correct {where}, or start the database server') from error
    finally:
        logging.disable(logging.NOTSET)


def _in_time(connect: Callable[[], ZODB.DB], name: str, where: str,
             patience: Patience) -> ZODB.DB:
    """Open a database, unless its server keeps us waiting.

    In a thread: no driver lets its caller bound all that it waits for.
    """
    opened: list[ZODB.DB] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            opened.append(connect())
        except BaseException as error:
            errors.append(error)

    # A daemon: it may wait when the process ends.
    thread = threading.Thread(target=call, daemon=True, name='open')
    thread.start()
    thread.join(patience.says)
    if thread.is_alive():
        click.echo(f'remotetask: waiting for {name}', err=True)
        thread.join(max(0.0, patience.ends - patience.says))
    if thread.is_alive():
        raise Failure(f'{name} has not answered for {patience.ends:g} s',
                      f'start its server, or correct {where}')
    if errors:
        raise errors[0]
    return opened[0]
def _refuse_python2(error: Exception) -> None:
    """Raise Failure if a FileStorage is that of a Python 2."""
    if not isinstance(error, FileStorageFormatError):
        return
    path = str(error)
    with open(path, 'rb') as file:
        if file.read(4) != b'FS21':
            return
    raise Failure(
        f'{path} was written by Python 2',
        f'keep a copy, and convert it: zodbupdate --pack --convert-py3 '
        f'--encoding utf-8 --file {path}') from error
