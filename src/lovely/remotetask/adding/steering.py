"""Steers what was added: the queue, its schedules, and when a job starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import events
from lovely.remotetask.adding import jobs
from lovely.remotetask.adding.options import find_submitter
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.limits import queue_named
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.peers.wakeup import notify_after_commit
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.store import batches
from lovely.remotetask.store import copies
from lovely.remotetask.store import declared
from lovely.remotetask.store.records import look
from lovely.remotetask.store.states import is_final

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

# The longest reason of a pause (characters): it is shown on each page.
_REASON_CHARS = 200


def pause(service: TaskService, reason: Any, queue: Any, resumeAt: Any
          ) -> None:
    """See ITaskService.pause"""
    if reason is not None and not (
            isinstance(reason, str) and 1 <= len(reason) <= _REASON_CHARS):
        raise UsageError(f'reason is {shown(reason)}; give a text of 1 to '
                         f'{_REASON_CHARS} characters, or None')
    until, now = None, service.clock.now()
    if resumeAt is not None:
        until = jobs.check_moment(resumeAt, 'resumeAt')
        if until <= now:
            raise UsageError(f'resumeAt is {shown(resumeAt)}; give a moment '
                             f'that is to come')
    rests = _what_rests(service, queue)
    standing = (service.jobqueue.pause_now(now) if queue is None
                else rests.pause(now))
    if standing is not None and reason is None and until is None:
        return
    if queue is None:
        service.jobqueue.paused = True
    rests.pausing = (find_submitter(service, service.host, None), now, reason,
                     until)
    notify_after_commit(service, caller.jar_of(service))


def _what_rests(service: TaskService, queue: Any) -> Any:
    """The record that notes a pause: of all queues, or of one.

    Raises: UsageError for the name of a queue that there is not.
    """
    if queue is None:
        return service.jobqueue
    name = queue_named(queue)
    if name is not None and name not in service.jobqueue.named:
        raise UsageError(f'there is no queue {queue!r} here; a queue is made '
                         f'at its first job')
    return service.jobqueue.ready_of(name)


def resume(service: TaskService, keep_jobs: bool, queue: Any = None) -> None:
    """See ITaskService.resume"""
    if queue is not None:
        ready = _what_rests(service, queue)
        if ready.pausing is not None:
            ready.pausing = None
        notify_after_commit(service, caller.jar_of(service))
        return
    if service.jobqueue.origin is not None:
        copies.settle_import(service.jobqueue, service.clock.now(), keep_jobs,
                             service.host.path_of(service))
    if service.jobqueue.paused:
        service.jobqueue.paused = False
        service.jobqueue.pausing = None
    notify_after_commit(service, caller.jar_of(service))


def cancel(service: TaskService, jobids: Iterable[Any]) -> int:
    """See ITaskService.cancelMany"""
    cancelled = 0
    for jobid in jobids:
        job = look(service.jobs, jobid)
        if job is not None and service.jobqueue.cancel(job):
            events.notify(events.JobCancelled(service, job))
            cancelled += 1
            if job.groupPlace is not None:
                # Where nothing runs but direct processing, nobody else looks.
                tell(service, batches.close_here(
                    service.jobqueue, job, service.clock.now()))
    return cancelled


def clean(service: TaskService, status: Iterable[str]) -> None:
    """See ITaskService.clean"""
    wanted = [status] if isinstance(status, str) else list(status)
    for one in wanted:
        if one not in FINAL:
            raise ValueError(f'Not allowed status for removing. {one}')
    for one in wanted:
        service.jobqueue.clean(one)


# --- schedules ---------------------------------------------------------------

def pause_schedule(service: TaskService, jobid: Any) -> None:
    """See ITaskService.pauseCronJob"""
    job = schedule_of(service, jobid)
    if job.enabled:
        service.jobqueue.pause_schedule(job)
        declared.note_person(service.jobqueue, job)


def resume_schedule(service: TaskService, jobid: Any) -> None:
    """See ITaskService.resumeCronJob"""
    job = schedule_of(service, jobid)
    if not job.enabled:
        service.jobqueue.resume_schedule(job, service.clock.now())
        declared.note_person(service.jobqueue, job)
        notify_after_commit(service, caller.jar_of(service))


def run_schedule(service: TaskService, jobid: Any) -> bool:
    """See ITaskService.runCronJob"""
    job = schedule_of(service, jobid)
    if not service.jobqueue.run_now(job, service.clock.now()):
        return False
    notify_after_commit(service, caller.jar_of(service))
    return True


def schedule_of(service: TaskService, jobid: Any,
                or_delay: bool = False) -> CronJob:
    """The cron job, which has a schedule.

    Arguments: ``or_delay``: it may have a delay instead.
    Raises: JobNotFound; UnreadableRecord; NewerRecord; UsageError for a job
    without a schedule; InvalidTransition for one that is over.
    """
    job = service._job(jobid)
    if not isinstance(job, CronJob) or not (job.recurring or or_delay):
        raise UsageError(
            f'job {job.id} is no cron job: it can be cancelled, and added '
            f'anew' if or_delay else
            f'job {job.id} is no schedule: it runs once; startNow() starts '
            f'it before its time')
    if is_final(job.status):
        raise InvalidTransition(job.id, str(job.status), CRONJOB)
    if service.jobqueue.is_replaced(job):
        raise UsageError(f'job {job.id} is no schedule any more: another job '
                         f'has got its key while it ran, and it ends with '
                         f'that run')
    return job


def reschedule(service: TaskService, jobid: Any) -> None:
    """See ITaskService.reschedule"""
    job = service._job(jobid)
    if not is_final(job.status):
        service.jobqueue.schedule(job, service.clock.now())
        _placed(service, job)


# --- when a job starts -------------------------------------------------------

def start_job(service: TaskService, jobid: Any) -> bool:
    """See ITaskService.startJob"""
    job = service._job(jobid)
    if job.status != STARTLATER:
        return False
    service.jobqueue.enqueue(job)
    _placed(service, job)
    return True


def _placed(service: TaskService, job: Job) -> None:
    jar = caller.jar_of(service)
    jobs.mark_input_at_commit(jar, job)
    notify_after_commit(service, jar)


def start_now(service: TaskService, jobid: Any) -> bool:
    """See ITaskService.startNow"""
    job = service._job(jobid)
    if job.status == CRONJOB:
        raise UsageError(f'job {job.id} is a schedule; runCronJob() adds a '
                         f'run of it')
    if not service.jobqueue.start_now(job):
        return False
    notify_after_commit(service, caller.jar_of(service))
    return True
