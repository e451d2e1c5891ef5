"""Processors: what a service's thread runs.

Factories stay what they were in 0.5.2: ``factory(db, servicePath, **args)``
gives a callable that runs until its thread's ``running`` is False.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ZODB.POSException import ConflictError
from zope.interface import implementer

from lovely.remotetask import db as database_edge
from lovely.remotetask import events
from lovely.remotetask import monitor
from lovely.remotetask import threads
from lovely.remotetask import wakeup
from lovely.remotetask.clock import SYSTEM_CLOCK
from lovely.remotetask.executor import Claim
from lovely.remotetask.executor import ServiceGone
from lovely.remotetask.host import PLAIN
from lovely.remotetask.interfaces import IProcessor
from lovely.remotetask.settings import BACKOFF_LAST
from lovely.remotetask.settings import BROKEN_FIRST
from lovely.remotetask.settings import SERVICE_PATIENCE
from lovely.remotetask.settings import WAIT_FLOOR
from lovely.remotetask.settings import log
from lovely.remotetask.settings import trace
from lovely.remotetask.worker import Worker
from lovely.remotetask.workers import LOOP

# Kept for those who import it.  Nothing sleeps for it any more: it capped
# MultiProcessor below 20 jobs a second.
THREAD_STARTUP_WAIT = 0.05

ERROR_MARKER = object()

# An application asks "am I in a job?" by isinstance(participation,
# ProcessorRequest) and registers multi-adapters for it, so it is a request
# where there are requests.
try:
    from zope.publisher.base import BaseRequest
except ImportError:
    BaseRequest = None


class _Participation:
    """A participation where zope.publisher is not installed."""

    interaction = None
    principal = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def setPrincipal(self, principal: Any) -> None:
        """See zope.publisher.interfaces.IPublicationRequest"""
        self.principal = principal


if BaseRequest is None:
    ProcessorRequest: Any = type(
        'ProcessorRequest', (_Participation,),
        {'__doc__': 'The participation in which a job runs.',
         '__module__': __name__})
else:
    class ProcessorRequest(BaseRequest):  # type: ignore[no-redef]
        """The participation in which a job runs: a request of nobody's."""

        def __init__(self, *args: Any) -> None:
            super().__init__(None, {}, positional=args)


class ProcessorPublication:
    """How 0.5.2 published a job; kept for those who import or subclass it.

    Argument: ``db``, the ZODB database.  Nothing here calls it.
    """

    def __init__(self, db: Any) -> None:
        self.db = db


