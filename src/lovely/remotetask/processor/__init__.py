"""Processors: the targets of services' threads.

A factory is called as in 0.5.2: ``factory(db, servicePath, **args)`` gives a
callable that runs until the ``running`` of its thread is False.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING
from typing import Any

from ZODB.POSException import ConflictError
from zope.interface import implementer

from lovely.remotetask import events
from lovely.remotetask.edge import db as database_edge
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.host import current as current_host
from lovely.remotetask.host.interaction import ProcessorRequest
from lovely.remotetask.host.paths import show
from lovely.remotetask.interfaces import IProcessor
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.forks import OpenedBeforeFork
from lovely.remotetask.peers.wakeup import WAIT_FLOOR
from lovely.remotetask.processor.publication import ProcessorPublication
from lovely.remotetask.run import lacking
from lovely.remotetask.run import monitor
from lovely.remotetask.run import threads
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.failing import BACKOFF_LAST
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.run.finder import cure
from lovely.remotetask.run.served import serves
from lovely.remotetask.run.worker import Worker
from lovely.remotetask.store.workers import LOOP

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost

# A processor that waits for a job's time looks no more often than this
# (seconds).
_DUE_FLOOR = 0.01

# How long (seconds) a processor looks for a service that it has never seen:
# startProcessing() may be called in the transaction that adds the service.
_SERVICE_PATIENCE = 30.0

# How long (seconds) a processor waits after a first error of the database;
# doubles up to BACKOFF_LAST.
_BROKEN_FIRST = 0.1

# Applications import ProcessorRequest from here, as in 0.5.2.
__all__ = ['ERROR_MARKER', 'THREAD_STARTUP_WAIT', 'MultiProcessor',
           'ProcessorPublication', 'ProcessorRequest', 'SimpleProcessor']

# Applications import it.  No thread sleeps for it any more.
THREAD_STARTUP_WAIT = 0.05

ERROR_MARKER = object()


@implementer(IProcessor)
class SimpleProcessor:
    """Runs one job at a time.  See IProcessor

    Arguments: ``waitTime`` (seconds), how often it looks where no notification
    comes; ``queues``, ``notQueues``, see run.served.serves.
    """

    #: The IHost that runs the jobs; None: that of the path, or else that of
    #: the thread that makes the processor.
    host: IHost | Any = None

    #: How many jobs run at once.
    maxThreads = 1

    #: The event that wakes the loop; None: one of its own.
    wakeEvent: wakeup.WakeEvent | None = None

    def __init__(self, db: DB, servicePath: Sequence[str],
                 waitTime: float = 1.0, *,
                 queues: Sequence[str] | None = None,
                 notQueues: Sequence[str] = ()) -> None:
        self.db = db
        self.servicePath = servicePath
        # Refused here, in the caller's thread: the loop would end by it.
        if not is_seconds(waitTime):
            raise UsageError(f'waitTime is {shown(waitTime)}; give {SECONDS}')
        self.waitTime = waitTime
        self.host = (self.host or getattr(servicePath, 'host', None)
                     or current_host())
        self.worker = Worker(db, servicePath, self.host)
        self.worker.served.queues = serves(queues, notQueues)
        self._claims: dict[int, Claim] = {}
        self._thread: threading.Thread | None = None
        self._listener = wakeup.listen(self.worker.home, self.wakeEvent)
        # How long (seconds) to wait after an error; 0: there was none.
        self._broken = 0.0
        self._seen = self._watched = False
        # Until then (monotonic seconds) the service may still be missing.
        self._patience = 0.0

    @property
    def running(self) -> bool:
        """See IProcessor"""
        return getattr(threading.current_thread(), 'running', False)

    def call(self, method: str, args: Sequence[Any] = (),
             errorValue: Any = ERROR_MARKER) -> Any:
        """Call a method of the service in a transaction of its own.

        Arguments: ``method``, its name; ``args``, positional;
        ``errorValue``, what to return after an exception.
        Returns: what the method returned; after an Exception, which is
        logged, ``errorValue`` or else the exception.
        Raises: only what is no Exception, such as SystemExit.
        Txn: committed here, aborted after an exception; a conflict is one,
        too.  Source: 0.5.2.
        """
        try:
            with database_edge.session(self.db) as session:
                service = self.worker.executor.service(session.connection)
                with self.host.running(service, None) as seen:
                    result = getattr(seen, method)(*args)
                    session.describe('', f'remotetask {method}')
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

    def processNext(self, jobid: int | None = None, *, force: bool = False
                    ) -> bool:
        """Run a job: the next one, or this one if it is ready or claimed.

        Arguments: ``jobid``, ``force``: see ITaskService.processNext.
        Returns: True if a job was run, else False.
        Txn: the claim and the run have one of their own each.
        """
        # Not ``if jobid``: 0 is an id like any other.
        claim = None if jobid is None else self._claims.pop(jobid, None)
        with self.worker.logging():
            if claim is None:
                claim = self.worker.claim(jobid, force)
            if claim is None:
                return False
            with monitor.watching(self.worker):
                self.worker.run(claim)
        return True

    # -- the loop -------------------------------------------------------------

    def __call__(self) -> None:
        """See IProcessor"""
        self._thread = threading.current_thread()
        try:
            with threads.looping([self.worker], self._listener.wake_event):
                self._resize_pool(1)
                events.notify(events.WorkerStarted(self.worker.identity.id))
                try:
                    self._loop()
                finally:
                    self._wind_up()
                    self._leave()
                    self._resize_pool(-1)
        finally:
            events.notify(events.WorkerStopped(self.worker.identity.id))

    def _resize_pool(self, sign: int) -> None:
        """Make room for our connections beside the application's.

        Each thread has one while its job runs; claims, looks at other workers
        and the progress of jobs have one each.  ZODB warns when a pool is
        exceeded.
        """
        with threads.starting:
            for database in {self.db, self.worker.home}:
                database.setPoolSize(
                    database.getPoolSize() + sign * (self.maxThreads + 3))

    def _leave(self) -> None:
        try:
            self._listener.close()
            monitor.unwatch(self.worker)
            self.worker.leave()
        except Exception:
            # The database may be gone already; other workers will find that
            # this one is.
            trace.exception('%s has left without a word',
                            self.worker.identity.id)

    def _loop(self) -> None:
        self._patience = SYSTEM_CLOCK.monotonic() + _SERVICE_PATIENCE
        while self.running:
            with self.worker.logging():
                rest = self._step()
            if rest is None:
                return
            if rest and self.running:
                self._listener.sleep(rest)

    def _step(self) -> float | None:
        """Look once, and run what there is.

        Returns: how long (seconds) to sleep now, unless woken; None: for ever,
        the log says why.
        """
        # Cleared before the look: a job added during it sets it again.
        self._listener.wake_event.clear()
        try:
            if not self._watched:
                self._listener.open()
                self.worker.enroll(LOOP, self.maxThreads)
                monitor.watch(self.worker)
                self._watched = True
                # Not after the first look, which a wake may wait for.
                self._look_for_tasks()
                self.worker.declared.settle()
            rest = 0.0 if self._work() else self._rest()
            self._seen, self._broken = True, 0.0
            return rest
        except ServiceGone as error:
            now = SYSTEM_CLOCK.monotonic()
            if self._seen:
                # A thread of ours that deletes or moves it tells us next.
                self._seen, self._patience = False, now + WAIT_FLOOR * 10
            if now > self._patience:
                self._log_gone(error)
                return None
            return max(self.waitTime, WAIT_FLOOR)   # no queue notifies us
        except (OpenedBeforeFork, NotMigrated) as error:
            log.error('Processor: %s', error)
            return None
        except ConflictError:
            return 0.0      # other workers were faster, CLAIM_TRIES times
        except Exception as error:
            # Logged once, not with each try.
            if not self._broken:
                self._log_broken(error)
            self._broken = min(max(_BROKEN_FIRST, self._broken * 2),
                               BACKOFF_LAST)
            return self._broken

    def _log_gone(self, error: ServiceGone) -> None:
        log.error('%s any more: its processor stops; start the service again '
                  'once it is back', error)

    def _log_broken(self, error: Exception) -> None:
        log.error('Processor: the database failed; trying again until it '
                  'answers%s', cure(error, self.servicePath), exc_info=error)

    def _look_for_tasks(self) -> None:
        """Say so if this process has no task at all."""
        def tasks(connection: Connection) -> dict[str, Any]:
            service = self.worker.executor.service(connection)
            with self.host.running(service, None) as seen:
                return seen.getAvailableTasks()

        lacking.warn_without_tasks(
            show(self.servicePath), database_edge.read(self.db, tasks),
            'register them before it starts: scan the modules that have them '
            '(lovely.remotetask.task.scan), or load their ZCML')

    def _goes_on(self) -> bool:
        """May a thread of ours claim another job?"""
        return getattr(self._thread, 'running', False)

    def _rest(self) -> float:
        """How long to sleep (seconds) after a look that found nothing."""
        rest = self._listener.rest(self.waitTime)
        # Set by a notification, or by a thread that becomes free.
        if self._listener.wake_event.is_set() or self._is_full():
            return rest
        return min(rest, database_edge.read(self.db, self._comes))

    def _comes(self, connection: Connection) -> float:
        """In how many seconds there will be something to do, at the latest."""
        service = self.worker.executor.service(connection)
        queue = service.jobqueue
        if self._listener.watch(queue):
            return 0.0          # no notification of it could come until now
        comes = [float('inf')]
        now = service.clock.now()
        comes += [max(pause.until - now, _DUE_FLOOR)
                  for pause in queue.pauses(now) if pause.until is not None]
        if queue.pause_now(now) is None:
            comes += [max(moment - now, _DUE_FLOOR)
                      for moment in queue.comes(now)]
            # The owner of a lane may be too busy for the jobs there.
            if self.worker.waits_for is not None:
                comes.append(self.worker.waits_for)
        return min(comes)

    def _is_full(self) -> bool:
        """Is every thread at work?"""
        return False

    def _work(self) -> bool:
        """Run jobs; False: there was none to run."""
        if type(self).processNext is not SimpleProcessor.processNext:
            # An application's, which counts or wraps its jobs in processNext.
            return self.processNext()
        claims = self.worker.claim_some()
        if claims:
            self.worker.work(claims, self._goes_on)
        return bool(claims)

    def _wind_up(self) -> None:
        """Called when the loop has ended."""


class MultiProcessor(SimpleProcessor):
    """Runs several jobs at once, each in a thread.  See IProcessor

    Arguments: ``maxThreads`` (int), how many at most.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.maxThreads = kwargs.pop('maxThreads', 5)
        if type(self.maxThreads) is not int or self.maxThreads < 1:
            raise UsageError(f'maxThreads is {shown(self.maxThreads)}; give a '
                             f'whole number from 1 on')
        super().__init__(*args, **kwargs)
        #: The threads at work.
        self.threads: list[threading.Thread] = []

    def _work(self) -> bool:
        if self._is_full():
            return False
        claims = self.worker.claim_some()
        if not claims:
            return False
        # Not named remotetasks.*: applications count the services by that.
        thread = threading.Thread(
            target=self._run, args=(claims,), daemon=True,
            name=self._free_name())
        self.threads.append(thread)
        thread.start()
        return True

    def _free_name(self) -> str:
        # Not by the job: a thread runs many, and logs show its name.
        used = {thread.name for thread in list(self.threads)}
        return next(name for number in count(1)
                    if (name := f'remotetask-thread-{number}') not in used)

    def _is_full(self) -> bool:
        return len(self.threads) >= self.maxThreads

    def _run(self, claims: list[Claim]) -> None:
        try:
            with self.worker.logging():
                self.worker.work(claims, self._turn())
        except Exception as error:
            # The monitor gives back what the thread could not; the next claim
            # fails, too, and makes the loop pause.
            self._log_broken(error)
        finally:
            # Before the event is set: the loop may wait for a free thread,
            # and counts this one as busy while it is in the list.
            self.threads.remove(threading.current_thread())
            self._listener.wake_event.set()

    def _turn(self) -> Callable[[], bool]:
        """The ``go_on`` of a thread that begins to work."""
        return self._goes_on

    def _wind_up(self) -> None:
        # A caller that joins the named thread waits for its jobs as well.
        for thread in list(self.threads):
            thread.join()
