"""A worker: claims jobs, runs them, and can be told from a dead one.

::

    enroll -> claim -> run -+-> claim ...
      ^                     |
      |  Retired            +-> leave

Everything it does is under its id.  Whoever declares it dead retires that id;
the next claim notices and enrolls under a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import db
from lovely.remotetask import liveness
from lovely.remotetask import wakeup
from lovely.remotetask.clock import SYSTEM_CLOCK
from lovely.remotetask.executor import Claim
from lovely.remotetask.executor import Executor
from lovely.remotetask.executor import ServiceGone
from lovely.remotetask.executor import Take
from lovely.remotetask.grouping import Group
from lovely.remotetask.lanes import Ahead
from lovely.remotetask.settings import CHAIN_PENALTY
from lovely.remotetask.settings import CLAIM_TRIES
from lovely.remotetask.settings import DUE_LOOK
from lovely.remotetask.settings import GRACE_FIRST
from lovely.remotetask.settings import GROUP_PATIENCE
from lovely.remotetask.settings import SESSION_JOBS
from lovely.remotetask.settings import SPENT_JOBS
from lovely.remotetask.settings import log
from lovely.remotetask.settings import trace
from lovely.remotetask.sharing import LaneShares
from lovely.remotetask.workers import HAND
from lovely.remotetask.workers import Identity
from lovely.remotetask.workers import Retired


class Worker:
    """Runs the jobs of one service in some threads of this process.

    Arguments: as Executor's.
    Attributes: ``identity``; ``active``, job id -> Claim, what this process
    has to end; ``groups``, slot -> Group, what runs with one commit now;
    ``alone``, slot -> how many jobs it still finishes alone;
    ``sharedConflicts`` (int), how often a finish was repeated because a claim
    in the same commit conflicted.
    """

    def __init__(self, database: Any, path: Sequence[str], host: Any,
                 participation: Callable[[], Any]) -> None:
        self.database = database
        self.executor = Executor(database, path, host, participation)
        self.stopping = self.executor.stopping
        self.active: dict[int, Claim] = {}
        self.groups: dict[int, Group] = {}
        self.alone: dict[int, int] = {}
        self.sharedConflicts = 0
        self._role, self._threads = HAND, 1
        self.identity = Identity(self._role)
        # Slots that no thread uses now.
        self._idle: list[int] = []
        self._claiming = threading.Lock()
        self._lanes = LaneShares()

    # -- enroll ---------------------------------------------------------------

    def enroll(self, role: str | None = None,
               threads: int | None = None) -> None:
        """Become known, under a new id, with a slot for each thread.

        Arguments: ``role``: a LOOP gets lanes of its own; what is run by
        hand may not come back for them.
        Txn: a short one of its own.
        """
        life = liveness.for_database(self.database)
        self._role = role or self._role
        self._threads = threads or self._threads
        identity = Identity(self._role)

        def enroll(service: Any) -> list[int]:
            queue = service.jobqueue
            queue.enroll(identity.id, life.announce(), life.needs_beat)
            return [queue.take_slot(identity.id)
                    for _ in range(self._threads)]

        # Also where the old id was retired: its slots are gone with it, and
        # threads that still use them come back with nothing.
        self._idle = self.executor.write(enroll)
        self.identity = identity

    def leave(self) -> int:
        """Go: claims go back uncharged, slots are free.

        Returns: how many jobs went back.
        Txn: a short one of its own.
        """
        worker = self.identity.id
        left: list[int] = []
        with suppress(ServiceGone):
            left = self.executor.write(
                lambda service: service.jobqueue.retire(
                    worker, service.clock.now(), charged=False))
        self._idle.clear()
        if left:
            wakeup.ring(self.database)
        return len(left)

    # -- claim ----------------------------------------------------------------

    def claim(self, jobid: int | None = None) -> Claim | None:
        """Take a job: the next one, or this one if it is queued or claimed.

        Txn: a short one of its own, retried alone.
        """
        for claim in self._claim(jobid, alone=True):
            return claim
        return None

    def claim_some(self) -> list[Claim]:
        """Take the next job, and what may share a commit with it.

        Txn: as ``claim``.
        """
        return self._claim(None, alone=False)

    def _claim(self, jobid: int | None, alone: bool) -> list[Claim]:
        def take(service: Any) -> list[Claim]:
            queue = service.jobqueue
            # Looking writes nothing: an idle worker commits nothing.  Not
            # has_waiting(): what a dead worker left in our lanes is removed.
            if jobid is None and (queue.paused or not (
                    queue.ready or queue.has_due(service.clock.now()))):
                return []
            # None is idle where jobs are run by hand in several threads.
            slots = tuple(self._idle) or (
                queue.take_slot(self.identity.id),)
            return self._take(service, slots, jobid, alone=alone)

        with self._claiming:
            began = SYSTEM_CLOCK.monotonic()
            while True:
                try:
                    claims: list[Claim] = self.executor.write(take)
                    break
                except Retired:
                    self.enroll()
            if claims:
                if claims[0].slot in self._idle:
                    self._idle.remove(claims[0].slot)
                self._note(claims)
                self._lanes.took(SYSTEM_CLOCK.monotonic() - began)
            return claims

    def _take(self, service: Any, slots: Sequence[int],
              jobid: int | None = None, ahead: Any = None,
              alone: bool = False) -> list[Claim]:
        """Claim jobs for one of these slots, in the current transaction."""
        queue = service.jobqueue
        allowed = more = None
        if jobid is None:
            allowed = self._lanes.share(queue, slots, ahead is not None)
        if not alone:
            more = self._more(service)
        slot = slots[0]
        given: list[tuple[str, int]] = []

        def tokens() -> Iterator[tuple[str, int]]:
            while True:
                given.append(self.identity.token())
                yield given[-1]

        jobs = queue.claim(tokens(), slot, service.clock.now(), jobid,
                           allowed, ahead, more)
        return [Claim(job.id, token, slot, job.task)
                for job, token in zip(jobs, given, strict=False)]

    def _more(self, service: Any) -> Callable[[Any, int], bool]:
        executor = self.executor
        return executor.pace.group(
            lambda name: executor.host.task(
                service, service.taskInterface, name))

    def _note(self, claims: list[Claim]) -> None:
        for claim in claims:
            self.active[claim.jobid] = claim

    def _forget(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            if self.active.get(claim.jobid) == claim:
                del self.active[claim.jobid]

    @property
    def waits_for(self) -> float | None:
        """Seconds until a job of others may be helped with; None: no such."""
        return self._lanes.waits_for

    # -- run ------------------------------------------------------------------

    def run(self, claim: Claim) -> None:
        """Run a claimed job to its end.

        Txn: see Executor.run.
        """
        try:
            with db.session(self.database) as session:
                self.executor.run(claim, session)
        finally:
            self._forget([claim])
            self._free(claim)

    def work(self, claims: list[Claim], go_on: Callable[[], bool]) -> None:
        """Run claimed jobs of one slot, and what can be had after them.

        The next jobs are claimed in the commit that finishes some, where
        that is safe, so that a job costs one commit.
        Arguments: ``go_on()``: False: nothing more is to be claimed.
        Txn: see Executor.run and Group.run.
        """
        first = claims[0]
        chain = _Chain(self, first.slot, go_on)
        try:
            while claims:
                # A connection of its own for a while, not for ever: what
                # was set for the pool meanwhile counts for new ones.
                with db.session(self.database) as session:
                    for _ in range(SESSION_JOBS):
                        claims = self._step(claims, session, chain)
                        if (not claims
                                or len(chain.ahead.spent) >= SPENT_JOBS):
                            chain.sweep(session)
                        if not claims:
                            break
        finally:
            for claim in claims:
                self.give_back(claim)
            self._free(first)

    def _step(self, claims: list[Claim], session: db.Session,
              chain: _Chain) -> list[Claim]:
        """Run some; returns those to run next."""
        following: list[Claim] = []
        if len(claims) == 1:
            try:
                following = self.executor.run(claims[0], session, chain)
            finally:
                self._note(following)
                self._forget(claims)
            return following
        if self.executor.pace.is_alone(claims[0].task):
            # That was found out after these had been claimed together.
            if not chain.goes_on():
                for claim in claims:
                    self.give_back(claim)
                return []
            try:
                self.executor.run(claims[0], session)
            finally:
                self._forget(claims[:1])
            return claims[1:]
        group = self.groups[claims[0].slot] = Group(self.executor, claims)
        try:
            following = group.run(session, chain)
        finally:
            del self.groups[claims[0].slot]
            waiting = list(group.waiting)
            self._note(following)
            self._forget(set(claims).difference(waiting))
        if waiting and not chain.goes_on():
            for claim in waiting:
                self.give_back(claim)
            return []
        return waiting or following

    def _free(self, claim: Claim) -> None:
        if claim.token[0] == self.identity.id:
            self._idle.append(claim.slot)

    def hand_over(self) -> None:
        """Give back what waits behind a job that takes its time."""
        for group in list(self.groups.values()):
            while group.waiting and group.waits() > GROUP_PATIENCE:
                with suppress(IndexError):      # begun at this very moment
                    self.give_back(group.waiting.pop())

    def give_back(self, claim: Claim) -> bool:
        """Put a claimed job back, uncharged; False if it is not ours."""
        self.active.pop(claim.jobid, None)
        return self.executor.give_back(claim)


class ClaimFailed(TransientError):
    """What was to follow a job could not be claimed in its commit."""


class _Chain:
    """Claims what follows in the commit that finishes some jobs of a slot."""

    def __init__(self, worker: Worker, slot: int,
                 go_on: Callable[[], bool]) -> None:
        self._worker = worker
        self._slot = slot
        self._go_on = go_on
        self._ended = self._looked = SYSTEM_CLOCK.monotonic()
        # What the latest commit has claimed, if it gets through.
        self._taken: list[Claim] = []
        self.ahead = Ahead()

    def goes_on(self) -> bool:
        """Is another job to be run in this thread?"""
        return not self._worker.stopping.is_set() and self._go_on()

    @contextmanager
    def __call__(self, quick: bool) -> Iterator[Take | None]:
        """What finds the next jobs for a finish's commit; None: not now."""
        worker, slot = self._worker, self._slot
        alone = worker.alone.get(slot, 0)
        now, last = SYSTEM_CLOCK.monotonic(), self._ended
        self._ended, self._taken = now, []
        # After a pause others may be about to help with what lies in our
        # lanes; whoever goes on without one is left alone there.
        if (not quick or alone or now - last > GRACE_FIRST / 2
                or not self.goes_on()):
            worker.alone[slot] = max(0, alone - 1)
            yield None
            return
        try:
            yield self._take
            self.ahead.committed()
        except BaseException as error:
            self.ahead.aborted()
            # The only way in which a claim can undo finished work; what
            # conflicts once does so again.
            if self._taken and isinstance(error, TransientError):
                worker.sharedConflicts += 1
                worker.alone[slot] = CHAIN_PENALTY
            raise

    def _take(self, service: Any) -> list[Claim]:
        queue, now = service.jobqueue, SYSTEM_CLOCK.monotonic()
        if queue.paused:
            return []
        if now - self._looked > DUE_LOOK:
            # What is due is for a claim of its own: bringing it in writes
            # what others write.
            if queue.has_due(service.clock.now()):
                return []
            self._looked = now
        try:
            self._taken = self._worker._take(
                service, [self._slot], ahead=self.ahead)
        except TransientError:
            raise
        except Exception as error:
            # Not the fault of the job that has just been run: it is run
            # again, and finishes alone.
            log.exception('A claim has failed; the job before it runs again')
            self._worker.alone[self._slot] = CHAIN_PENALTY
            raise ClaimFailed(str(error)) from error
        return self._taken

    def sweep(self, session: db.Session) -> None:
        """Remove from the lanes what was claimed here.

        Txn: one of its own on the session, retried alone.
        """
        tries = 0
        while self.ahead.spent:
            try:
                with self._worker.executor.transaction(session) as service:
                    service.jobqueue.remove(self.ahead.spent)
                    session.commit()
                self.ahead.removed()
            except TransientError:
                tries += 1
                if tries == CLAIM_TRIES:
                    return      # others who come by remove it
            except Exception:
                # Nothing depends on it, and the next claim will tell.
                trace.exception('what was claimed stays in its lanes')
                return
