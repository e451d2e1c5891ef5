"""Migrates services of 0.5.2: the transactions of ``store/upstream``.

``remotetask migrate`` and the evolver of zope.generations call this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from lovely.remotetask.edge import db
from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.edge.texts import some
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.paths import show
from lovely.remotetask.host.walk import services
from lovely.remotetask.host.walk import unseen
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.store import check
from lovely.remotetask.store import upstream
from lovely.remotetask.store.records import why_unreadable

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.blocks import Blocks
    from lovely.remotetask.store.upstream import Plan

#: How many jobs one transaction moves.
BATCH = 500

# How many ids of jobs an error names.
_IDS = 10

_T = TypeVar('_T')


def old_services(connection: Connection, host: IHost
                 ) -> Iterator[ServicePath]:
    """The paths of the services of 0.5.2 near the roots of a database."""
    for path in services(connection, host):
        service = host.find_service(connection, path)
        if service is not None and upstream.is_old(service):
            yield path


def without_class(connection: Connection, host: IHost) -> list[str]:
    """The services of 0.5.2 whose own class is not installed, as sentences.

    ``old_services`` does not find them: a migration would leave them out
    without a word, and their jobs would wait for ever.
    """
    found = []
    for names, obj in unseen(connection, host):
        with suppress(*UNREADABLE):
            obj._p_activate()
        state = getattr(obj, '__Broken_state__', None)
        # Other objects of an application may have a queue, too.
        if isinstance(state, dict) and {'jobs', '_queue'} <= state.keys():
            kind = type(obj)
            found.append(f'{show(names)} cannot be read: its class '
                         f'{kind.__module__}.{kind.__name__} cannot be '
                         f'imported')
    return found


def look_over(path: ServicePath, cancel_lost: bool = False) -> Plan | None:
    """What ``migrate`` would do; nothing is written.

    Arguments: as ``migrate``.
    Returns: None for a service that is not one of 0.5.2.
    Cost: O(jobs).
    """
    return _read(path, lambda service: (
        upstream.plan(service, cancel_lost) if upstream.is_old(service)
        else None))


def migrate(path: ServicePath, cancel_lost: bool = False,
            leave_unreadable: bool = False,
            progress: Callable[[int], object] = lambda done: None
            ) -> Plan | None:
    """Move a service of 0.5.2 over to the structures of today.

    A call that was killed leaves the service as one of 0.5.2, and the next
    one goes on where it was.  Two at once help each other.
    Arguments: ``path``, of the service, as ``services`` gives it;
    ``cancel_lost``: queued jobs that stand in no queue are cancelled and not
    run; ``leave_unreadable``: jobs that cannot be read come along as they are,
    and are listed as ``unknown``; ``progress``, called after each transaction
    with the number of jobs it has moved so far.
    Returns: what was done; None for a service that is not one of 0.5.2.
    Raises: ConfigurationError where jobs cannot be read, before anything is
    written.
    Txn: its own, of 500 jobs each.
    Cost: O(jobs).
    """
    found = look_over(path, cancel_lost)
    if found is None:
        return None
    if found.unreadable and not leave_unreadable:
        raise ConfigurationError(_refusal(path, found))
    note = f'migrate {show(path)}'
    _write(path, note, lambda service: upstream.begin(service, found))
    for start in range(0, len(found.moves), BATCH):
        batch = found.moves[start:start + BATCH]
        _write(path, note, partial(upstream.move, moves=batch,
                                   cancel_lost=cancel_lost))
        progress(start + len(batch))
    _read(path, lambda service: _verify(path, service, found))
    _write(path, note, upstream.finish)
    return found


def _verify(path: ServicePath, service: TaskService, found: Plan) -> None:
    """Raise RuntimeFault unless each job is where it has to be."""
    jobs, queue = upstream.moved(service)
    after = _count(jobs)
    if after != found.after:
        raise RuntimeFault(
            f'{show(path)} has {dict(after)} after its migration where '
            f'{dict(found.after)} were expected; it is still used as a '
            f'service of 0.5.2: report this')
    start: str | None = None
    while True:
        wrong, start = check.step(queue, start, BATCH, service.clock.now())
        wrong = [one for one in wrong if one.kind != check.UNREADABLE]
        if wrong:
            raise RuntimeFault(
                f'{show(path)} is not right after its migration: {wrong[:3]}; '
                f'it is still used as a service of 0.5.2: report this')
        if start is None:
            return


def _count(jobs: Blocks) -> Counter[str]:
    found: Counter[str] = Counter()
    for number, job in enumerate(jobs.values()):
        if number % BATCH == 0:
            job._p_jar.cacheGC()
        found[UNKNOWN if why_unreadable(job) is not None
              else upstream.count_as(job)] += 1
    return found


def _refusal(path: ServicePath, found: Plan) -> str:
    reasons = '; '.join(
        f'{len(ids)} ({some(ids, _IDS)}): {reason}'
        for reason, ids in found.unreadable.items())
    return (f'{show(path)} has jobs that cannot be read, and was not '
            f'migrated: {reasons}')


def _read(path: ServicePath, function: Callable[[TaskService], _T]) -> _T:
    home, oid = _place(path)
    return db.read(home, lambda connection: function(connection.get(oid)))


def _write(path: ServicePath, note: str,
           function: Callable[[TaskService], Any]) -> None:
    home, oid = _place(path)
    db.write(home, lambda connection: function(connection.get(oid)),
             note=note)


def _place(path: ServicePath) -> tuple[DB, bytes]:
    # Not by its names: a queue may be in a database of its own.
    if path.home is None or path.oid is None:
        raise UsageError(f'the service {show(path)} is in no database')
    return path.home, path.oid
