"""Finds the service that the user means, in an application's database."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.edge.texts import some
from lovely.remotetask.host import walk
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.paths import show
from lovely.remotetask.host.plain import APPLICATION
from lovely.remotetask.host.walk import UNSEEN
from lovely.remotetask.host.walk import can_be_seen
from lovely.remotetask.host.walk import path_to
from lovely.remotetask.host.walk import services
from lovely.remotetask.host.walk import split

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost

#: ``--service`` for all services of the database.
ALL = '*'

_HOW_TO = ("make one: remotetask serve makes it, or add a TaskService to your "
           "application, as in docs/tutorial/first-job.rst")

_NONE = 'this database holds no task service'


def find(connection: Connection, path: str | None, host: IHost) -> ServicePath:
    """The path of the service that the user means.

    Arguments: ``connection`` (ZODB connection); ``path`` (str), as in
    ``/site/tasks``; None: the only service of the database; ``host`` (IHost).
    Raises: Failure that lists the services of the database.
    Cost: O(objects near the root), bounded.
    """
    if path is not None:
        names, service = split(path), None
        # A folder on the way may need code that is not installed.
        with suppress(*UNSEEN):
            service = host.find_service(connection, names)
        if service is not None:
            return path_to(names, service, host)
    found = list(services(connection, host))
    if path is not None:
        problem = f'there is no task service at {show(split(path))}'
        if found:
            raise Failure(problem, f'correct --service; there are: '
                                   f'{_list(found)}')
    elif len(found) == 1:
        return found[0]
    elif found:
        raise Failure(f'this database holds several task services: '
                      f'{_list(found)}', 'choose one with --service')
    else:
        problem = _NONE
    check_visible(connection, problem)
    lost = list(walk.lost(connection, host))
    if lost:
        raise Failure(f'the record of the task service at {_list(lost)} is '
                      f'lost', 'restore the database from a backup')
    raise Failure(problem, _HOW_TO if not found and path is None else
                  f'correct --service, or {_HOW_TO}')


def find_several(connection: Connection, names: Sequence[str], host: IHost
                 ) -> list[ServicePath]:
    """The paths of all services that the user means.

    Arguments: ``names``, paths, or ALL alone; none: the only service there is.
    Raises: Failure, but not for ALL where the database holds none yet.
    """
    if names == (ALL,):
        found = present(connection, names, host)
        if not found:
            check_visible(connection)
        return found
    return _once(find(connection, name, host) for name in names or (None,))


def present(connection: Connection, names: Sequence[str], host: IHost
            ) -> list[ServicePath]:
    """The paths of those services that are there now."""
    if names == (ALL,):
        return list(services(connection, host))
    found = []
    for name in names:
        with suppress(*UNSEEN):
            parts = split(name)
            service = host.find_service(connection, parts)
            if service is not None:
                found.append(path_to(parts, service, host))
    return _once(found)


def _once(paths: Iterable[ServicePath]) -> list[ServicePath]:
    return list({(tuple(path), path.oid): path for path in paths}.values())


def check_visible(connection: Connection, problem: str = _NONE) -> None:
    """Raise Failure where code is missing without which none is seen."""
    if not can_be_seen(connection.root().get(APPLICATION)):
        raise Failure(
            f'{problem} that can be seen: the code of its application is not '
            f'installed here', 'install it beside remotetask')


def _list(found: Sequence[Sequence[str]]) -> str:
    return some(found, 20, text=show)
