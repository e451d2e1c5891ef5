"""How a run ends that has not finished: given back, left to others, failed.

A failure is stored in a transaction of its own, until it is stored.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from transaction.interfaces import TransientError

from lovely.remotetask import context
from lovely.remotetask import events
from lovely.remotetask.edge import db
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import SubmitterGone
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.wakeup import tell
from lovely.remotetask.run import report
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.conflicts import IN_A_ROW
from lovely.remotetask.run.conflicts import is_of_queue
from lovely.remotetask.run.crowd import Crowd
from lovely.remotetask.run.finder import Finder
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.run.followers import Followers
from lovely.remotetask.run.lacking import Lacking
from lovely.remotetask.run.lacking import is_given_up
from lovely.remotetask.run.notes import Notes
from lovely.remotetask.run.notes import note_of
from lovely.remotetask.run.run_times import RunTimes
from lovely.remotetask.run.steps import HookFailed
from lovely.remotetask.run.steps import TaskMissing
from lovely.remotetask.run.steps import Verdict
from lovely.remotetask.run.steps import call_hook
from lovely.remotetask.run.steps import failed_context
from lovely.remotetask.run.steps import is_by_person
from lovely.remotetask.run.steps import judge
from lovely.remotetask.run.steps import policy_of
from lovely.remotetask.run.steps import store_failure
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from transaction.interfaces import TransientError
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# How long a run backs off, at first and at most (seconds; doubles).
_BACKOFF_FIRST = 0.05
BACKOFF_LAST = 5.0

#: How often we try to store a failure, and to run a job where the storage has
#: failed, with a growing back-off: that outlasts some minutes.
STORE_TRIES = 100

jitter = random.SystemRandom()


class Failing(Finder):
    """The part of an executor that ends runs which have not finished.

    Arguments: as Finder's.
    Attributes: those of Finder; ``stopping``, an event: once it is set no
    attempt follows; ``run_times`` (RunTimes), how long each task takes;
    ``crowd`` (Crowd), how many threads run one task at once;
    ``notes`` (Notes), how its runs have ended;
    ``lacking`` (Lacking), what cannot be run here; ``followers`` (Followers),
    what comes after its jobs.
    """

    def __init__(self, database: DB, path: Sequence[str], host: IHost) -> None:
        super().__init__(database, path, host)
        self.stopping = threading.Event()
        self.run_times = RunTimes()
        self.crowd = Crowd()
        self.notes = Notes()
        self.lacking = Lacking(self.run_times)
        self.followers = Followers(self)

    def give_back(self, claim: Claim, began: float | None = None,
                  begun: bool = True, reason: object = '') -> bool:
        """Put a claimed job back, uncharged; False if it is not ours.

        Arguments: ``began``, when its run began (monotonic seconds); None: the
        log does not tell of it; ``begun``: False: it was no attempt: the run
        has not begun, or it has conflicted; ``reason``, of a run whose job is
        not ours, for the log.
        Txn: a short one of its own.
        """
        def put_back(service: TaskService) -> bool:
            job = look(service.jobs, claim.jobid)
            if job is None or job.claim != claim.token:
                return False
            if begun and self.stopping.is_set():
                service.jobqueue.give_back(job, service.clock.now())
            else:
                service.jobqueue.requeue(job, begun)
            return True

        try:
            given = self.write(
                put_back, f'remotetask job {claim.jobid} given back',
                moved=True)
        except ServiceGone:
            given = False       # deleted, and its jobs with it
        if given:
            wakeup.notify(self.home)
        if began is not None:
            report.ended(claim, 'given back' if given else 'dropped',
                         report.since(began), '' if given else reason)
        return given

    def disturbed(self, claim: Claim, began: float, error: TransientError
                  ) -> bool:
        """Note a run that has conflicted.

        Returns: True if its job is to be given back, because more threads run
        its task than that bears.
        """
        self.run_times.rerun(claim.task)
        if is_of_queue(error):
            return False        # the task has met no other
        self.crowd.conflicted(claim.task, began)
        return self.crowd.is_over(claim.task)

    def _leave(self, claim: Claim, error: WrongWorker) -> bool:
        """Leave a job to other workers; False: none has been able to for long.

        Txn: a short one of its own.
        """
        def leave(service: TaskService) -> bool:
            job, now = self.own(service, claim), service.clock.now()
            if is_given_up(job, now):
                return False
            if isinstance(error, TaskMissing):
                self.lacking.lacks_task(job.task, now)
            else:
                self.lacking.lacks_part(job, error, now)
            service.jobqueue.requeue(job, begun=False)
            return True

        try:
            left = self.write(leave, f'remotetask job {claim.jobid} left')
        except (LeaseLost, ServiceGone):
            return True
        if left:
            wakeup.notify(self.home)
        return left

    @contextmanager
    def transaction(self, session: db.Session) -> Iterator[TaskService]:
        """Begin a fresh transaction; gives the service in it.

        Txn: an exception aborts it, and ends the guard.
        """
        session.begin()
        try:
            yield self.service(session.connection)
        except BaseException:
            # At once: SQL managers that have joined may hold locks.
            session.guard(None)
            session.abort()
            raise

    def own(self, service: TaskService, claim: Claim) -> Job:
        """The job, if it still is ours; raises LeaseLost."""
        return ours(look(service.jobs, claim.jobid), claim)

    def is_ours(self, claim: Claim) -> bool:
        """Is the job ours, in a snapshot of its own?"""
        try:
            db.read(self.database, lambda connection: self.own(
                self.by_oid(connection), claim))
        except (LeaseLost, ServiceGone):
            return False
        except Exception:
            return True         # unknown: the database does not answer
        return True

    def back_off(self, conflicts: int) -> None:
        over = conflicts - IN_A_ROW
        if over >= 0:
            bound = min(_BACKOFF_FIRST * 2 ** min(over, 10), BACKOFF_LAST)
            self.stopping.wait(jitter.uniform(0, bound))

    def fail(self, claim: Claim, error: BaseException,
             session: db.Session, seconds: float | None = None) -> None:
        """Store a failure in a transaction of its own, until it is stored.

        Arguments: ``seconds``, how long the run took.
        The writes of the attempt are gone; those of subscribers are committed
        with the error, unless a subscriber fails.
        """
        verdict: Verdict | None = None
        current: context.JobContext | None = None
        try:
            verdict, current = self._judge(claim, error)
        except (LeaseLost, ServiceGone):
            # The error of a run that was cancelled is not stored.
            report.ended(claim, 'dropped', seconds, error)
            return
        except Exception:
            trace.debug('job %s: the database does not answer', claim.jobid)
        if isinstance(error, WrongWorker) and self._leave(claim, error):
            report.ended(claim, 'left', seconds, error)
            return
        with context.running(current):
            report.failed(claim, verdict or Verdict(error), seconds,
                          verdict is not None)
        telling = hooked = True
        for tries in range(1, STORE_TRIES + 1):
            try:
                verdict = verdict or self._judge(claim, error)[0]
                self._store_failure(claim, verdict, session, telling,
                                    error if hooked else None, seconds)
                # An idle worker has to know when the next attempt is due.
                wakeup.notify(self.home)
                return
            except LeaseLost as reason:
                report.ended(claim, 'dropped', seconds, reason)
                return
            except ServiceGone:
                self.give_back(claim)
                return
            except TransientError:
                self.back_off(tries)
            except HookFailed as reason:
                hooked = False
                with context.running(current):
                    log.error('%s', reason, exc_info=reason.__cause__)
            # Not Exception: a subscriber may raise SystemExit.
            except BaseException as reason:
                if is_by_person(reason):
                    self.give_back(claim)
                    raise
                # The job must not stay claimed for ever: a full disk or a
                # lost connection may pass.
                if telling and not session.is_of_storage(reason):
                    log.exception('Job %s has failed, and storing that '
                                  'failed as well; trying again without '
                                  'subscribers', claim.jobid)
                    telling = False
                self.back_off(IN_A_ROW + tries)
        log.error('Job %s has failed, and that could not be stored; it stays '
                  'claimed', claim.jobid)

    def _store_failure(self, claim: Claim, verdict: Verdict,
                       session: db.Session, telling: bool,
                       hooked: BaseException | None,
                       seconds: float | None) -> None:
        with self.transaction(session) as service:
            job = self.own(service, claim)
            # Where the principal or the task is missing, the failure is stored
            # as the system.
            known = telling and not isinstance(
                verdict.error, SubmitterGone | WrongWorker)
            with self.host.running(
                    service, job if known else None) as seen:
                if hooked is not None:
                    call_hook(seen, self.host, job, hooked)
                    # It may have ended the transaction.
                    job = self.own(service, claim)
                now = service.clock.now()
                note = note_of(job, seconds or 0.0, now, failed=True)
                event, added = store_failure(
                    seen, job, verdict, now, claim.slot)
                if telling:
                    events.notify(event)
                    tell(seen, added)
                session.describe(job.submitter or '',
                                 f'{job.task} job {claim.jobid} failed')
                session.commit()
                if isinstance(event, events.JobFailed):
                    self.notes.ended[claim.slot].append(note)
                self.followers.ended(job)

    def _judge(self, claim: Claim, error: BaseException
               ) -> tuple[Verdict, context.JobContext]:
        """How the run ends, in a snapshot of its own; see steps.judge.

        Returns: that, and what currentJob() is to give meanwhile.
        Raises: LeaseLost where the job is no longer ours; ServiceGone; what
        the database raises.
        """
        def in_snapshot(connection: Connection
                        ) -> tuple[Verdict, context.JobContext]:
            service = self.service(connection)
            job = self.own(service, claim)
            with self.host.running(service, None) as seen:
                task = self.host.task(seen, seen.taskInterface, job.task)
                return judge(
                    error, job.task, service.clock.now(),
                    lambda: policy_of(task, job, error, self.host).delay(
                        job.failures + 1, jitter)), failed_context(seen, job)

        return db.read(self.database, in_snapshot)


def ours(job: Job | None, claim: Claim) -> Job:
    """The job, if it runs under this claim; raises LeaseLost."""
    if job is None or job.claim != claim.token:
        raise LeaseLost(f'job {claim.jobid} is no longer ours')
    return job
