"""Unique keys: which job has one, and whether another may be added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding.options import Options
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import KEY_UNTIL
from lovely.remotetask.interfaces import ON_DUPLICATE
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import Job
from lovely.remotetask.store.states import is_final
from lovely.remotetask.store.uniques import check_key

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.service import TaskService


def check_keys(service: TaskService, options: Options, count: int,
                jar: Connection | None) -> list[Any]:
    """The key of each job of a call, None: it has none.

    Raises: UsageError; DuplicateJob, before any job is added.
    """
    keys = options.key
    check_key_options(options, 'keys')
    if keys is None:
        return [None] * count
    if isinstance(keys, str) or not isinstance(keys, Iterable):
        raise UsageError(f'keys is {shown(keys)}; give a list with a key for '
                         f'each input')
    keys = list(keys)
    if len(keys) != count:
        raise UsageError(f'there are {len(keys)} keys for {count} inputs; '
                         f'give one for each')
    seen = set()
    for key in keys:
        check_key(key)
        if options.onDuplicate == 'error':
            if key in seen:
                raise UsageError(f'keys has {key!r:.200} twice')
            find_holder(service, key, options, jar)
        seen.add(key)
    return keys


def take_key(service: TaskService, key: str, job: Job, holder: Job | None
              ) -> None:
    """Give a key to a job; one that waits and has it is replaced."""
    if (holder is not None and not is_final(holder.status)
            and holder.status != PROCESSING):
        service.cancel(holder.id)
    service.jobqueue.uniques.take(key, job, holder)


def check_key_options(options: Options, named: str = 'key',
                      onDuplicate: tuple[str, ...] = ON_DUPLICATE) -> None:
    """Raise UsageError for what there is not to say of a key, and for what is
    said of none.

    Arguments: ``named``, what the caller calls the key; ``onDuplicate``, what
    may be given for that.
    """
    for name, known in (('onDuplicate', onDuplicate),
                        ('keyUntil', KEY_UNTIL)):
        given = getattr(options, name)
        # What compares with nothing, an array for instance, is none either.
        if not isinstance(given, str) or given not in known:
            raise UsageError(f'{name} is {shown(given)}; one of '
                             f'{", ".join(map(repr, known))}')
        if options.key is None and given != known[0]:
            raise UsageError(f'{name} is {given!r}, which says what is to be '
                             f'of a key, and there is none: give {named}, too')


def find_holder(service: TaskService, key: Any, options: Options,
            jar: Connection | None) -> tuple[Job | None, bool]:
    """The job that has this key, and whether it keeps it.

    Where it does, no job is added.
    Returns: the holder, or None; True: it keeps the key.
    Raises: UsageError; DuplicateJob.
    """
    onDuplicate = options.onDuplicate
    check_key(key)
    holder = service.jobqueue.uniques.holder(key, service.jobs)
    if holder is None or (
            is_final(holder.status) and onDuplicate != 'any') or (
            holder.status == PROCESSING and options.keyUntil == 'started'):
        return holder, False
    if onDuplicate == 'error':
        raise DuplicateJob(key, holder.id)
    if onDuplicate in ('keep', 'any'):
        # The holder must not begin or end before this transaction commits: its
        # run is to see what this transaction has written.
        caller.read_current(jar, service.jobs[holder.id])
        return holder, True
    return holder, False
