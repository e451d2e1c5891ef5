"""TaskService: the façade.  It delegates and owns no algorithm.

``lovely.remotetask.service.TaskService`` is a name inside databases.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import BTrees
from persistent import Persistent
from zope.interface import implementer

from lovely.remotetask import db
from lovely.remotetask import direct
from lovely.remotetask import events
from lovely.remotetask import listing
from lovely.remotetask import liveness
from lovely.remotetask import payload
from lovely.remotetask import processor
from lovely.remotetask import threads
from lovely.remotetask import wakeup
from lovely.remotetask.blocks import Blocks
from lovely.remotetask.clock import SYSTEM_CLOCK
from lovely.remotetask.clock import as_seconds
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host import PLAIN
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.interfaces import IQueuedService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.job import OwnAnnotations
from lovely.remotetask.keys import local
from lovely.remotetask.listing import QueueView
from lovely.remotetask.queue import JobQueue
from lovely.remotetask.schedule import check_delay
from lovely.remotetask.settings import PRIORITIES
from lovely.remotetask.startup import bootStrapSubscriber
from lovely.remotetask.startup import getAutostartServiceNames
from lovely.remotetask.task import check_against
from lovely.remotetask.workers import manual_worker

# 0.5.2 had the start-up in this module, and ZCML files name it here.
__all__ = ['TaskService', 'bootStrapSubscriber', 'getAutostartServiceNames']


# mypy-zope knows no IContained: zope.location ships no types.
@implementer(IQueuedService)  # type: ignore[misc]
class TaskService(OwnAnnotations, Persistent):
    """See ITaskService"""

    __parent__ = None
    __name__ = None

    taskInterface = ITask
    processorFactory = processor.SimpleProcessor
    processorArguments = {'waitTime': 1.0}  # noqa: RUF012
    family = BTrees.family32

    raiseErrors = False
    clock = SYSTEM_CLOCK
    host = PLAIN

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Blocks(self.family)
        self.jobqueue = JobQueue(self.jobs)

    def getAvailableTasks(self) -> dict[str, Any]:
        """See ITaskService"""
        return self.host.tasks(self, self.taskInterface)

    # -- add ------------------------------------------------------------------

    def add(self, task: str, input: Any = None, startLater: bool = False,
            jobClass: Callable[..., Any] | None = None, *, priority: int = 0,
            delay: float | None = None,
            runAt: datetime | None = None) -> int:
        """See ITaskService"""
        size = self._check_add(task, input, priority)
        _check_start(startLater, delay, runAt)
        job = self._new_job(jobClass or Job, task, input, size, priority)
        if startLater:
            self.jobqueue.shelve(job)
        elif runAt is not None:
            self.jobqueue.schedule_at(job, as_seconds(runAt))
        elif delay is not None:
            job.put(delay=delay)
            self.jobqueue.schedule(job, self.clock.now())
        else:
            self.jobqueue.enqueue(job)
        return self._added(job)

    def addCronJob(self, task: str, input: Any = None, minute: Any = (),
                   hour: Any = (), dayOfMonth: Any = (), month: Any = (),
                   dayOfWeek: Any = (), delay: float | None = None, *,
                   priority: int = 0) -> int:
        """See ITaskService"""
        size = self._check_add(task, input, priority)

        def make(jobid: int, task: str, input: Any) -> CronJob:
            return CronJob(jobid, task, input, minute, hour, dayOfMonth,
                           month, dayOfWeek, delay)

        # A trial: an impossible schedule must not draw an id.
        if make(0, task, None).next_run(0) is None:
            raise InvalidSchedule(
                'no schedule: give at least one of minute, hour, dayOfMonth, '
                'month, dayOfWeek, or a delay')
        job = self._new_job(make, task, input, size, priority)
        self.jobqueue.schedule(job, self.clock.now())
        return self._added(job)

    def _check_add(self, task: str, input: Any, priority: int) -> int:
        """Refuse what cannot work; returns the input's size (bytes)."""
        tasks = self.getAvailableTasks()
        if task not in tasks:
            # Exactly this: callers compare the type's name and the text.
            raise ValueError('Task does not exist')
        if type(priority) is not int or priority not in PRIORITIES:
            raise UsageError(f'priority is {priority!r}; give a whole number '
                             f'from {PRIORITIES[0]} to {PRIORITIES[-1]}')
        violations = check_against(
            getattr(tasks[task], 'inputSchema', None), input)
        if violations:
            raise InputRejected(
                f'the input does not fit the inputSchema of task {task!r}: '
                + '; '.join(violations))
        try:
            return payload.check(input, db.jar_of(self))
        except InputRejected as reason:
            raise InputRejected(
                f'the input for task {task!r} {reason}') from reason

    def _new_job(self, make: Callable[..., Any], task: str, input: Any,
                 size: int, priority: int) -> Any:
        job = make(self._generateId(), task, input)
        job.put(input=payload.wrap(input, size), createdAt=self.clock.now())
        if priority:
            job.put(priority=priority)
        self.jobs[job.id] = job
        return job

    def _added(self, job: Any) -> int:
        self._mark_input_at_commit(job)
        self._wake()
        events.notify(events.JobAdded(self, job))
        jobid: int = job.id
        return jobid

    def _mark_input_at_commit(self, job: Any) -> None:
        """Store the input as it is at commit.

        It may change after a savepoint has stored it already, without the
        database hearing of that.
        """
        db.before_commit(db.jar_of(self), _mark_input, job)

    def _wake(self) -> None:
        """Wake the processors of this process once this has committed."""
        jar = db.jar_of(self)
        if jar is not None:
            database = jar.db()
            db.after_commit(jar, ('wake', id(database)),
                            lambda: wakeup.ring(database))

    # -- change ---------------------------------------------------------------

    def _job(self, jobid: Any) -> Any:
        job = self.jobs.get(jobid)
        if job is None:
            raise JobNotFound(jobid)
        return job

    def startJob(self, jobid: int) -> bool:
        """See ITaskService"""
        job = self._job(jobid)
        if job.status != STARTLATER:
            return False
        self.jobqueue.enqueue(job)
        self._mark_input_at_commit(job)
        self._wake()
        return True

    def reschedule(self, jobid: int) -> None:
        """See ITaskService"""
        job = self._job(jobid)
        if job.status in FINAL:
            return
        self.jobqueue.schedule(job, self.clock.now())
        self._mark_input_at_commit(job)
        self._wake()

    def clean(self, status: Iterable[str] = (CANCELLED, ERROR, COMPLETED)
              ) -> None:
        """See ITaskService"""
        wanted = [status] if isinstance(status, str) else list(status)
        for one in wanted:
            if one not in FINAL:
                raise ValueError(f'Not allowed status for removing. {one}')
        for one in wanted:
            self.jobqueue.clean(one)

    def cancel(self, jobid: Any) -> None:
        """See ITaskService"""
        job = self.jobs.get(jobid)
        if job is not None and self.jobqueue.cancel(job):
            events.notify(events.JobCancelled(self, job))

    def retryJob(self, jobid: int) -> None:
        """See ITaskService"""
        self.jobqueue.retry(self._job(jobid), self.clock.now())
        self._wake()

    def pause(self) -> None:
        """See ITaskService"""
        if not self.jobqueue.paused:
            self.jobqueue.paused = True

    def resume(self) -> None:
        """See ITaskService"""
        if self.jobqueue.paused:
            self.jobqueue.paused = False
        self._wake()

    # -- look -----------------------------------------------------------------

    def getStatus(self, jobid: int) -> str:
        """See ITaskService"""
        status: str = self._job(jobid).status
        return status

    def getResult(self, jobid: int) -> Any:
        """See ITaskService"""
        return self._job(jobid).output

    def getError(self, jobid: int) -> str:
        """See ITaskService"""
        return str(self._job(jobid).error)

    def listJobs(self, status: str | None = None, task: str | None = None,
                 start: str | None = None,
                 limit: int = 50) -> tuple[list[Any], str | None]:
        """See ITaskService"""
        return self.jobqueue.page(status, task, start, limit)

    def stats(self) -> dict[str, Any]:
        """See ITaskService"""
        return listing.stats(self.jobqueue, self.clock.now())

    def listWorkers(self) -> list[dict[str, Any]]:
        """See ITaskService"""
        return listing.workers(self.jobqueue)

    def hasJobsWaiting(self, now: float | None = None) -> bool:
        """See ITaskService"""
        return self.jobqueue.has_waiting(self._look(now))

    @property
    def _queue(self) -> QueueView:
        """The jobs that wait, as a sequence: 0.5.2's queue, to look at."""
        return QueueView(self.jobqueue)

    def _look(self, now: float | None) -> float:
        """The moment of a look at the queue.

        A made-up ``now`` before a job was added moves that job's anchor.
        """
        if now is None:
            return self.clock.now()
        self.jobqueue.reanchor(now)
        return now

    # -- run here and now -----------------------------------------------------

    def claimNextJob(self, now: float | None = None) -> int | None:
        """See ITaskService"""
        worker = manual_worker()
        jar = db.jar_of(self)
        queue = self.jobqueue
        queue.enroll(worker.id, () if jar is None else
                     liveness.for_database(jar.db()).announce(), beats=False)
        slot = next((number for number, slot in queue.slots.items()
                     if slot.owner == worker.id), None)
        job = queue.claim(
            worker.token(), queue.take_slot(worker.id) if slot is None
            else slot, self._look(now))
        return None if job is None else job.id

    def processNext(self, now: float | None = None,
                    jobid: int | None = None) -> bool:
        """See ITaskService"""
        now = self._look(now)
        moment = now

        def pull() -> Any:
            if jobid is None:
                return self.jobqueue.pull(moment)
            job = self.jobs.get(jobid)
            ready = job is not None and job.status in (QUEUED, PROCESSING)
            return job if ready else None

        if jobid is None and not self.jobqueue.has_waiting(now):
            return False
        return direct.run_here(self, self.host, pull, now)

    def process(self, now: float | None = None) -> None:
        """See ITaskService"""
        while self.processNext(now):
            pass

    # -- run in a thread ------------------------------------------------------

    def startProcessing(self) -> None:
        """See ITaskService"""
        if self.__parent__ is None:
            return
        if db.jar_of(self) is None:
            raise ConfigurationError(
                f'service {self.__name__!r} is in no database yet: add it '
                f'to one and commit before you start it')
        threads.start_thread(self, self._threadName(),
                               self.host.path_of(self))

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
        return '.'.join(['remotetasks', *self.host.path_of(self)])

    # -- ids ------------------------------------------------------------------

    @property
    def _v_nextid(self) -> int | None:
        """The id this connection will try next; None: it draws one."""
        return local(self).next_id

    @_v_nextid.setter
    def _v_nextid(self, value: int | None) -> None:
        local(self).next_id = value

    def _generateId(self) -> int:
        """An id that is not taken: consecutive ones in this connection.

        Consecutive ids share a block, and only the connection that drew a
        block adds to it: that keeps concurrent adders apart.
        """
        mine = local(self)
        while True:
            drawn = mine.next_id is None
            if mine.next_id is None:
                mine.next_id = random.randrange(0, self.family.maxint)
            jobid = mine.next_id
            mine.next_id += 1
            if jobid == mine.own_end:
                mine.own_end = None
            enters = jobid % 16 == 0 and not drawn and mine.own_end is None
            if (jobid <= self.family.maxint and jobid not in self.jobs
                    and not (enters and self.jobs.has_block(jobid))):
                return jobid
            mine.next_id = None


def _mark_input(job: Any) -> None:
    job.mark_input()


def _check_start(startLater: bool, delay: float | None,
                 runAt: datetime | None) -> None:
    """Refuse ways to start that exclude each other."""
    chosen = [name for name, given in (
        ('startLater', startLater), ('delay', delay is not None),
        ('runAt', runAt is not None)) if given]
    if len(chosen) > 1:
        raise UsageError(f'{" and ".join(chosen)} exclude each other: give '
                         f'one of them')
    check_delay(delay)
    if runAt is not None and runAt.tzinfo is None:
        raise UsageError(f'runAt is {runAt!r}; give an aware datetime, one '
                         f'with a time zone')
