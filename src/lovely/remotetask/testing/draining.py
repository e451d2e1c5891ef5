"""Runs jobs in the thread of a test, by the engine that workers run them by.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lovely.remotetask.edge import aside
from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.interaction import in_site
from lovely.remotetask.host.paths import show
from lovely.remotetask.peers import wakeup
from lovely.remotetask.run import monitor
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.worker import Worker
from lovely.remotetask.testing.clock import FrozenClock
from lovely.remotetask.testing.clock import seconds_since_1970

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue


def drain(service: TaskService, until: datetime | float | None = None) -> int:
    """Run the jobs that are ready in this thread, as a worker does.

    Each runs in a transaction of its own, in its site, with its request and
    as its submitter; conflicts, retries, groups and the jobs that tasks add
    are as with a worker.  Time moves only by ``until``.
    Arguments: ``service``, in a database and committed; ``until``, an aware
    datetime, or seconds since 1970: run what is due until then, too, retries
    and schedules, each at its time.  The clock moves from one to the next and
    to ``until``; it stays there where the test has a FrozenClock.
    Returns: how many runs have begun (int).
    Raises: UsageError where your transaction has changes that are not
    committed, or for a moment that cannot be; ConfigurationError for a service
    that no worker would find.
    Txn: yours goes on, and sees what the jobs have committed.
    """
    jar = caller.jar_of(service)
    if jar is not None and aside.has_joined(jar):
        raise UsageError(
            'drain() runs what is committed, as a worker does, and your '
            'transaction has changes: call transaction.commit() before, or '
            'service.process() to run jobs in your transaction')
    place = _Place.of(service)
    try:
        if until is None:
            return _run_all(place)
        moment = seconds_since_1970('until', until)
        with _frozen(service) as clock:
            return _run_all(place, clock, moment)
    finally:
        aside.refresh(place.connection)


@contextmanager
def inline(service: TaskService) -> Iterator[None]:
    """Within the block, each commit that adds jobs runs them at once.

    They run by ``drain``, in the thread that commits, before its ``commit()``
    returns; what is to run later still does.
    Arguments: ``service``, in a database and committed.
    Raises: ConfigurationError for a service that no worker would find.  At
    the end of the block: what has kept jobs from being run; a task that fails
    does not, its error is stored.
    Txn: as drain; a test that has changed nothing sees what jobs of other
    connections have committed, too.
    """
    place, thread = _Place.of(service), threading.get_ident()
    opened = place.connection.opened
    broken: list[Exception] = []

    def run(queue: JobQueue) -> None:
        jar = queue._p_jar
        if (queue._p_oid != place.queue or jar is None
                or jar.db() is not place.home
                or place.queue in _draining.queues):
            return
        try:
            _run_all(place)
        except Exception as error:
            # A hook after a commit must not raise.
            broken.append(error)
        finally:
            aside.refresh(jar)
            # The test looks through another connection than the request that
            # it has made; a connection belongs to one thread.
            if (threading.get_ident() == thread
                    and place.connection.opened == opened
                    and not aside.has_joined(place.connection)):
                aside.refresh(place.connection)

    wakeup.after_notifying.append(run)
    try:
        yield
    finally:
        wakeup.after_notifying.remove(run)
    if broken:
        # The others were logged, or came of it.
        raise broken[0]


@dataclass(frozen=True)
class _Place:
    """Where a service is, for workers.

    Attributes: ``connection``, through which the test sees it; ``database``,
    in which ``path`` begins; ``home``, of the service; ``queue``, its oid.
    """

    connection: Connection
    database: DB
    home: DB
    path: Sequence[str]
    host: IHost
    queue: bytes

    @classmethod
    def of(cls, service: TaskService) -> _Place:
        """Raises: ConfigurationError."""
        jar = caller.jar_of(service)
        if jar is None:
            raise ConfigurationError(
                f'service {service.__name__!r} is in no database, where a '
                f'worker would look for its jobs: add it to one and commit '
                f'(testing.new_service makes both), or call its process()')
        host = service.host
        path = host.path_of(service)
        database = getattr(path, 'database', None) or jar.db()

        def find(connection: Connection) -> bytes | None:
            found = host.find_service(connection, path)
            return None if found is None else found._p_oid

        if service._p_oid is None or db.read(
                database, find) != service._p_oid:
            raise ConfigurationError(
                f'a worker does not find service {service.__name__!r} at '
                f'{show(path)}: commit the transaction that adds it, and '
                f'give it its __parent__ and __name__ '
                f'(lovely.remotetask.service.make_service does)')
        return cls(jar, database, jar.db(), path, host,
                   service.jobqueue._p_oid)


class _Draining(threading.local):
    """The queues (oids) whose jobs this thread runs just now."""

    def __init__(self) -> None:
        self.queues: set[bytes] = set()


_draining = _Draining()


@contextmanager
def _frozen(service: TaskService) -> Iterator[FrozenClock]:
    """The test's FrozenClock, or one for as long as the block runs.

    Raises: UsageError.
    """
    if isinstance(service.clock, FrozenClock):
        yield service.clock
        return
    with FrozenClock(service.clock.now()) as clock:
        if service.clock is not clock:
            raise UsageError(
                f'service {service.__name__!r} has a clock of its own, '
                f'{service.clock!r}, which drain() cannot move: leave out '
                f'until, or give it no clock and say "with FrozenClock()"')
        yield clock


class _Worker(Worker):
    """Counts what it claims; knows why it claims nothing.

    Attributes: ``begun`` (int), how many runs.
    """

    begun = 0

    def claim_some(self) -> list[Claim]:
        """See Claimer"""
        # A claim that finds no job at all asks for no lanes.
        self.served.look_anew()
        return super().claim_some()

    def _note(self, claims: list[Claim]) -> None:
        self.begun += len(claims)
        super()._note(claims)

    @property
    def grace(self) -> float | None:
        """Seconds until it may help other workers, which are late; or None."""
        return self.served.waits_for

    @property
    def pause(self) -> float | None:
        """Seconds, by the clock of the service, until it looks again for jobs
        that it may not claim now; or None."""
        return self._pause

    def next_moment(self) -> float | None:
        """When a next job may be claimed (seconds since 1970), or None."""
        def find(connection: Connection) -> float | None:
            service = self.executor.service(connection)
            queue, now = service.jobqueue, service.clock.now()
            comes = [pause.until for pause in queue.pauses(now)
                     if pause.until is not None]
            if queue.pause_now(now) is not None:
                return min(comes, default=None)
            comes += queue.comes(now)
            if self.pause is not None:
                comes.append(now + self.pause)
            if self.flow.opens is not None:
                comes.append(self.flow.opens)
            return min((one for one in comes if one > now), default=None)

        return db.read(self.database, find)


def _run_all(place: _Place, clock: FrozenClock | None = None,
             until: float = 0.0) -> int:
    """Run what is ready, and by a clock also what is due until a moment.

    Returns: how many runs have begun.
    """
    if place.queue in _draining.queues:
        raise UsageError(
            'a task has called drain() for the service that runs it, which '
            'would wait for itself: let the test call it')
    _draining.queues.add(place.queue)
    try:
        # As in a worker's thread: no transaction, and no site.
        with aside.aside(), in_site(None):
            worker = _Worker(place.database, place.path, place.host)
            try:
                _run_ready(worker)
                if clock is not None:
                    _run_until(worker, clock, until)
            finally:
                worker.leave()
            return worker.begun
    finally:
        _draining.queues.discard(place.queue)


def _run_until(worker: _Worker, clock: FrozenClock, until: float) -> None:
    while True:
        moment = worker.next_moment()
        if moment is None or moment > until:
            break
        clock.set(moment)
        _run_ready(worker)
    clock.set(max(until, clock.now()))


def _run_ready(worker: _Worker) -> None:
    """Run jobs until none is ready now."""
    while True:
        claims = worker.claim_some()
        if claims:
            with monitor.watching(worker):
                worker.work(claims, lambda: True)
        elif worker.grace is not None:
            # Other workers have their turn first, with jobs of their lanes.
            worker.stopping.wait(worker.grace)
        elif worker.pause != 0:
            return
