"""Puts right what a check has found: see check."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ZODB.POSException import POSKeyError

from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.store.batch_views import renew_groups
from lovely.remotetask.store.check import ADRIFT
from lovely.remotetask.store.check import GONE
from lovely.remotetask.store.check import KEYS
from lovely.remotetask.store.check import LATE
from lovely.remotetask.store.check import LOST
from lovely.remotetask.store.check import PUT_BACK
from lovely.remotetask.store.check import UNCLAIMED
from lovely.remotetask.store.check import UNLISTED
from lovely.remotetask.store.check import Finding
from lovely.remotetask.store.check import has_key
from lovely.remotetask.store.check import is_entry
from lovely.remotetask.store.check import is_placed
from lovely.remotetask.store.check import verdict

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

_WHY = {
    ADRIFT: 'stood in no lane',
    UNCLAIMED: 'was processing under no claim of a known worker',
}


def mend(queue: JobQueue, findings: list[Finding], now: float
         ) -> list[Finding]:
    """Put right what can be, if it still is wrong.

    Jobs go back into a lane, uncharged, or into a log; entries and keys are
    removed; lanes and logs that have lost a record are emptied, and unique
    keys noted again.
    Returns: what was put right.
    Txn: writes; a job that moves at the same time conflicts.
    """
    return list(_mended(queue, findings, now))


def _mended(queue: JobQueue, findings: list[Finding], now: float
            ) -> Iterator[Finding]:
    for finding in findings:
        kind, jobid, where = finding
        if kind in PUT_BACK:
            if (verdict(queue, jobid, now) != kind
                    or not _put_back(queue, queue.jobs[jobid], now)):
                continue
        elif kind == UNLISTED:
            if verdict(queue, jobid, now) != kind:
                continue
            queue.rehome(queue.jobs[jobid])
        elif kind == GONE:
            if is_entry(queue, where, jobid):
                continue
            queue.discard(where, jobid)
        elif kind == KEYS:
            if has_key(queue, where, jobid):
                continue
            queue.uniques.drop(where, jobid)
        elif kind == LOST:
            try:
                if not (renew_groups(queue) if where == 'groups'
                        else queue.renew(where)):
                    continue
            except POSKeyError:
                continue        # more is lost than that
        else:
            continue
        yield finding


def _put_back(queue: JobQueue, job: Job, now: float) -> bool:
    if job.status == PROCESSING:
        queue.requeue(job)
        return True
    if is_placed(queue, job) or (
            job.status == CRONJOB and job.of_next('owed', None)):
        # Times that are owed stay owed.
        queue.place_anew(job, now)
        return True
    if job.status == CRONJOB or (job.status == DELAYED
                                 and job.position is None):
        try:
            queue.schedule(job, now)
        except (InvalidSchedule, ConfigurationError):
            return False
    elif job.status == STARTLATER:
        queue.put_in(job, 'later', time_key(now))
    elif job.position is None or job.position[0] not in ('waiting', 'due'):
        queue.enqueue(job)
    else:
        queue.put_in(job, *job.position)
    return True


def log_put_back(mended: Iterable[Finding]) -> None:
    """Log an ERROR for each job that was put back."""
    late = [jobid for kind, jobid, _ in mended if kind == LATE]
    if late:
        log.warning('jobs were to wait for longer than their schedules or '
                    'delays say, as after a clock that was ahead; they are '
                    'placed anew: %s', ', '.join(map(str, late)))
    for kind, jobid, _ in mended:
        if kind in _WHY:
            log.error('job %s %s; it is put back, uncharged', jobid,
                      _WHY[kind])
