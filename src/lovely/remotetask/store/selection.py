"""Which jobs a listing shows, or a change of many jobs is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.fields.limits import DEFAULT_QUEUE
from lovely.remotetask.store.log import LOGS

if TYPE_CHECKING:
    from datetime import datetime

    from lovely.remotetask.job import Job


@dataclass(frozen=True)
class Selection:
    """What all selected jobs have in common; None: anything.

    Attributes: ``task``, ``key``, ``submitter``, ``queue`` (str); ``error``, a
    part of its error's class and message, in any case; ``since``, ``before``
    (seconds since 1970), from when and until when it was added, or has ended
    if it is over.
    """

    task: str | None = None
    key: str | None = None
    submitter: str | None = None
    queue: str | None = None
    error: str | None = None
    since: float | None = None
    before: float | None = None

    def __contains__(self, job: Job) -> bool:
        return (self._has_names(job) and self._has_error(job)
                and self._has_moment(job))

    def _has_names(self, job: Job) -> bool:
        return (self.task in (None, job.task)
                and self.key in (None, job.key)
                and self.submitter in (None, job.submitter)
                and self.queue in (None, job.queue or DEFAULT_QUEUE))

    def _has_error(self, job: Job) -> bool:
        if self.error is None:
            return True
        found = job.error
        if found is None:
            return False
        kind = getattr(found, 'type', type(found).__name__)
        return self.error.casefold() in f'{kind}: {found}'.casefold()

    def _has_moment(self, job: Job) -> bool:
        if self.since is self.before is None:
            return True
        moment = moment_of(job)
        return (moment is not None
                and (self.since is None or moment >= self.since)
                and (self.before is None or moment < self.before))


def moment_of(job: Job) -> float | None:
    """When (seconds since 1970) a job has ended, else was added; None: no
    clock has shown that.
    """
    # A cancelled job has no completedAt: its place tells when.
    place = job.position[0] if job.position else None
    if job.position and place == 'cancelled':
        return key_time(job.position[1])
    ended = job.completedAt if place in LOGS else None
    found: datetime | None = ended or job.createdAt
    return None if found is None else found.timestamp()
