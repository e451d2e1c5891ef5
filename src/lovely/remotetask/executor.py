"""Running one job: small named steps over one record.

A run ends in exactly one way: finished, failed, parked for another attempt,
cancelled, or dropped because it is no longer ours.  ``Runner`` is what workers
use, a claim and a transaction of its own for each run; the steps it shares
with direct processing come first.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import db
from lovely.remotetask import events
from lovely.remotetask import payload
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import TaskError
from lovely.remotetask.job import Failure
from lovely.remotetask.retry import DEFAULT_POLICY
from lovely.remotetask.settings import BACKOFF_FIRST
from lovely.remotetask.settings import BACKOFF_LAST
from lovely.remotetask.settings import CONFLICTS_BEFORE_BACKOFF
from lovely.remotetask.settings import MISSING_FIRST
from lovely.remotetask.settings import MISSING_GIVE_UP
from lovely.remotetask.settings import MISSING_LAST
from lovely.remotetask.settings import SHORTEST_REST
from lovely.remotetask.settings import STORE_TRIES
from lovely.remotetask.settings import log
from lovely.remotetask.settings import trace
from lovely.remotetask.task import check_against
from lovely.remotetask.task import task_option
from lovely.remotetask.workers import DIRECT
from lovely.remotetask.workers import Identity

_jitter = random.SystemRandom()


class TaskMissing(RuntimeFault):
    """No task has the name that the job asks for."""


class ServiceGone(RuntimeFault):
    """There is no service at the path a worker was given."""


@dataclass(frozen=True)
class Claim:
    """A job that is ours to run, as long as it carries the token."""

    jobid: int
    token: tuple[str, int]


# --- steps that direct processing shares -------------------------------------

def find_task(service: Any, host: Any, name: str) -> Any:
    """The task utility of a job; raises TaskMissing."""
    task = host.tasks(service, service.taskInterface).get(name)
    if task is None:
        raise TaskMissing(f'Task "{name}" not found!')
    return task


def call_task(service: Any, host: Any, job: Any) -> tuple[Any, int]:
    """Run the task and check what it returned.

    Returns: the output and about how long it is (bytes).
    Raises: what the task raises; TaskError for a result that does not fit
    its schema or cannot be stored.
    """
    task = find_task(service, host, job.task)
    output = task(service, job.id, job.input)
    violations = check_against(getattr(task, 'outputSchema', None), output)
    if violations:
        raise TaskError('the result does not fit the task\'s outputSchema: '
                        + '; '.join(violations))
    try:
        return output, payload.check(output, db.jar_of(service))
    except InputRejected as reason:
        raise TaskError(f'the result cannot be stored: {reason}') from reason


def tell(error: BaseException) -> None:
    """Log a failed attempt as 0.5.2 did: once, with the traceback."""
    if isinstance(error, TaskMissing):
        log.error('%s', error)
    elif not isinstance(error, TaskError | RetryLater | CancelJob):
        log.error('Caught a generic exception, preventing thread from '
                  'crashing', exc_info=error)


def rest(error: RetryLater, now: float) -> float:
    """Until when a job that asked for it rests."""
    if error.when is not None:
        return max(error.when.timestamp(), now + SHORTEST_REST)
    return now + max(error.delay or 0.0, SHORTEST_REST)


def settle(service: Any, job: Any, error: BaseException, now: float,
           retry_delay: float | None, slot: int = DIRECT) -> Any:
    """Store how a run failed.

    Arguments: ``retry_delay``, seconds until another attempt; None: the
    error is final.
    Returns: the event that tells of it, or None.
    """
    queue = service.jobqueue
    if isinstance(error, RetryLater):
        queue.park(job, rest(error, now))
        return events.JobRetried(service, job)
    if isinstance(error, CancelJob):
        queue.cancel(job)
        return events.JobCancelled(service, job)
    failure = Failure.of(error, job.attempts or 0, now)
    if retry_delay is not None:
        # Nobody's code has failed where there was none to run.
        queue.park(job, now + retry_delay, failure,
                   charged=not isinstance(error, TaskMissing))
        return events.JobRetried(service, job)
    queue.fail(job, failure, now, slot)
    return events.JobFailed(service, job)


# --- in transactions of our own ----------------------------------------------

class Runner:
    """Claims and runs the jobs of one service.

    Arguments: ``database`` (ZODB.DB); ``path`` (sequence of str), where the
    service is; ``host`` (IHost); ``participation``, a callable that makes the
    participation of a run's interaction.
    Attributes: ``stopping``, an event; once it is set no attempt follows.
    """

    def __init__(self, database: Any, path: Sequence[str], host: Any,
                 participation: Callable[[], Any]) -> None:
        self.database = database
        self.path = path
        self.host = host
        self.participation = participation
        self.stopping = threading.Event()
        self.identity = Identity('worker')
        self._slots: list[int] = []

    def service(self, connection: Any) -> Any:
        """The service, through this connection; raises ServiceGone."""
        service = self.host.find_service(connection, self.path)
        if service is None:
            raise ServiceGone(f'there is no service at {"/".join(self.path)}')
        return service

    # -- claim ----------------------------------------------------------------

    def claim(self, jobid: int | None = None) -> Claim | None:
        """Take a job: the next one, or this one if it is queued or claimed.

        Txn: a short one of its own, retried alone.
        """
        def take(connection: Any) -> Claim | None:
            service = self.service(connection)
            now = service.clock.now()
            # Looking writes nothing: an idle worker commits nothing.
            if jobid is None and not service.jobqueue.has_waiting(now):
                return None
            token = self.identity.token()
            job = service.jobqueue.claim(token, now, jobid)
            return None if job is None else Claim(job.id, token)

        claimed: Claim | None = db.write(self.database, take)
        return claimed

    @contextmanager
    def _slot(self) -> Iterator[int]:
        """A slot that no other thread has meanwhile.

        Txn: the first time one of its own.
        """
        try:
            # list.pop is atomic: no two threads get one slot.
            slot = self._slots.pop()
        except IndexError:
            slot = db.write(self.database, lambda connection: self.service(
                connection).jobqueue.take_slot(self.identity.id))
        try:
            yield slot
        finally:
            self._slots.append(slot)

    def leave(self) -> None:
        """Give the slots back, when no thread of this worker runs any more.

        Txn: one of its own.
        """
        with suppress(ServiceGone):
            db.write(self.database, lambda connection: self.service(
                connection).jobqueue.leave(self.identity.id))
        self._slots.clear()

    # -- run ------------------------------------------------------------------

    def run(self, claim: Claim) -> None:
        """Run a claimed job to its end, whatever the task does.

        Txn: one per attempt; a conflict runs the task again from the start,
        uncharged, and is no error.
        """
        with self._slot() as slot:
            self._run(claim, slot)

    def _run(self, claim: Claim, slot: int) -> None:
        conflicts = 0
        while True:
            try:
                self._attempt(claim, slot)
                return
            except TransientError as error:
                conflicts += 1
                trace.debug('job %s: conflict %s: %s', claim.jobid,
                            conflicts, error)
                self._back_off(conflicts)
                if self.stopping.is_set():
                    # It may conflict for ever; another worker, or the next
                    # start, goes on with it.
                    self.give_back(claim)
                    return
            except (LeaseLost, ServiceGone) as error:
                trace.info('job %s: dropped: %s', claim.jobid, error)
                return
            except KeyboardInterrupt:
                # Somebody at a terminal stops us, not the task.
                self.give_back(claim)
                raise
            except BaseException as error:
                tell(error)
                self._fail(claim, error, slot)
                return

    def give_back(self, claim: Claim) -> None:
        """Put a claimed job back among the ready ones, if it is ours."""
        def put_back(connection: Any) -> None:
            service = self.service(connection)
            job = service.jobs.get(claim.jobid)
            if job is not None and job.claim == claim.token:
                job.put(claim=None)
                service.jobqueue.enqueue(job)

        db.write(self.database, put_back)

    def _attempt(self, claim: Claim, slot: int) -> None:
        with db.session(self.database) as session:
            service = self.service(session.connection)
            job = self._own(service, claim)
            with self.host.running(service, job, self.participation):
                events.notify(events.JobStarted(service, job))
                output, size = call_task(service, self.host, job)
                # The task may have ended its transaction: look again, in
                # the one that is going to be committed.
                job = self._own(service, claim)
                service.jobqueue.finish(
                    job, output, size, service.clock.now(), slot)
                events.notify(events.JobFinished(service, job))
                session.describe('', f'{job.task} job {claim.jobid}')
                session.commit()

    def _own(self, service: Any, claim: Claim) -> Any:
        """The job, if it still is ours; raises LeaseLost."""
        job = service.jobs.get(claim.jobid)
        if job is None or job.claim != claim.token:
            raise LeaseLost(f'job {claim.jobid} is no longer ours')
        return job

    def _back_off(self, conflicts: int) -> None:
        over = conflicts - CONFLICTS_BEFORE_BACKOFF
        if over >= 0:
            bound = min(BACKOFF_FIRST * 2 ** min(over, 10), BACKOFF_LAST)
            self.stopping.wait(_jitter.uniform(0, bound))

    # -- fail -----------------------------------------------------------------

    def _fail(self, claim: Claim, error: BaseException,
              slot: int) -> None:
        """Store a failure in a transaction of its own, until it is stored.

        The attempt's writes are gone; what subscribers write is committed
        with the error, unless they fail themselves.
        """
        telling = True
        for tries in range(1, STORE_TRIES + 1):
            try:
                self._store_failure(claim, error, slot, telling)
                return
            except (LeaseLost, ServiceGone) as reason:
                trace.info('job %s: dropped: %s', claim.jobid, reason)
                return
            except TransientError:
                self._back_off(tries)
            except Exception:
                # The job must not stay claimed for ever: a full disk or a
                # lost connection may pass.
                if telling:
                    log.exception('Job %s has failed, and storing that '
                                  'failed as well; trying again without '
                                  'subscribers', claim.jobid)
                telling = False
                self._back_off(CONFLICTS_BEFORE_BACKOFF + tries)
        log.error('Job %s has failed, and that could not be stored; it stays '
                  'claimed', claim.jobid)

    def _store_failure(self, claim: Claim, error: BaseException, slot: int,
                       telling: bool) -> None:
        with db.session(self.database) as session:
            service = self.service(session.connection)
            job = self._own(service, claim)
            with self.host.running(service, job, self.participation):
                now = service.clock.now()
                event = settle(service, job, error, now,
                               self._retry_delay(service, job, error, now),
                               slot)
                if telling:
                    events.notify(event)
                session.describe('', f'{job.task} job {claim.jobid} failed')
                session.commit()

    def _retry_delay(self, service: Any, job: Any, error: BaseException,
                     now: float) -> float | None:
        """Seconds until the next attempt; None: the error is final."""
        if isinstance(error, TaskMissing):
            return self._missing_delay(job, now)
        if isinstance(error, TaskError):
            return None
        tasks = self.host.tasks(service, service.taskInterface)
        policy = (task_option(tasks.get(job.task), 'retry')
                  or DEFAULT_POLICY)
        delay: float | None = policy.delay(job.failures + 1, _jitter)
        return delay

    def _missing_delay(self, job: Any, now: float) -> float | None:
        """A missing task may be about to be registered: a deployment."""
        since = job.missing or now
        job.put(missing=since)
        if now - since >= MISSING_GIVE_UP:
            return None
        # Doubles with the time that has passed already.
        return min(max(MISSING_FIRST, now - since), MISSING_LAST)
