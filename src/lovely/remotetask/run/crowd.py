"""How many threads of a worker run jobs of one task at once.

Runs that write the same objects throw each other away, and a pool of threads
is then slower than one.  So each task has a limit that the worker learns::

    new     two threads; twice as many after some good ends of each, or after
            _NEW_SECONDS (a long task must not wait for its first end)
      |
      |  conflicts cost more than one run of _RUNS_PER_CONFLICT
      v
    taught  half as many each time, at least one thread; one more after
            _RUNS_TO_RAISE good ends, or where none ends for much longer than
            a run has taken: one that hangs must not hold up the others

A run that began before the limit changed teaches nothing: it met the crowd of
before.  But a conflict of a new task always counts: that crowd was smaller.
The limit is no promise: a claim looks at what runs at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.store.claims import Token

# With fewer runs per conflict than this the limit goes down: a worker throws
# at most one run of twenty away.
_RUNS_PER_CONFLICT = 20
_RUNS_TO_RAISE = 50

# After so many seconds, and so many times the length of the latest good run,
# without any end, one more thread may run the task.
_STILL_SECONDS = 60.0
_STILL_RUNS = 4

_NEW_LIMIT = 2
_NEW_SECONDS = 1.0


@dataclass
class _Limit:
    """Attributes: ``credit``, the good ends since it changed, less what
    conflicts have cost; ``ended``, the moment of the latest good end, and
    ``took``, for how long that run had gone on (seconds); ``idle``, the latest
    moment at which none ran.
    """

    threads: int
    changed: float
    is_new: bool = True
    credit: int = 0
    ended: float = 0.0
    took: float = 0.0
    idle: float = 0.0

    def change(self, threads: int, now: float) -> None:
        self.threads, self.changed, self.credit = threads, now, 0


class Crowd:
    """Knows which jobs run in the threads of a worker, and who disturbs whom.

    Arguments: ``monotonic()``, seconds; tests pass their own.
    Attributes: ``active``, token -> Claim, the runs that the worker has to
    end; ``threads`` (int), how many it has: with one, nothing is learned.
    """

    def __init__(self, monotonic: Callable[[], float] = (
            SYSTEM_CLOCK.monotonic)) -> None:
        self._monotonic = monotonic
        self.active: dict[Token, Claim] = {}
        self.threads = 1
        self._limits: dict[str, _Limit] = {}

    # -- at a claim -----------------------------------------------------------

    def admits(self, slot: int | None = None) -> Callable[[str], bool]:
        """A function that says whether one more thread may run this task.

        Arguments: ``slot``, the claiming thread's, whose own job is about to
        end; None: another thread is to run the job.
        Cost: O(active jobs) for each task asked for.
        """
        if self.threads == 1:
            return _always
        known: dict[str, bool] = {}

        def admit(name: str) -> bool:
            if name not in known:
                limit = self._limit(name).threads
                known[name] = (limit >= self.threads
                               or len(self._slots(name) - {slot}) < limit)
            return known[name]

        return admit

    def bears_groups(self, name: str) -> bool:
        """May jobs of this task share a commit?

        Not while it is being found out how many threads it bears: a conflict
        would throw all jobs of a group away.
        """
        limit = self._limits.get(name)
        return self.threads == 1 or (
            limit is not None
            and (limit.threads == 1 or limit.threads >= self.threads))

    def _limit(self, name: str) -> _Limit:
        now = self._monotonic()
        limit = self._limits.get(name)
        if limit is None:
            limit = self._limits[name] = _Limit(_NEW_LIMIT, now)
        elif (limit.is_new and limit.threads < self.threads
                and now - limit.changed >= _NEW_SECONDS):
            limit.change(limit.threads * 2, now)
        elif limit.threads < self.threads and not self._slots(name):
            limit.idle = now
        elif limit.threads < self.threads and (
                now - max(limit.changed, limit.ended, limit.idle)
                >= max(_STILL_SECONDS, _STILL_RUNS * limit.took)):
            limit.change(limit.threads + 1, now)
        return limit

    def _slots(self, name: str) -> set[int]:
        """The slots of the threads that have jobs of this task."""
        return {claim.slot for claim in list(self.active.values())
                if claim.task == name}

    # -- at the end of a run --------------------------------------------------

    def ended(self, name: str, began: float) -> None:
        """Note that a run of this task has been committed.

        Arguments: ``began``, when it began (monotonic seconds).
        """
        limit = self._limits.get(name)
        if limit is None:
            return
        limit.ended = now = self._monotonic()
        limit.took = now - began
        if began < limit.changed:
            return
        limit.credit += 1
        if limit.threads >= self.threads:
            limit.credit = min(limit.credit, _RUNS_TO_RAISE)
        elif limit.is_new and limit.credit >= 2 * limit.threads:
            limit.change(limit.threads * 2, now)
        elif limit.credit >= _RUNS_TO_RAISE:
            limit.change(limit.threads + 1, now)

    def conflicted(self, name: str, began: float) -> None:
        """Note that a run of this task has conflicted.

        Arguments: as for ``ended``.
        """
        limit = self._limits.get(name)
        if limit is None or (began < limit.changed and not limit.is_new):
            return
        if limit.ended < began and len(self._slots(name)) < 2:
            return      # it has met no thread of ours
        limit.is_new = False
        limit.credit -= _RUNS_PER_CONFLICT
        if limit.credit < 0:
            limit.change(max(1, min(limit.threads, self.threads) // 2),
                         self._monotonic())

    def is_over(self, name: str) -> bool:
        """Do more threads run this task than may?

        Then a run that has conflicted is given back: repeated at once, it
        would meet the others again, and its thread is free for other tasks.
        """
        limit = self._limits.get(name)
        return limit is not None and len(self._slots(name)) > limit.threads


def _always(name: str) -> bool:
    return True
