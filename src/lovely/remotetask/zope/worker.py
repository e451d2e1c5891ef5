"""Opens a Zope without its server: ``remotetask worker --zope-conf``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import nullcontext
from typing import TYPE_CHECKING

import ZConfig
from zc.lockfile import LockError
from ZODB.POSException import ReadOnlyError
from ZODB.POSException import StorageError
from zope.configuration.exceptions import ConfigurationError as ZCMLError

from lovely.remotetask.edge import db
from lovely.remotetask.edge.files import holder
from lovely.remotetask.edge.files import reading_if_in_use
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import message_of
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.run.startup import not_starting

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.zope.host import ZopeHost


@contextmanager
def open_host(file: str, looks: bool = False
              ) -> Iterator[tuple[DB, ZopeHost]]:
    """The database and the host of a Zope instance.

    Zope is started as for a server, but the services that its configuration
    names are not: the worker runs their jobs.
    Arguments: ``file``, the path of its zope.conf; ``looks``; True: nothing
    will be written, so its files may be in use by another process.
    Gives: the database (ZODB.DB) and the host (IHost).
    Raises: ConfigurationError with cause and cure.
    """
    if not os.path.isfile(file):
        raise ConfigurationError(
            f'there is no file {file}; name the zope.conf of the instance, '
            f'such as etc/zope.conf')
    # This process is a worker already.
    with not_starting(), reading_if_in_use() if looks else nullcontext():
        database = _start(os.path.abspath(file))
    # Not at the top: this can only be imported once Zope was started.
    from lovely.remotetask.zope.host import ZOPE

    try:
        yield database, ZOPE
    finally:
        db.close(database)


def _start(file: str) -> DB:
    """Start Zope.  Returns: its main database."""
    try:
        import Zope2
        from Zope2.Startup.run import make_wsgi_app

        make_wsgi_app({}, file)
    except ZConfig.ConfigurationError as error:
        raise ConfigurationError(
            f'{file} cannot be read: {message_of(error)}; correct it'
            ) from error
    except LockError as error:
        raise ConfigurationError(
            f'the database of {file} is in use by {holder(error)}: share it '
            f'by ZEO or RelStorage, or stop that one; list, show, stats, '
            f'tasks and workers can look at it all the same') from error
    except ReadOnlyError as error:
        raise ConfigurationError(
            f'Zope writes to the database of {file} when it starts, and '
            f'another process has it: stop that process, or share it by ZEO'
            ) from error
    except StorageError as error:
        raise ConfigurationError(
            f'the database of {file} does not answer ({message_of(error)}): '
            f'start its server, or correct its address in that file'
            ) from error
    except ZCMLError as error:
        raise ConfigurationError(
            f'the ZCML of the instance of {file} is wrong: '
            f'{message_of(error)}; correct it: the server does not start with '
            f'it either'
            ) from error
    except Exception as error:
        raise ConfigurationError(
            f'Zope does not start from {file}: {describe(error)}; correct '
            f'that: the server does not start either') from error
    return Zope2.DB
