"""TaskService: what an application calls.

Each method checks its call, lets ``adding``, the queue or ``run`` do the work,
and tells subscribers and processors of it.
``lovely.remotetask.service.TaskService`` is a name inside databases.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import BTrees
from persistent import Persistent
from zope.interface import implementer
from zope.location import locate

from lovely.remotetask.adding import jobs
from lovely.remotetask.adding import steering
from lovely.remotetask.adding.options import Options
from lovely.remotetask.adding.verbs import FlowVerbs
from lovely.remotetask.adding.verbs import FollowVerbs
from lovely.remotetask.adding.verbs import ScheduleVerbs
from lovely.remotetask.context import Told
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.errors import UnreadableRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import MOMENT
from lovely.remotetask.errors.bounds import is_moment
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.annotations import OwnAnnotations
from lovely.remotetask.host import current as current_host
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.job import Job
from lovely.remotetask.peers.oids import forget_when_cut_off
from lovely.remotetask.run import threads
from lovely.remotetask.run.startup import bootStrapSubscriber
from lovely.remotetask.run.startup import getAutostartServiceNames
from lovely.remotetask.service.waiting import wait_for
from lovely.remotetask.store import figures
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.listing import QueueView
from lovely.remotetask.store.local import local
from lovely.remotetask.store.queue import JobQueue
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.selection import Selection
from lovely.remotetask.store.upstream import OfMigrated
from lovely.remotetask.store.upstream import set_aside

# 0.5.2 had the start-up in this module, and ZCML files name it here.
__all__ = ['TaskService', 'make_service', 'bootStrapSubscriber',
           'getAutostartServiceNames']


class _SimpleProcessor:
    """Stands for SimpleProcessor, until it is asked for.

    An application starts in a tenth less time without what runs jobs: most
    processes of it run none.
    """

    def __get__(self, service: Any, owner: Any = None) -> Any:
        from lovely.remotetask.processor import SimpleProcessor

        return SimpleProcessor


# mypy-zope knows no IContained: zope.location ships no types.
@implementer(ITaskService)  # type: ignore[misc]
class TaskService(ScheduleVerbs, FlowVerbs, FollowVerbs, OwnAnnotations,
                  Persistent):
    """See ITaskService

    Attributes beyond the interface: ``jobqueue``, the JobQueue behind
    ``jobs``; ``clock`` (IClock); ``raiseErrors`` (bool), for tests: direct
    processing raises the exception of a failed task once it is stored.
    """

    # The types stand in comments: see job.
    __parent__ = None       # type: Any
    __name__ = None         # type: str | None

    taskInterface = ITask
    processorFactory = _SimpleProcessor()   # type: Any
    processorArguments = {'waitTime': 1.0}  # noqa: RUF012
    family = BTrees.family32

    raiseErrors = False
    clock = SYSTEM_CLOCK    # type: Any

    # What a service of 0.5.2 has not.  The types stand in comments: see job.
    jobs = OfMigrated()         # type: Blocks      # type: ignore[assignment]
    jobqueue = OfMigrated()     # type: JobQueue    # type: ignore[assignment]

    #: Signs the forms of the pages (bytes); a service made by an earlier
    #: release has none.
    formSecret = b''

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Blocks(self.family)
        self.jobqueue = JobQueue(self.jobs)
        self.formSecret = secrets.token_bytes(32)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(set_aside(state))
        # Here, and not in each verb: a process that cancels, cleans or runs
        # jobs directly stores new objects, too.
        if self._p_jar is not None:
            forget_when_cut_off(self._p_jar.db())

    # Found anew each time: processes of different hosts may have this record
    # in memory.
    @property
    def host(self) -> IHost:
        """The IHost of the calling thread."""
        return current_host()

    def getAvailableTasks(self) -> dict[str, Any]:
        """See ITaskService"""
        return self.host.tasks(self, self.taskInterface)

    def _task(self, name: Any) -> Any:
        """The available task of this name, or None."""
        # Not type(self): that may be a wrapper of Acquisition.
        if (self.__class__.getAvailableTasks
                is not TaskService.getAvailableTasks):
            # A subclass that overrides it decides which tasks there are.
            return self.getAvailableTasks().get(name)
        if not isinstance(name, str):
            return None
        return self.host.task(self, self.taskInterface, name)

    def _no_task(self, name: Any) -> ValueError:
        """The error about a name that no available task has."""
        # Exactly this: callers of 0.5.2 compare the type and the text.
        return ValueError('Task does not exist')

    # -- add ------------------------------------------------------------------

    def add(self, task: str | Callable[..., Any], input: Any = None,
            startLater: bool = False,
            jobClass: Callable[..., Any] | None = None, *, priority: int = 0,
            delay: float | None = None, runAt: datetime | None = None,
            key: str | None = None, onDuplicate: str = 'keep',
            runAs: str | None = None, concurrencyKey: str | None = None,
            queue: str | None = None, keyUntil: str = 'ended',
            retry: Any = None, timeout: float | None = None,
            onSuccess: Any = None, onFailure: Any = None) -> int:
        """See ITaskService"""
        place = jobs.placer(startLater, delay, runAt, self.clock.now)
        return jobs.add_one(
            self, task, input, jobClass or Job, place,
            Options(priority, key, onDuplicate, runAs, concurrencyKey, queue,
                    keyUntil, retry, timeout, onSuccess, onFailure))

    def addMany(self, task: str | Callable[..., Any], inputs: Iterable[Any],
                startLater: bool = False,
                jobClass: Callable[..., Any] | None = None, *,
                priority: int = 0, delay: float | None = None,
                runAt: datetime | None = None, runAs: str | None = None,
                concurrencyKey: str | None = None, queue: str | None = None,
                keys: Iterable[str] | None = None, onDuplicate: str = 'keep',
                keyUntil: str = 'ended', retry: Any = None,
                timeout: float | None = None, onSuccess: Any = None,
                onFailure: Any = None) -> list[int]:
        """See ITaskService"""
        place = jobs.placer(startLater, delay, runAt, self.clock.now)
        return jobs.add_many(
            self, task, inputs, jobClass or Job, place,
            Options(priority, keys, onDuplicate, runAs, concurrencyKey, queue,
                    keyUntil, retry, timeout, onSuccess, onFailure))

    # -- change ---------------------------------------------------------------

    def _job(self, jobid: Any) -> Job:
        """The job.  Raises: JobNotFound; UnreadableRecord; NewerRecord."""
        job = self._shown(jobid)
        if isinstance(job, UnreadableJob):
            raise UnreadableRecord(jobid, str(job.error))
        return job

    def _shown(self, jobid: Any) -> Job:
        """The job, or what stands in for one that cannot be read.

        Raises: JobNotFound; NewerRecord.
        """
        job = look(self.jobs, jobid)
        if job is None:
            raise JobNotFound(jobid)
        if isinstance(job, UnreadableJob) and job.newer:
            raise NewerRecord(str(job.error))
        return job

    def startJob(self, jobid: int) -> bool:
        """See ITaskService"""
        return steering.start_job(self, jobid)

    def startNow(self, jobid: int) -> bool:
        """See ITaskService"""
        return steering.start_now(self, jobid)

    def clean(self, status: Iterable[str] = (CANCELLED, ERROR, COMPLETED)
              ) -> None:
        """See ITaskService"""
        steering.clean(self, status)

    def getRetention(self) -> dict[str, dict[str, Any]]:
        """See ITaskService"""
        # Imported here and not above: few processes ask for it.
        from lovely.remotetask.store import retention

        return retention.told(self.jobqueue)

    def setRetention(self, status: str, **changes: Any) -> None:
        """See ITaskService"""
        from lovely.remotetask.store import retention

        retention.change(self.jobqueue, status, changes)

    def cancel(self, jobid: Any) -> None:
        """See ITaskService"""
        self.cancelMany((jobid,))

    def cancelMany(self, jobids: Iterable[Any]) -> int:
        """See ITaskService"""
        return steering.cancel(self, jobids)

    def retryJob(self, jobid: int, *, anew: bool = False) -> None:
        """See ITaskService"""
        jobs.retry(self, self._job(jobid), anew)

    # -- look -----------------------------------------------------------------

    def getStatus(self, jobid: int) -> str:
        """See ITaskService"""
        return self._shown(jobid).status

    def getResult(self, jobid: int) -> Any:
        """See ITaskService"""
        return self._job(jobid).output

    def getError(self, jobid: int) -> str:
        """See ITaskService"""
        return str(self._shown(jobid).error)

    def getProgress(self, jobid: int) -> Told | None:
        """See ITaskService"""
        return self.jobqueue.progress_of(self._shown(jobid))

    def waitFor(self, jobid: int, timeout: float) -> Job:
        """See ITaskService"""
        return wait_for(self, jobid, timeout)

    def listJobs(self, status: str | None = None, task: str | None = None,
                 start: str | None = None,
                 limit: int = 50) -> tuple[list[Job], str | None]:
        """See ITaskService"""
        jobs, cursor, _ = self.jobqueue.page(
            status, Selection(task=task), start, limit)
        return jobs, cursor

    def stats(self) -> dict[str, Any]:
        """See ITaskService"""
        return self.jobqueue.stats(self.clock.now())

    def listWorkers(self) -> list[dict[str, Any]]:
        """See ITaskService"""
        return self.jobqueue.list_workers()

    def history(self, hours: int = 1, task: str | None = None
                ) -> list[dict[str, Any]]:
        """See ITaskService"""
        return figures.rows(self.jobqueue, self.clock.now(), hours, task)

    def historyOfTasks(self, hours: int = 24) -> dict[str, dict[str, Any]]:
        """See ITaskService"""
        return figures.by_task(self.jobqueue, self.clock.now(), hours)

    def hasJobsWaiting(self, now: float | None = None) -> bool:
        """See ITaskService"""
        return self.jobqueue.has_waiting(self._look(now))

    @property
    def _queue(self) -> QueueView:
        """The jobs that wait, as a sequence: 0.5.2's queue, to read only."""
        return QueueView(self.jobqueue)

    def _look(self, now: float | None) -> float:
        """The moment (seconds since 1970) of a look at the queue.

        A made-up ``now`` before a job was added moves that job's anchor.
        """
        if now is None:
            return self.clock.now()
        if not is_moment(now):
            raise UsageError(f'now is {shown(now)}; give the seconds since '
                             f'1970 of {MOMENT}')
        self.jobqueue.reanchor(now)
        return now

    # -- run here and now -----------------------------------------------------

    def claimNextJob(self, now: float | None = None) -> int | None:
        """See ITaskService"""
        from lovely.remotetask.run import direct

        job = direct.claim(self, self._look(now))
        return None if job is None else job.id

    def processNext(self, now: float | None = None,
                    jobid: int | None = None, *, force: bool = False) -> bool:
        """See ITaskService"""
        from lovely.remotetask.run import direct

        now = self._look(now)
        return direct.run_here(self, self.host, now, jobid, force)

    def process(self, now: float | None = None) -> None:
        """See ITaskService"""
        while self.processNext(now):
            pass

    # -- run in a thread ------------------------------------------------------

    def startProcessing(self) -> None:
        """See ITaskService"""
        threads.start_service(self)

    def stopProcessing(self, wait: float | None = 1.0) -> None:
        """See ITaskService"""
        if self.__name__ is not None:
            threads.stop_threads(self, self._threadName(), wait)

    def isProcessing(self) -> bool:
        """See ITaskService"""
        return (self.__name__ is not None
                and bool(threads.threads_of(self, self._threadName())))

    def _threadName(self) -> str:
        """The name of the thread that runs this service's jobs."""
        return threads.name_of(self.host.path_of(self))

    # -- ids ------------------------------------------------------------------

    @property
    def _v_nextid(self) -> int | None:
        """The id that this connection tries next; None: it draws one."""
        return local(self.jobs).next_id

    @_v_nextid.setter
    def _v_nextid(self, value: int | None) -> None:
        local(self.jobs).next_id = value

    def _generateId(self) -> int:
        """An id that is not taken; see Blocks.draw_id."""
        return self.jobs.draw_id(local(self.jobs), self.family.maxint)


def make_service(container: Any, name: str,
                 factory: Callable[[], TaskService] = TaskService
                 ) -> TaskService:
    """Make a service, and put it into a container under a name.

    Arguments: ``container``, a mapping, or a container that locates its items;
    ``factory``, makes the service.
    Returns: the service.
    Txn: the caller commits.
    """
    service = container[name] = factory()
    if service.__parent__ is None:
        # A plain mapping locates none of its items, and a service that is
        # located nowhere does not start.
        locate(service, container, name)
    return service
