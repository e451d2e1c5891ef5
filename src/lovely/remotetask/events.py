"""What happens to jobs and workers, told through zope.event.

Subscribers of JobFailed run in the transaction that stores the error, after
the writes of the failed task are gone: what they write is committed with it.
Where a subscriber fails in a worker, that is logged, and the error is stored
without the writes of subscribers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.event import notify

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

__all__ = ['notify']


class JobEvent:
    """Something happened to a job.

    No IObjectEvent: zope.component does not call subscribers for (IJob,
    JobEvent).
    Attributes: ``service`` (ITaskService), ``job`` (IJob).
    """

    def __init__(self, service: TaskService, job: Job) -> None:
        self.service = service
        self.job = job


class JobAdded(JobEvent):
    """A job was added; the caller's transaction is still open."""


class JobStarted(JobEvent):
    """A run is about to begin, in the transaction of the run."""


class JobFinished(JobEvent):
    """A run ended well, in the transaction that stores its result."""


class JobFailed(JobEvent):
    """The job ended in an error, in the transaction that stores it.

    ``job.error`` is the stored record.
    """


class JobRetried(JobEvent):
    """A run failed and the job waits for another attempt."""


class JobCancelled(JobEvent):
    """A job was cancelled, or the run of a cron job by its task.

    The transaction is still open.
    """


class WorkerEvent:
    """Something happened to a worker.  Attribute: ``name`` (str)."""

    def __init__(self, name: str) -> None:
        self.name = name


class WorkerStarted(WorkerEvent):
    """A worker began to look for jobs."""


class WorkerStopped(WorkerEvent):
    """A worker stopped looking for jobs."""
