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
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import liveness
from lovely.remotetask.clock import SYSTEM_CLOCK
from lovely.remotetask.executor import Claim
from lovely.remotetask.executor import Executor
from lovely.remotetask.executor import ServiceGone
from lovely.remotetask.executor import Take
from lovely.remotetask.settings import CHAIN_PENALTY
from lovely.remotetask.settings import GRACE_COMMITS
from lovely.remotetask.settings import GRACE_FIRST
from lovely.remotetask.settings import PATIENCE_WITH_WORK
from lovely.remotetask.workers import HAND
from lovely.remotetask.workers import LOOP
from lovely.remotetask.workers import Identity
from lovely.remotetask.workers import Retired


class Worker:
    """Runs the jobs of one service in some threads of this process.

    Arguments: as Executor's.
    Attributes: ``identity``; ``active``, job id -> Claim, what this process
    has to end; ``sharedConflicts`` (int), how often a finish was repeated
    because a claim in the same commit conflicted.
    """

    def __init__(self, database: Any, path: Sequence[str], host: Any,
                 participation: Callable[[], Any]) -> None:
        self.database = database
        self.executor = Executor(database, path, host, participation)
        self.stopping = self.executor.stopping
        self.active: dict[int, Claim] = {}
        self.sharedConflicts = 0
        self._role, self._threads = HAND, 1
        self.identity = Identity(self._role)
        # Slots that no thread uses now.
        self._idle: list[int] = []
        self._claiming = threading.Lock()
        # slot -> how many jobs it still finishes alone
        self._alone: dict[int, int] = {}
        # slot -> when (monotonic) it last finished a job
        self._last: dict[int, float] = {}
        self._lanes = Lanes()

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
        return len(left)

    # -- claim ----------------------------------------------------------------

    def claim(self, jobid: int | None = None) -> Claim | None:
        """Take a job: the next one, or this one if it is queued or claimed.

        Txn: a short one of its own, retried alone.
        """
        with self._claiming:
            began = SYSTEM_CLOCK.monotonic()
            while True:
                try:
                    claim = self._claim(jobid)
                    break
                except Retired:
                    self.enroll()
            if claim is not None:
                if claim.slot in self._idle:
                    self._idle.remove(claim.slot)
                self.active[claim.jobid] = claim
                self._lanes.took(SYSTEM_CLOCK.monotonic() - began)
            return claim

    def _claim(self, jobid: int | None) -> Claim | None:
        def take(service: Any) -> Claim | None:
            queue = service.jobqueue
            # Looking writes nothing: an idle worker commits nothing.
            if jobid is None and (queue.paused or not queue.has_waiting(
                    service.clock.now())):
                return None
            # None is idle where jobs are run by hand in several threads.
            slots = tuple(self._idle) or (
                queue.take_slot(self.identity.id),)
            return self._take(service, slots, jobid)

        claim: Claim | None = self.executor.write(take)
        return claim

    def _take(self, service: Any, slots: Sequence[int],
              jobid: int | None = None,
              own_only: bool = False) -> Claim | None:
        """Claim a job for one of these slots, in the current transaction."""
        queue = service.jobqueue
        allowed = None
        if jobid is None:
            allowed = self._lanes.share(queue, slots, own_only)
        token = self.identity.token()
        slot = slots[0]
        job = queue.claim(token, slot, service.clock.now(), jobid, allowed,
                          ready_only=own_only)
        return None if job is None else Claim(job.id, token, slot)

    @property
    def waits_for(self) -> float | None:
        """Seconds until a job of others may be helped with; None: no such."""
        return self._lanes.waits_for

    # -- run ------------------------------------------------------------------

    def run(self, claim: Claim, chain: bool = False) -> Claim | None:
        """Run a claimed job to its end.

        Arguments: ``chain``: claim the next job in the commit that finishes
        this one, where that is safe.
        Returns: that job, or None.
        Txn: see Executor.run.
        """
        chained: Claim | None = None

        def chaining(quick: bool) -> Any:
            return self._chaining(claim, quick)

        try:
            if chain:
                chained = self.executor.run(claim, chaining)
            else:
                self.executor.run(claim)
            return chained
        finally:
            if chained is not None:
                self.active[chained.jobid] = chained
            if self.active.get(claim.jobid) == claim:
                del self.active[claim.jobid]
            if chained is None and claim.token[0] == self.identity.id:
                self._idle.append(claim.slot)

    @contextmanager
    def _chaining(self, claim: Claim, quick: bool) -> Iterator[Take | None]:
        """What finds the next job for a finish's commit; None: not now."""
        alone = self._alone.get(claim.slot, 0)
        now, last = SYSTEM_CLOCK.monotonic(), self._last.get(claim.slot, 0.0)
        self._last[claim.slot] = now
        # After a pause others may be about to help with what lies in our
        # lanes; whoever goes on without one is left alone there.
        if (not quick or alone or now - last > GRACE_FIRST / 2
                or self.stopping.is_set()):
            self._alone[claim.slot] = max(0, alone - 1)
            yield None
            return
        taken: list[Claim] = []

        def take(service: Any) -> Claim | None:
            queue, now = service.jobqueue, service.clock.now()
            # What is due is for a claim of its own: bringing it in writes
            # what others write.
            if queue.paused or queue.has_due(now) or not queue.ready:
                return None
            found = self._take(service, [claim.slot], own_only=True)
            if found is not None:
                taken.append(found)
            return found

        try:
            yield take
        except TransientError:
            # The only way in which a claim can undo finished work; what
            # conflicts once does so again.
            if taken:
                self.sharedConflicts += 1
                self._alone[claim.slot] = CHAIN_PENALTY
            raise

    def give_back(self, claim: Claim) -> bool:
        """Put a claimed job back, uncharged; False if it is not ours."""
        self.active.pop(claim.jobid, None)
        return self.executor.give_back(claim)