@implementer(IProcessor)
class SimpleProcessor:
    """Runs one job at a time.  See IProcessor"""

    #: The IHost in whose way jobs are run; a framework's room replaces it.
    host = PLAIN

    #: How many jobs run at once.
    maxThreads = 1

    def __init__(self, db: Any, servicePath: Sequence[str],
                 waitTime: float = 1.0) -> None:
        self.db = db
        self.servicePath = servicePath
        self.waitTime = waitTime
        self.worker = Worker(db, servicePath, self.host, ProcessorRequest)
        self._claims: dict[int, Claim] = {}
        self._bell = wakeup.listen(db)
        self._next: Claim | None = None
        self._looping: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """See IProcessor"""
        return getattr(threading.current_thread(), 'running', False)

    def call(self, method: str, args: Sequence[Any] = (),
             errorValue: Any = ERROR_MARKER) -> Any:
        """Call a method of the service in a transaction of its own.

        Arguments: ``method``, its name; ``args``, positional;
        ``errorValue``, what to return after an exception.
        Returns: what the method returned; after an exception, which is
        logged, ``errorValue`` or else the exception.  Never raises.
        Txn: committed here.  Source: 0.5.2.
        """
        try:
            with database_edge.session(self.db) as session:
                service = self.worker.executor.service(session.connection)
                with self.host.running(service, None, ProcessorRequest):
                    result = getattr(service, method)(*args)
                    session.commit()
                    return result
        except Exception as error:
            log.exception('Processor: ``%s()`` caused an error!', method)
            return error if errorValue is ERROR_MARKER else errorValue

    def hasJobsWaiting(self) -> bool:
        """Is there a job to run?  False after an error, which is logged."""
        return bool(self.call('hasJobsWaiting', errorValue=False))

    def claimNextJob(self) -> int | None:
        """Claim a job for this processor; run it by ``processNext(id)``.

        Returns: its id, or None.
        """
        claim = self.worker.claim()
        if claim is None:
            return None
        self._claims[claim.jobid] = claim
        return claim.jobid

    def processNext(self, jobid: int | None = None) -> bool:
        """Run a job: the next one, or this one if it is queued or claimed.

        Returns: True if a job was run, else False.
        Txn: the claim and the run have one of their own each.
        """
        # Not ``if jobid``: 0 is an id like any other.
        if jobid is not None:
            claim = self._claims.pop(jobid, None)
        else:
            claim, self._next = self._next, None
        if claim is None:
            claim = self.worker.claim(jobid)
        if claim is None:
            return False
        if threading.current_thread() is self._looping:
            # Only the loop is sure to come back for the job that follows.
            self._next = self.worker.run(claim, chain=True)
            return True
        with monitor.watching(self.worker):
            self.worker.run(claim)
        return True

    # -- the loop -------------------------------------------------------------

    def __call__(self) -> None:
        """See IProcessor"""
        thread = threading.current_thread()
        # stopProcessing() sets them together with thread.running, so that
        # nobody waits for us to wake up, nor for an attempt to follow.
        thread.stopping = self.worker.stopping  # type: ignore[attr-defined]
        thread.bell = self._bell  # type: ignore[attr-defined]
        self._looping = thread
        running = threads.Loop(thread, self.worker)
        threads.loops.add(running)
        self._resize_pool(1)
        events.notify(events.WorkerStarted(self.worker.identity.id))
        try:
            self._loop()
        finally:
            self._wind_up()
            self._leave()
            self._resize_pool(-1)
            # The thread may outlive the loop by a moment; it runs no more.
            thread.running = False  # type: ignore[attr-defined]
            running.ended.set()
            events.notify(events.WorkerStopped(self.worker.identity.id))

    def _resize_pool(self, sign: int) -> None:
        """Make room for our connections beside the application's.

        Each thread has one while its job runs; claims, and looks at other
        workers, have one each.  ZODB warns when a pool is exceeded.
        """
        with threads.starting:
            self.db.setPoolSize(
                self.db.getPoolSize() + sign * (self.maxThreads + 2))

    def _leave(self) -> None:
        try:
            if self._next is not None:
                self.worker.give_back(self._next)
            monitor.unwatch(self.worker)
            self.worker.leave()
        except Exception:
            # The database may be gone already; others find that we are.
            trace.exception('%s has left without a word',
                            self.worker.identity.id)

    def _loop(self) -> None:
        broken = 0.0
        seen = watched = False
        patience = SYSTEM_CLOCK.monotonic() + SERVICE_PATIENCE
        while self.running:
            # Cleared before the look: a job added during it rings again.
            self._bell.clear()
            try:
                if not watched:
                    self.worker.enroll(LOOP, self.maxThreads)
                    monitor.watch(self.worker)
                    watched = True
                worked = self._work()
                seen, broken = True, 0.0
            except ServiceGone as error:
                late = SYSTEM_CLOCK.monotonic() > patience
                if seen or late:
                    log.error('%s any more: its processor stops; start the '
                              'service again once it is back', error)
                    return
                worked = False
            except ConflictError:
                continue        # others were faster, CLAIM_TRIES times
            except Exception as error:
                # Once per kind of trouble, not once per look.
                if not broken:
                    log.error('Processor: the database failed; trying again '
                              'until it answers', exc_info=error)
                broken = min(max(BROKEN_FIRST, broken * 2), BACKOFF_LAST)
                self._bell.wait(broken)
                continue
            if not worked and self.running:
                wait = max(self.waitTime, WAIT_FLOOR)
                # The owner of a lane may be too busy for what lies there.
                help_at = self.worker.waits_for
                self._bell.wait(wait if help_at is None
                                else min(wait, help_at))

    def _work(self) -> bool:
        """Run what there is to run, at most one job; False: nothing."""
        return self.processNext()

    def _wind_up(self) -> None:
        """What is left to do when the loop has ended."""


class MultiProcessor(SimpleProcessor):
    """Runs several jobs at once, each in a thread.  See IProcessor

    Arguments: ``maxThreads`` (int), how many at most.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.maxThreads = kwargs.pop('maxThreads', 5)
        super().__init__(*args, **kwargs)
        #: The threads at work.
        self.threads: list[threading.Thread] = []

    def _work(self) -> bool:
        if len(self.threads) >= self.maxThreads:
            return False
        claim = self.worker.claim()
        if claim is None:
            return False
        # Not named remotetasks.*: applications count the services by that.
        thread = threading.Thread(
            target=self._run, args=(claim,), daemon=True,
            name=f'remotetask-job-{claim.jobid}')
        self.threads.append(thread)
        thread.start()
        return True

    def _run(self, claim: Claim) -> None:
        try:
            following: Claim | None = claim
            while following is not None:
                following = self.worker.run(following, chain=True)
        finally:
            # Before the ring: the loop may be waiting for a free thread,
            # and this one is alive for another moment.
            self.threads.remove(threading.current_thread())
            self._bell.set()

    def _wind_up(self) -> None:
        # Whoever joins the named thread waits for its jobs as well.
        for thread in list(self.threads):
            thread.join()
