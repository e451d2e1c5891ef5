"""Monitors give signs of life and rescue jobs: a thread per database.

::

    every LOOK_SECONDS   look at the workers of each service that we run;
                         retire the dead ones: their jobs are queued again
    every CHECK_SECONDS  look over all jobs, a few at a time, while our worker
                         is idle: put back those that stand nowhere
    every PRUNE_SECONDS  remove jobs that are over and were kept for long
                         enough, if our worker is the one that does
    every BEAT_SECONDS   count our own beats on, where others watch them

A wrong verdict costs repeated work, never correctness: a worker that was
retired by mistake can no longer commit, and goes on under a new id.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.peers import liveness
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.run.rescue import put_back
from lovely.remotetask.run.rescue import rescue
from lovely.remotetask.run.stuck import Reasons
from lovely.remotetask.run.stuck import Stuck
from lovely.remotetask.run.sweep import Sweep
from lovely.remotetask.run.worker import Worker
from lovely.remotetask.run.worker_id import is_here
from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.workers import DIRECT

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.run.pruner import Pruner
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue

# How often (seconds) that is done where no other process can open the storage,
# and only our own threads may have failed.
_LOOK_ALONE_SECONDS = 10.0

# At how many services of which no job runs here a round looks: the idle worker
# of fifty services costs as much as that of ten.
_LOOKS = 10

# For how long (seconds) a round removes jobs, at most: beats and looks wait
# for it.
_PRUNING = 0.5

# Those whose threads run.  An entry goes with its thread: a monitor refers to
# its database, and would keep a closed one and its sessions for ever.
_monitors: dict[DB, Monitor] = {}
_lock = threading.Lock()


def watch(worker: Worker) -> None:
    """Give signs of life for a worker, and rescue the jobs of dead ones.

    Jobs that earlier processes have left are rescued before this returns.
    """
    with _lock:
        monitor = _monitors.get(worker.home)
        if monitor is None:
            monitor = _monitors[worker.home] = Monitor(worker.home)
            monitor.start()
        monitor.add(worker)
    monitor.look(worker)


def unwatch(worker: Worker) -> None:
    """End what ``watch`` has begun for a worker, if it was called.

    When this returns, nothing looks at the database for this worker any more:
    the application may close it.
    """
    with _lock:
        monitor = _monitors.get(worker.home)
        if monitor is not None:
            monitor.remove(worker)
    if monitor is not None:
        monitor.wait()


@contextmanager
def watching(worker: Worker) -> Iterator[None]:
    """Within the block, ``watch`` a worker, where others look for its beat."""
    if not liveness.for_database(worker.home).needs_beat:
        yield
        return
    watch(worker)
    try:
        yield
    finally:
        unwatch(worker)


def _forget() -> None:
    # The threads are missing in the child of a fork, and the one that may have
    # held the lock is, too.
    global _lock
    _lock = threading.Lock()
    _monitors.clear()


call_after_fork(_forget)


class Monitor:
    """Watches over the workers of one database in this process.

    Arguments: ``database`` (ZODB.DB), in which the services are.
    """

    def __init__(self, database: DB) -> None:
        self._database = database
        self._life = liveness.for_database(database)
        self._workers: list[Worker] = []
        self._sweeps: dict[Worker, tuple[Sweep, Pruner]] = {}
        self._stuck: dict[Worker, Stuck] = {}
        self._changed = threading.Event()
        # Our claims that no thread was running at the last look.
        self._orphans: set[Token] = set()
        # What failed at the last look, and how: each is logged once.
        self._failing: dict[str, str] = {}
        # Held for a look: a worker's own thread makes one, ours all others.
        self._looking = threading.Lock()
        self._round = threading.Lock()
        # A worker is gone: its process may have had workers in all services.
        self._looks_at_all = False

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True,
                         name='remotetask-monitor').start()

    def add(self, worker: Worker) -> None:
        """Watch over a worker, too."""
        # Imported here and not above: an application that runs no jobs starts
        # without it.
        from lovely.remotetask.run.pruner import Pruner

        self._workers.append(worker)
        self._sweeps[worker] = Sweep(worker), Pruner(worker)
        self._stuck[worker] = Stuck(worker)

    def remove(self, worker: Worker) -> None:
        with suppress(ValueError):
            self._workers.remove(worker)
        self._sweeps.pop(worker, None)
        self._stuck.pop(worker, None)
        self._changed.set()

    def wait(self) -> None:
        """Wait until our thread uses the database no more, for this round."""
        with self._round:
            pass

    def _run(self) -> None:
        pause = (settings.LOOK_SECONDS if self._life.needs_beat
                 else _LOOK_ALONE_SECONDS)
        last_beat = last_note = SYSTEM_CLOCK.monotonic()
        while True:
            self._changed.wait(pause)
            self._changed.clear()
            with self._round:
                # The workers are read within the round: one that is removed
                # before is not looked at, one that is removed later waits.
                with _lock:
                    workers = list(self._workers)
                    if not workers:
                        del _monitors[self._database]
                        return
                chosen = self._chosen(workers)
                for worker in chosen:
                    with worker.logging():
                        worker.hand_over()
                        self.look(worker)
                        self._look_for_stuck(worker)
                        self._sweep(worker, _PRUNING / len(chosen))
                now = SYSTEM_CLOCK.monotonic()
                if now - last_note >= settings.BEAT_SECONDS:
                    last_note = now
                    for worker in workers:
                        worker.note_reruns()
                if (self._life.needs_beat
                        and now - last_beat >= settings.BEAT_SECONDS):
                    last_beat = now
                    self._beat(workers)

    def _chosen(self, workers: list[Worker]) -> list[Worker]:
        """The workers at which this round looks."""
        everyone, self._looks_at_all = self._looks_at_all, False
        idle = [worker for worker in workers if worker.idle]
        if everyone or len(idle) <= _LOOKS:
            return workers
        turn = idle[:_LOOKS]
        with _lock:
            # The next round begins behind them.
            self._workers.sort(key=turn.__contains__)
        return [worker for worker in workers
                if worker in turn or not worker.idle]

    # -- beat -----------------------------------------------------------------

    def _beat(self, workers: list[Worker]) -> None:
        """Count the beats of our workers on, in one commit for all."""
        evidence = self._life.announce()

        def beat(connection: Connection) -> None:
            for worker in workers:
                if worker.database is not connection.db():
                    continue
                try:
                    service = worker.executor.service(connection)
                except ServiceGone:
                    continue
                record = service.jobqueue.workers.get(worker.identity.id)
                if record is None or record.beat is None:
                    continue
                record.beat.give()
                # The evidence is new where a lock was lost and taken anew.
                if record.evidence != evidence:
                    record.evidence = evidence

        # One, unless a queue has a database of its own.
        for database in {worker.database for worker in workers}:
            try:
                db.write(database, beat, note='remotetask beat')
            except Exception:
                # Other workers will take us for dead, rightly or not.
                trace.exception('no sign of life could be given')

    def _sweep(self, worker: Worker, seconds: float) -> None:
        found = self._sweeps.get(worker)
        if found is not None:
            found[0].go_on()
            found[1].go_on(seconds)
            worker.declared.go_on()

    def _look_for_stuck(self, worker: Worker) -> None:
        stuck = self._stuck.get(worker)
        if stuck is None or not (worker.active or stuck.noted):
            return

        def find(connection: Connection) -> Reasons:
            service = worker.executor.by_oid(connection)
            with worker.executor.host.running(service, None) as seen:
                return stuck.find(seen)

        try:
            stuck.note(db.read(worker.database, find))
        except ServiceGone:
            return
        except Exception:
            # The next look tries it again; the loop logs what failed.
            trace.exception('no look at the jobs of our threads')

    # -- rescue ---------------------------------------------------------------

    def look(self, worker: Worker) -> None:
        """Retire the dead workers of a service; never raises."""
        try:
            with self._looking:
                (dead, orphans, stale), groups = db.read(
                    worker.database, lambda connection: self._see(
                        worker, worker.executor.service(connection)))
        except ServiceGone:
            return
        except Exception:
            # The loop of the worker meets the same fault, and logs it.
            trace.exception('the other workers cannot be looked at')
            return
        worker.executor.followers.look_at(groups)
        self._looks_at_all |= bool(dead)
        for name in dead:
            with self._alone(f'the jobs of worker {name}, which is gone'):
                rescue(worker, self._database, name)
        for jobid in (*orphans, *stale):
            with self._alone(f'job {jobid}, which no thread runs'):
                put_back(worker, self._database, jobid,
                         charged=jobid in orphans)

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Let no other rescue fail with this one; log each cause once."""
        try:
            yield
            self._failing.pop(what, None)
        except ServiceGone:
            self._failing.pop(what, None)
        except Exception as error:
            cause = f'{type(error).__name__}: {error}'
            if self._failing.get(what) != cause:
                self._failing[what] = cause
                log.error('%s cannot be queued again; the next look tries it '
                          'once more', what, exc_info=error)

    def _see(self, worker: Worker, service: TaskService
             ) -> tuple[tuple[list[str], list[int], list[int]], list[int]]:
        """Who and what is to be rescued, and which groups may be over."""
        return (self._find(worker, service),
                worker.executor.followers.over(service.jobqueue))

    def _find(self, worker: Worker, service: TaskService
              ) -> tuple[list[str], list[int], list[int]]:
        queue = service.jobqueue
        ours = {one.identity.id for one in self._workers}
        now = service.clock.now()
        dead, stale = [], []
        for name, record in queue.workers.items():
            if name in ours:
                continue
            if not self._life.alive(record.evidence, record.beat):
                dead.append(name)
            elif name.startswith(DIRECT):
                stale += [
                    jobid for jobid in queue.claims_of(name)
                    if (began := queue.jobs[jobid].startedAt) is None
                    or abs(now - began.timestamp()) > settings.MANUAL_SECONDS]
            elif (record.evidence == self._life.announce()
                    and not is_here(name)):
                # It has left without a word, and this process lives.
                stale += queue.claims_of(name)
        return dead, self._without_thread(worker, queue), stale

    def _without_thread(self, worker: Worker, queue: JobQueue) -> list[int]:
        """The jobs that our worker has claimed and no thread of ours runs."""
        claims = {claim: jobid
                  for jobid in queue.claims_of(worker.identity.id)
                  if (claim := queue.jobs[jobid].claim) is not None
                  and claim not in worker.active}
        # In two looks in a row: a claim is committed before its thread knows.
        lost = [jobid for claim, jobid in claims.items()
                if claim in self._orphans and claim not in worker.active]
        mine = worker.identity.id
        self._orphans = {claim for claim in self._orphans
                         if claim[0] != mine} | set(claims)
        return lost
