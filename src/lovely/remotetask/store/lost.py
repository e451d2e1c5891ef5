"""What is said of a record that is lost: which part of a service it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from persistent import Persistent
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import load_current
from ZODB.utils import oid_repr

from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.places import LANES

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_REPAIR = 'remotetask check --repair mends it'
_RESTORE = ('remotetask check cannot mend it: stop the workers, and restore '
            'the database from a backup; until then')

#: Part of a service -> its name, and what a person does where a record of it
#: is lost.  tests/commands/test_lost.py tries which commands still answer.
_PARTS = {
    'queue': ('the queue',
              f'{_RESTORE} remotetask show and tasks still answer'),
    'jobs': ('the mapping of jobs', f'{_RESTORE} remotetask tasks, pause and '
                                    f'resume still answer'),
    'workers': ('the workers', f'{_RESTORE} remotetask list, show, tasks, '
                               f'pause and resume still answer'),
    'slots': ("the slots of the workers' threads",
              f'{_RESTORE} remotetask show, add, tasks, pause and resume '
              f'still answer'),
    'claims': ('the claims', f'{_RESTORE} remotetask show, tasks, pause and '
                             f'resume still answer'),
    'keys': ('the unique keys', _REPAIR),
    'gates': ('the gates of limits', _REPAIR),
    'groups': ('the groups of jobs', _REPAIR),
    'logs': ('the logs of jobs that are over', _REPAIR),
    **{name: (f'the lanes of jobs that are {text}', _REPAIR)
       for name, text in zip(LANES, (
           'ready', 'suspects', 'barred', 'waiting', 'missing a task', 'due',
           'to start later', 'cancelled'), strict=True)},
}
_OTHER = ('an object beside the queue',
          'remotetask check tells if jobs are concerned; restore it from a '
          'backup')


def lost_oid(error: BaseException) -> bytes | None:
    """The oid of the lost record that an error is about; None: none is."""
    cause = error.__cause__ or error
    if isinstance(cause, POSKeyError) and isinstance(cause.args[0], bytes):
        return cause.args[0]
    return None


def told(service: TaskService, error: BaseException) -> str:
    """The sentence about a damaged record that a verb has met.

    Cost: as ``part_of``.
    """
    oid = lost_oid(error)
    if oid is None:
        cause = error.__cause__ or error
        return (f'a record of this service is damaged '
                f'({type(cause).__name__}: {cause}), and ZODB has logged '
                f'which: restore the database from a backup')
    return described(service, oid)


def described(service: TaskService, oid: bytes) -> str:
    """What is lost with this record, and what to do about it."""
    name, cure = _PARTS.get(
        (part_of(service, oid) or '').partition('/')[0], _OTHER)
    return (f'a record of this service is lost: {oid_repr(oid)}, of {name}; '
            f'{cure}')


def part_of(service: TaskService, oid: bytes) -> str | None:
    """The part of a service that a record belongs to; None: to no part.

    Cost: O(records of lanes, logs and keys): their references are followed.
    """
    tops = dict(_tops(service))
    if oid in tops:
        return tops[oid]
    storage = service._p_jar.db().storage
    if service.jobqueue._p_jar is not None:
        # A queue may have a database of its own.
        storage = service.jobqueue._p_jar.db().storage
    for top, name in tops.items():
        if name == 'jobs':
            continue    # all jobs, with all that their inputs refer to
        left, seen = [top], {*tops}
        while left:
            with suppress(POSKeyError):
                data, _ = load_current(storage, left.pop())
                for found in referencesf(data):
                    if found == oid:
                        return name
                    if found not in seen:
                        seen.add(found)
                        left.append(found)
    return None


def _tops(service: TaskService) -> Iterator[tuple[bytes, str]]:
    """The records in which the parts of a service begin, as far as they can
    be read.
    """
    def parts() -> Iterator[tuple[Persistent, str]]:
        queue = service.jobqueue
        yield service.jobs, 'jobs'
        yield queue, 'queue'
        with suppress(POSKeyError):
            yield service.jobs._tree, 'jobs'
        with suppress(POSKeyError):
            for name in queue.lane_names():
                yield queue.lanes(name), name
            yield queue.uniques, 'keys'
            yield queue.workers, 'workers'
            yield queue.slots, 'slots'
            yield queue.gates, 'gates'
            yield queue.limits, 'gates'
            if queue.batches is not None:
                yield queue.batches, 'groups'
        with suppress(POSKeyError):
            for slot in queue.slots.values():
                with suppress(POSKeyError):
                    yield slot.claims, 'claims'
                    for name in LOGS:
                        yield getattr(slot, name), 'logs'

    for part, name in parts():
        if part._p_oid is not None:
            yield part._p_oid, name