class Lanes:
    """Which lanes of a queue the threads of this worker take from.

    Lanes are shared out among the threads of all workers, so that they do not
    meet; a head of somebody else's lane that lies still is taken all the
    same: its owner may be busy, or dead.
    """

    def __init__(self) -> None:
        self.waits_for: float | None = None
        self._still: dict[int, tuple[int, float]] = {}
        self._average = 0.0

    def took(self, seconds: float) -> None:
        """Learn how long a claim's commit takes."""
        self._average += (seconds - self._average) / 8

    @property
    def grace(self) -> float:
        """How long (seconds) a foreign head must lie still."""
        # A commit in progress must not look like a stand-still.
        return max(GRACE_FIRST, GRACE_COMMITS * self._average)

    def share(self, queue: Any, slots: Sequence[int], own_only: bool
              ) -> Callable[[int, int], bool] | None:
        """What says whether the head of a lane may be taken; None: all may.

        Arguments: ``slots``, the threads that could run it; ``own_only``:
        leave the lanes of all others alone.
        """
        self.waits_for = None
        threads = [number for number, slot in queue.slots.items()
                   if (slot.owner or '').startswith(LOOP)]
        count = len(threads)
        own = {index for index, number in enumerate(threads)
               if number in slots}
        if not own or len(own) == count:
            return None
        now, patience = SYSTEM_CLOCK.monotonic(), self.grace
        if any(lane % count in own for lane, _ in queue.ready.heads()):
            # Whoever has work of its own helps only where nobody else does.
            patience *= PATIENCE_WITH_WORK

        def allowed(lane: int, key: int) -> bool:
            if lane % count in own:
                return True
            if own_only:
                return False
            seen, since = self._still.get(lane, (None, now))
            if seen != key:
                self._still[lane] = (key, now)
                since = now
            left = patience - (now - since)
            if left <= 0:
                return True
            self.waits_for = min(left, self.waits_for or left)
            return False

        return allowed
