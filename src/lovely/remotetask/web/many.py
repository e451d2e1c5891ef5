"""Changes of many jobs for the surfaces: a request does some seconds of it.

The caller has checked the permission, and brings the transactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from typing import TypeVar

from ZODB.utils import p64

from lovely.remotetask import bulk
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.store import lost
from lovely.remotetask.store.check import LOST
from lovely.remotetask.web import selecting

_T = TypeVar('_T')

#: After this time (seconds) a request that changes many jobs is answered, and
#: the answer says where to go on: clients and proxies do not wait for ever.
BULK_SECONDS = 2.0


def clean(transact: bulk.Transact, status: object = FINAL,
          start: object = None, before: object = None, keep: object = 0
          ) -> dict[str, Any]:
    """Remove jobs that are over, for BULK_SECONDS at most.

    Arguments: ``transact``, see ``bulk``; ``status``, a list of final
    statuses; ``start``, the ``next`` of the answer before; ``before``, a
    moment in ISO 8601: only jobs that ended before it; ``keep`` (int): leave
    so many that have ended last.
    Returns: ``{'removed': {status: how many}, 'next': start or None}``.
    Raises: UsageError, before anything is removed.
    Txn: several, each with at most settings.BULK_BATCH jobs.
    """
    # A string, too, can be iterated over: by its characters.
    if not isinstance(status, (list, tuple)) or not all(
            isinstance(one, str) and one in FINAL for one in status):
        raise UsageError(f'status has to be a list of '
                         f'{", ".join(FINAL)}, not {status!r:.80}')
    wanted = bulk.check_final(status)
    steps = bulk.cleaning(
        transact, wanted, _start(start), selecting.moment('before', before),
        selecting.kept(keep))
    removed, following = dict.fromkeys(wanted, 0), None
    for one, count, at in _for_some_seconds(steps):
        removed[one], following = removed[one] + count, at
    return {'removed': removed, 'next': following}


def check(transact: bulk.Transact, repair: object = False,
          start: object = None) -> dict[str, Any]:
    """Look for jobs that no worker would ever come to, for BULK_SECONDS.

    Arguments: ``transact``, see ``bulk``; ``repair`` (bool): put right what
    can be; ``start``, the ``next`` of the answer before.
    Returns: ``{'found': {kind: [job ids]}, 'repaired': {kind: [job ids]},
    'next': start or None}``; the kinds are explained in store/check.  Of
    ``lost`` the ids are those of records, and ``records`` tells what is lost
    with each, by its oid as a text.
    Raises: UsageError.
    Txn: several, each for at most settings.BULK_BATCH jobs.
    """
    if not isinstance(repair, bool):
        raise UsageError(f'repair has to be true or false, not {repair!r:.80}')
    steps = bulk.checking(transact, repair, _start(start))
    found: dict[str, list[int]] = {}
    repaired: dict[str, list[int]] = {}
    following = None
    for wrong, mended, at in _for_some_seconds(steps):
        for answer, findings in ((found, wrong), (repaired, mended)):
            for one in findings:
                answer.setdefault(one.kind, []).append(one.jobid)
        following = at
    answers: dict[str, Any] = {
        'found': found, 'repaired': repaired, 'next': following}
    if LOST in found:
        # What was mended is of no part any more.
        oids = set(found[LOST]) - set(repaired.get(LOST, ()))
        answers['records'] = transact(lambda service: {
            str(oid): lost.described(service, p64(oid)) for oid in oids})
    return answers


def cancel_all(transact: bulk.Transact, status: object,
               start: object = None, **wanted: Any) -> dict[str, Any]:
    """Cancel jobs that have a status, for BULK_SECONDS at most.

    Arguments: as ``clean``; ``wanted``, which of them: see
    selecting.PARAMETERS.
    Returns: ``{'cancelled': how many, 'next': start or None}``.
    Raises, Txn: as ``clean``.
    """
    steps = bulk.cancelling(transact, bulk.check_open(status),
                            selecting.selection(**wanted), _start(start))
    cancelled, following = 0, None
    for count, at in _for_some_seconds(steps):
        cancelled, following = cancelled + count, at
    return {'cancelled': cancelled, 'next': following}


def retry_all(transact: bulk.Transact, status: object,
              start: object = None, **wanted: Any) -> dict[str, Any]:
    """Queue jobs once more that failed or were cancelled, for BULK_SECONDS.

    Arguments: as ``cancel_all``.
    Returns: ``{'retried': how many, 'left': how many could not be, 'next':
    start or None}``.
    Raises, Txn: as ``clean``.
    """
    steps = bulk.retrying(transact, bulk.check_over(status),
                          selecting.selection(**wanted), _start(start))
    retried, left, following = 0, 0, None
    for count, others, at in _for_some_seconds(steps):
        retried, left, following = retried + count, left + others, at
    return {'retried': retried, 'left': left, 'next': following}


def _start(start: object) -> str | None:
    if start is not None and not isinstance(start, str):
        raise UsageError(f'start has to be the "next" of an answer, not '
                         f'{start!r:.80}')
    return start


def _for_some_seconds(steps: Iterator[_T]) -> Iterator[_T]:
    end = SYSTEM_CLOCK.monotonic() + BULK_SECONDS
    for step in steps:
        yield step
        if SYSTEM_CLOCK.monotonic() > end:
            return
