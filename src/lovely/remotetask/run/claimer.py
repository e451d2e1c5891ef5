"""The claims of a worker: it becomes known, takes jobs, and leaves.

::

    enroll -> claim -> run -+-> claim ...
      ^                     |
      |  Retired            +-> leave

A worker claims under its id.  A monitor that declares it dead retires that id;
the next claim then raises Retired, and the worker enrolls under a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import working_for
from lovely.remotetask.host.paths import show
from lovely.remotetask.job import Job
from lovely.remotetask.peers import liveness
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.forks import check_opened_here
from lovely.remotetask.run import report
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.claim import claims_of
from lovely.remotetask.run.executor import Executor
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.run.flow import Flow
from lovely.remotetask.run.group import Group
from lovely.remotetask.run.lacking import Look
from lovely.remotetask.run.served import Served
from lovely.remotetask.run.suspects import PAUSE
from lovely.remotetask.run.suspects import Suspects
from lovely.remotetask.run.suspects import Turn
from lovely.remotetask.run.suspects import is_kept_from
from lovely.remotetask.run.worker_id import Identity
from lovely.remotetask.run.worker_id import here
from lovely.remotetask.run.worker_id import manual_worker
from lovely.remotetask.store.claiming import Able
from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.store.workers import Retired

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.store.queue import JobQueue


class Claimer:
    """The part of a worker that claims jobs.

    Arguments: as Executor's.
    Attributes: ``home``, see Executor; ``identity``; ``active``, token ->
    Claim, the runs that this worker has to end: two of a job that was
    cancelled and retried, while the first one goes on; ``groups``, token
    of its first job -> Group, the jobs that run with one commit now;
    ``alone``, slot -> how many jobs it still finishes alone;
    ``served`` (Served), the queues whose jobs it runs; ``hasOthers`` (bool):
    its threads run jobs of other services, too; ``sharedConflicts`` (int), how
    often a finish was repeated because a claim in the same commit conflicted.
    """

    def __init__(self, database: DB, path: Sequence[str], host: IHost) -> None:
        check_opened_here(database)
        self.database = database
        self.executor = Executor(database, path, host)
        self.home = self.executor.home
        self.stopping = self.executor.stopping
        self.active = self.executor.crowd.active
        self.groups: dict[Token, Group] = {}
        self.alone: dict[int, int] = {}
        self.hasOthers = False
        self.sharedConflicts = 0
        self._role, self._threads = PROCESSOR, 1
        self.identity = Identity(self._role)
        # A new id is known here before others can see it in the database.
        self.names = {self.identity.id}
        # The slots that no thread uses now.
        self._idle: list[int] = []
        self._claiming = threading.Lock()
        self.served, self.suspects = Served(), Suspects()
        self.lacking = self.executor.lacking
        self.flow = Flow()
        # Seconds until the next look, where jobs wait that may not be claimed
        # now.
        self._pause: float | None = None

    def logging(self) -> AbstractContextManager[None]:
        """Within the block, what this thread logs names the service."""
        return working_for(show(self.executor.path), self.hasOthers)

    def enroll(self, role: str | None = None,
               threads: int | None = None) -> None:
        """Become known, under a new id, with a slot for each thread.

        Arguments: ``role``: a LOOP gets lanes of its own, the others may not
        come back for them; ``threads``, how many.
        Raises: OpenedBeforeFork.
        Txn: a short one of its own.
        """
        check_opened_here(self.database)
        life = liveness.for_database(self.home)
        self._role = role or self._role
        self._threads = threads or self._threads
        if self._role == LOOP:
            # Not for a processor that is called job by job: "no job" would
            # tell its caller that all are done.
            self.executor.crowd.threads = self._threads
        identity = Identity(self._role)
        self.names = {self.identity.id, identity.id}
        here.add(self)

        def enroll(service: TaskService) -> list[int]:
            queue = service.jobqueue
            # Without it no job can be found, and none would be missed.
            service.jobs.load()
            self.executor.oid = service._p_oid
            queue.enroll(identity.id, life.announce(), life.needs_beat)
            return [queue.take_slot(identity.id, self.served.queues)
                    for _ in range(self._threads)]

        # If the old id was retired, its slots are gone with it, and threads
        # that still use them can claim no more.
        self._idle = self.executor.write(
            enroll, 'remotetask worker starts')
        self.executor.notes.forget()
        self.identity = identity

    def leave(self) -> int:
        """Go: claims go back uncharged, slots are free.

        Returns: how many jobs went back.
        Txn: a short one of its own.
        """
        worker = self.identity.id
        # What is not given back now is taken back: see monitor.
        here.discard(self)
        left: list[int] = []

        def retire(service: TaskService) -> list[int]:
            queue, now = service.jobqueue, service.clock.now()
            for slot in queue.slots_of(worker):
                self.executor.notes.fold(queue, slot, now, leaves=True)
            return queue.retire(worker, now, charged=False)

        with suppress(ServiceGone):
            left = self.executor.write(
                retire, 'remotetask worker ends', moved=True)
        self._idle.clear()
        # Of two runs of a job, the later one was ours.
        latest = {claim.jobid: claim for claim in self.active.values()}
        with self.logging():
            for jobid in left:
                if jobid in latest:
                    report.ended(latest[jobid], 'given back')
        if left:
            wakeup.notify(self.home)
        return len(left)

    def claim(self, jobid: int | None = None, force: bool = False
              ) -> Claim | None:
        """Take a job: the next one, or this one; see Claiming.runnable.

        Txn: a short one of its own, repeated after a conflict.
        """
        for claim in self._claim(jobid, True, force):
            return claim
        return None

    def claim_some(self) -> list[Claim]:
        """Take the next job, and others that may share a commit with it.

        Txn: as ``claim``.
        """
        return self._claim(None, False)

    def _claim(self, jobid: int | None, alone: bool, force: bool = False
               ) -> list[Claim]:
        def take(service: TaskService) -> list[Claim]:
            queue, moment = service.jobqueue, service.clock.now()
            self._pause = None
            # A look writes nothing, nor does an idle worker.  Not by
            # has_waiting(): a claim removes what a dead worker has left.
            if jobid is None and (queue.pause_now(moment) or not (
                    any(True for ready in self.served.ready(queue, moment)
                        for _ in ready.heads())
                    or queue.has_aside(self._idle) or queue.has_due(moment)
                    or self.flow.is_due(queue, moment))):
                return []
            # No slot is idle where an application runs jobs by processNext in
            # several threads.
            slots = tuple(self._idle) or (
                queue.take_slot(self.identity.id, self.served.queues),)
            return self._take(service, slots, jobid, alone, turn, force)

        check_opened_here(self.database)
        with self._claiming, Turn(self) as turn:
            if turn.closed and jobid is None:
                self._pause = PAUSE
                return []
            began = SYSTEM_CLOCK.monotonic()
            while True:
                try:
                    claims = self.executor.write(take, 'remotetask claim')
                    break
                except Retired:
                    self.enroll()
            if claims:
                if claims[0].slot in self._idle:
                    self._idle.remove(claims[0].slot)
                self._note(claims)
                if claims[0].suspect:
                    turn.took(claims[0].token)
                self.served.took(SYSTEM_CLOCK.monotonic() - began)
            self._say_what_is_lacking()
            return claims

    def _say_what_is_lacking(self) -> None:
        """Tell other workers, once, which tasks this one does not have."""
        names, worker = set(self.lacking.unsaid), self.identity.id
        if names:
            with suppress(Retired):
                self.executor.write(lambda service: (
                    service.jobqueue.note_lacking(worker, names)),
                    'remotetask lacking')
            self.lacking.unsaid -= names

    def _take_suspect(self, service: TaskService, slot: int, turn: Turn,
                      look: Look) -> list[Job] | None:
        """Claim a suspect; [] to claim nothing now, None: other jobs."""
        queue, now = service.jobqueue, service.clock.now()
        able, opens = self._suspects_of(queue, look, now)
        if (waited := self.suspects.waited(queue, able, opens)) is None:
            return None
        if turn.take_alone() or waited > settings.SUSPECT_SECONDS:
            job = queue.claim_suspect(
                self.identity.token(slot), now, self.flow,
                lambda key, job: able(key, job) and opens(key, job))
            return None if job is None else [job]
        self._pause = PAUSE
        if not self.suspects.wants_room(queue, able, opens):
            return None
        turn.keep_room()
        return []

    def _take(self, service: TaskService, slots: Sequence[int],
              jobid: int | None, alone: bool, turn: Turn,
              force: bool) -> list[Claim]:
        """Claim jobs for one of these slots, in the current transaction."""
        queue, now = service.jobqueue, service.clock.now()
        slot = slots[0]
        self.flow.see(queue, lambda name: self._found(service, name), now)
        if jobid is not None:
            job = queue.claim_this(jobid, self.identity.token(slot), now,
                                   manual_worker().id, self.flow, force)
            if job is None:
                return []
            self.executor.notes.fold(queue, slot, now)
            return claims_of([job], slot, self.flow)
        # Before the lanes are looked at: where another service was made at the
        # path, this worker has no slot there.
        queue.check_slot(self.identity.id, slot)
        look = self._look(service, now)
        look.take_back(queue)
        jobs = self._take_suspect(service, slot, turn, look)
        if jobs is None:
            jobs = []
            queue.make_due_ready(now)   # first: a queue may be new by that
            for ready in self.served.ready(queue, now):
                jobs = queue.claim_next(
                    self.identity.tokens(slot), now, self.flow, ready,
                    self.served.may_take(queue, ready, slots),
                    None if alone else self._fits(service),
                    self._joins(look))
                if jobs:
                    break
            # A suspect may have come in among the due ones.
            jobs = jobs or self._take_suspect(service, slot, turn, look) or []
        look.set_aside(queue, self.identity.id, found=bool(jobs))
        if jobs:
            # A look that finds none commits nothing.
            self.executor.notes.fold(queue, slot, now)
        if look.rest is not None:
            self._pause = min(look.rest, self._pause or look.rest)
        return claims_of(jobs, slot, self.flow)

    def take_ahead(self, service: TaskService, slot: int, cursor: ReadCursor
                   ) -> list[Claim]:
        """Claim the next jobs, in the commit that ends the running ones."""
        queue, now = service.jobqueue, service.clock.now()
        ready = queue.ready_of(queue.slots[slot].claims.queue)
        # The one before belongs to a transaction that is over.
        self.flow.use(lambda name: self._found(service, name))
        return claims_of(queue.claim_ahead(
            self.identity.tokens(slot), now, self.flow, cursor,
            lambda: self.served.may_take(
                queue, ready, [slot], own_only=True),
            self._fits(service), self._joins(self._look(service, now), slot)
            ), slot)

    def makes_room(self, service: TaskService) -> bool:
        """Is no other job to be claimed, so that a suspect can run alone?"""
        if is_kept_from(self):
            return True
        queue, now = service.jobqueue, service.clock.now()
        self.flow.use(lambda name: self._found(service, name))
        return self.suspects.wants_room(queue, *self._suspects_of(
            queue, self._look(service, now), now))

    def _suspects_of(self, queue: JobQueue, look: Look, now: float
                     ) -> tuple[Able, Able]:
        """Tell which suspects this worker can run, and which gates let in."""
        return lambda key, job: (self._runs(queue, job, now) and look.able(
            key, job)), queue.lets_in(self.flow.gates, now)

    def _runs(self, queue: JobQueue, job: Job, now: float) -> bool:
        """Does this worker run jobs of that queue now?"""
        return (self.served.queues.has(job.queue)
                and queue.ready_of(job.queue).pause(now) is None)

    def _fits(self, service: TaskService) -> Callable[[Job, int], bool]:
        crowd = self.executor.crowd
        fits = self.executor.run_times.fits_in_commit(
            lambda name: self._find(service, name))
        return lambda job, count: (
            crowd.bears_groups(job.task) and fits(job, count))

    def _find(self, service: TaskService, name: str) -> Any:
        """The task of this name, or None."""
        return self.executor.host.task(service, service.taskInterface, name)

    def _joins(self, look: Look, slot: int | None = None) -> Able:
        """Tells which jobs may be run now, beside those that run here."""
        admits = self.executor.crowd.admits(slot)

        def joins(key: int, job: Job) -> bool:
            # A barred one may be of any queue.
            if not (self.served.queues.has(job.queue)
                    and look.able(key, job)):
                return False
            if not admits(job.task):
                # No event tells that more threads may run it.
                self._pause = min(PAUSE, self._pause or PAUSE)
                return False
            return True

        return joins

    def _found(self, service: TaskService, name: str) -> Any:
        """The task of this name, as a run finds it, or None."""
        # It may be registered in the site of the service.
        with self.executor.host.running(service, None) as seen:
            return self._find(seen, name)

    def _look(self, service: TaskService, now: float) -> Look:
        return self.lacking.see(
            lambda name: self._found(service, name), now, self.served.queues)

    def _note(self, claims: list[Claim]) -> None:
        self.active.update({claim.token: claim for claim in claims})

    def _forget(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self.active.pop(claim.token, None)
            self.flow.freed.update(claim.gates)

    @property
    def idle(self) -> bool:
        """Does this worker loop, and run no job now?"""
        return self._role == LOOP and not self.active

    @property
    def waits_for(self) -> float | None:
        """Seconds until a job may be taken that may not be now, or None."""
        waits = [seconds for seconds in (
            self.served.waits_for, self._pause, self.flow.rest)
            if seconds is not None]
        return min(waits, default=None)

    def give_back(self, claim: Claim) -> bool:
        """Put back a claimed job whose run has not begun, uncharged.

        Returns: False if it is not ours.
        """
        self._forget([claim])
        return self.executor.give_back(claim, begun=False)
