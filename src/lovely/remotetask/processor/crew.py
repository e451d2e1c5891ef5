"""A crew: one pool of threads that runs the jobs of several services.

::

    look out   every SERVICES_SECONDS: which services are there?  Those that
               are new join, those that are gone leave
    loop       one thread asks each service in turn that may have a job, and
               gives it a free thread of the pool
    threads    each runs jobs of one service; once its turn is over, and
               another service waits while all threads are busy, it is free
               for that one

A service without jobs has no thread: it costs its record as a worker, and a
look every SAFETY_SECONDS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import events
from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.paths import show
from lovely.remotetask.peers.wakeup import WakeEvent
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.run import threads
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.run.finder import cure
from lovely.remotetask.run.lookout import Lookout
from lovely.remotetask.run.worker import Worker

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost

#: For how long (seconds) a thread runs jobs of one service while others wait
#: for a thread.  A claim of its own follows: some per cent of that time.
TURN_SECONDS = 0.1

_Key = tuple[Sequence[str], bytes | None]


class _WakeEvent(WakeEvent):
    """Wakes the crew as well, which waits for all of its services at once."""

    def __init__(self, woken: threading.Event) -> None:
        super().__init__()
        self._woken = woken

    def set(self) -> None:
        super().set()
        self._woken.set()


class _Member(MultiProcessor):
    """The work for one service; the loop and the threads are the crew's.

    Attributes: ``due``, the moment (monotonic) of the next look; ``isGone``:
    there is no such service any more.
    """

    isGone = False

    def __init__(self, crew: Crew, path: ServicePath) -> None:
        self._crew = crew
        self.host = crew.host
        self.wakeEvent = _WakeEvent(crew.woken)
        super().__init__(crew.database, path, maxThreads=crew.maxThreads,
                         **crew.queues)
        self.worker.hasOthers = True
        self.threads = crew.threads
        self.due = 0.0

    @property
    def running(self) -> bool:
        """See IProcessor"""
        return self._crew.running

    def is_due(self) -> bool:
        # A service that has failed is not tried at each notification.
        return ((not self._broken and self._listener.wake_event.is_set())
                or SYSTEM_CLOCK.monotonic() >= self.due)

    def look(self) -> float | None:
        """See SimpleProcessor._step"""
        # It returns at once; a commit that has woken us is visible then.
        self._listener.sleep(0.0)
        with self.worker.logging():
            rest = self._step()
        if rest is not None:
            self.due = SYSTEM_CLOCK.monotonic() + rest
        return rest

    def leave(self) -> None:
        try:
            self._leave()
        finally:
            events.notify(events.WorkerStopped(self.worker.identity.id))

    def _turn(self) -> Callable[[], bool]:
        until = SYSTEM_CLOCK.monotonic() + TURN_SECONDS

        def go_on() -> bool:
            nonlocal until
            if not self._crew.running:
                return False
            now = SYSTEM_CLOCK.monotonic()
            if now < until:
                return True
            until = now + TURN_SECONDS
            return not self._crew.has_others_waiting(self)

        return go_on

    def _log_gone(self, error: ServiceGone) -> None:
        self.isGone = True
        log.warning('%s any more: this worker goes on without it', error)

    def _log_broken(self, error: Exception) -> None:
        log.error('service %s failed; this worker tries it again until it '
                  'answers%s', show(self.servicePath),
                  cure(error, self.servicePath), exc_info=error)

    def _look_for_tasks(self) -> None:
        """The command has looked: it names the tasks of all services."""


class Crew:
    """Runs the jobs of several services in one pool of threads.

    Meant to be a thread's target, as an IProcessor.
    Arguments: ``database`` (ZODB.DB); ``host`` (IHost); ``found``, the paths
    of the services (ServicePath); ``find(connection)``, gives those that are
    there later; ``maxThreads`` (int), how many jobs run at once; ``stays``
    (bool): wait for new services where there is none; ``queues``, the options
    of a SimpleProcessor about queues.
    Attributes: ``woken``, an event that is set where a service may have a job;
    ``threads``, those at work.
    """

    def __init__(self, database: DB, host: IHost, found: list[ServicePath],
                 find: Callable[[Connection], list[ServicePath]],
                 maxThreads: int, stays: bool,
                 queues: dict[str, Any] | None = None) -> None:
        self.database, self.host = database, host
        self.maxThreads, self.queues = maxThreads, queues or {}
        self.woken = threading.Event()
        self.threads: list[threading.Thread] = []
        self._find, self._stays = find, stays
        self._thread: Any = None
        # What was found last; None: the loop has seen it already.
        self._found: list[ServicePath] | None = found
        # In the order of their turns: who was served last comes last.
        self._members: dict[_Key, _Member] = {}
        # Without their service; some of their jobs may still run.
        self._leaving: list[_Member] = []
        # They cannot be run, and the log says why.
        self._refused: set[_Key] = set()
        self._workers: list[Worker] = []

    @property
    def running(self) -> bool:
        return getattr(self._thread, 'running', False)

    def __call__(self) -> None:
        """Run jobs until the thread's ``running`` is False."""
        self._thread = threading.current_thread()
        lookout = Lookout(self.database, self._find, self._note)
        with threads.looping(self._workers, self.woken):
            lookout.start()
            try:
                self._loop()
            finally:
                lookout.stop()
                for thread in list(self.threads):
                    thread.join()
                for member in (*self._members.values(), *self._leaving):
                    member.leave()

    def _note(self, found: list[ServicePath]) -> None:
        """Called in a thread of its own: a look may take a while."""
        self._found = found
        self.woken.set()

    def _loop(self) -> None:
        while self.running:
            # Cleared before the look: a job added during it sets it again.
            self.woken.clear()
            if self._found is not None:
                found, self._found = self._found, None
                self._update({(tuple(path), path.oid): path
                              for path in found})
                if not (found or self._stays):
                    return
            for member in list(self._leaving):
                if not member.worker.active:
                    self._leaving.remove(member)
                    self._workers.remove(member.worker)
                    member.leave()
            self._give_turns()
            self.woken.wait(self._rest())

    def _give_turns(self) -> None:
        """Ask each service that is due; give free threads to their jobs."""
        for key, member in list(self._members.items()):
            if self._is_full() or not self.running:
                return
            if not member.is_due():
                continue
            rest = member.look()
            if rest is None:
                self._drop(key)
                if not member.isGone:
                    self._refused.add(key)
            elif not rest:
                self._members[key] = self._members.pop(key)

    def _rest(self) -> float:
        """How long (seconds) to wait, unless woken."""
        if self._is_full() or not self._members:
            # A thread that ends wakes us, and a new service does.
            return settings.SAFETY_SECONDS
        now = SYSTEM_CLOCK.monotonic()
        return max(0.0, min(member.due
                            for member in self._members.values()) - now)

    def _is_full(self) -> bool:
        return len(self.threads) >= self.maxThreads

    def has_others_waiting(self, member: _Member) -> bool:
        """Does another service wait for a thread while all are busy?"""
        return self._is_full() and any(
            other is not member and other.is_due()
            for other in list(self._members.values()))

    # -- services come and go -------------------------------------------------

    def _update(self, found: dict[_Key, ServicePath]) -> None:
        for key in list(self._members):
            if key not in found:
                log.info('service %s is gone: this worker goes on without it',
                         show(key[0]))
                self._drop(key)
        self._refused &= found.keys()
        for key, path in found.items():
            if key not in self._members and key not in self._refused:
                log.info('service %s: this worker runs its jobs', show(path))
                self._join(key, path)

    def _join(self, key: _Key, path: ServicePath) -> None:
        member = self._members[key] = _Member(self, path)
        self._workers.append(member.worker)
        threads.end_with_databases(member.worker)
        events.notify(events.WorkerStarted(member.worker.identity.id))

    def _drop(self, key: _Key) -> None:
        member = self._members.pop(key)
        # None of its threads claims another job.
        member.worker.stopping.set()
        self._leaving.append(member)
        self.woken.set()
