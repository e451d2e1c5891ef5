"""Opens databases, and says in a line why one cannot be opened."""

import logging
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import ZODB
from zc.lockfile import LockError
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageFormatError
from ZODB.POSException import StorageError

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge import private
from lovely.remotetask.edge import uris
from lovely.remotetask.texts import describe
from lovely.remotetask.texts import without_passwords

# Web threads and workers each have a connection; ZODB warns beyond this.
_CONNECTIONS = 50

_IN_USE = 'stop that one, or share the database by ZEO or PostgreSQL'


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
            f'the data directory {directory} is in use by another process',
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


def open_uri(uri: str, make: bool = True) -> ZODB.DB:
    """Open the database that a URI of zodburi names.

    Arguments: ``make``; False: a file has to exist already.
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
    storage = _connect(factory, f'the database {shown}', '--db',
                       lambda text: text.replace(uri, shown))
    options['pool_size'] = max(options['pool_size'], _CONNECTIONS)
    return ZODB.DB(storage, **options)


def open_configuration(path: str) -> ZODB.DB:
    """Open the database of a ZODB configuration file.

    Raises: Failure.
    """
    import ZConfig
    import ZODB.config

    option = f'--zodb-conf {path}'
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        # The text, and not the path: ZConfig would take that for a URL, in
        # which characters have to be quoted.
        opener = ZODB.config.databaseFromString
    except OSError as error:
        raise Failure(f'{option} cannot be read: {reason(error)}',
                      'correct the path') from error
    except UnicodeDecodeError as error:
        raise Failure(f'{option} is no text', 'correct the path') from error

    def connect() -> ZODB.DB:
        try:
            return opener(text)
        except ZConfig.ConfigurationError as error:
            raise Failure(
                f'{option} cannot be used: {describe(error)}',
                'correct the file: it has to hold one <zodb> section'
                ) from error

    database = _connect(connect, f'the database of {path}', 'the file')
    database.setPoolSize(max(database.getPoolSize(), _CONNECTIONS))
    return database


def _connect(connect: Callable[[], Any], name: str, where: str,
             hide: Callable[[str], str] = str) -> ZODB.DB:
    """Open a storage or database; every error becomes a Failure.

    Arguments: ``name``, of the database, for people; ``where``, the option
    or file to correct; ``hide``, takes secrets out of a driver's message.
    """
    try:
        # Drivers log each attempt; the Failure below says the same once.
        logging.disable(logging.WARNING)
        return connect()
    except Failure:
        raise
    except LockError as error:
        raise Failure(f'{name} is in use by another process', _IN_USE
                      ) from error
    # A driver may raise any kind of error.
    except Exception as error:
        _refuse_python2(error)
        raise Failure(
            f'cannot open {name}: {hide(describe(error))}',
            f'correct {where}, or start the database server') from error
    finally:
        logging.disable(logging.NOTSET)


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
