"""Flow control: which gates the jobs of a service have to pass.

A gate is that of a task, or of a concurrencyKey.  Tasks say how many of their
jobs may run, and people may say otherwise; see store.gates for how it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.fields.limits import Limit
from lovely.remotetask.fields.limits import check_limit
from lovely.remotetask.job import Job
from lovely.remotetask.store.gates import Gate
from lovely.remotetask.task import task_option

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue

# For how long (seconds) the options of a task are remembered.
_REMEMBER_SECONDS = 10.0

# How often (seconds) a worker looks for gates that are open although no end of
# a job here has told so, and at how many.
_LOOK_SECONDS = 0.5
_LOOK_GATES = 100


class Flow:
    """Knows the gates of a service's jobs, and which ones may be open.

    Attributes: ``freed``, the names of gates behind which the next job is to
    be looked for.
    """

    def __init__(self) -> None:
        self.freed: set[str] = set()
        self._find: Callable[[str], Any] = lambda name: None
        self._stored: dict[str, Any] = {}
        # Name of a task -> its gate, and the limit of each of its keys.
        self._tasks: dict[str, tuple[Gate | None, int | None]] = {}
        # What the log was told of a task, whose options are read again and
        # again.
        self._told: dict[str, str] = {}
        self._until = self._next_look = 0.0
        self._start: int | None = None
        # Name of a gate -> when its rate opens it (seconds since 1970).
        self._opening: dict[str, float] = {}
        # Were jobs barred at the latest look, and at what moment was that?
        self._barred, self._now = False, 0.0

    def see(self, queue: JobQueue, find: Callable[[str], Any], now: float
            ) -> None:
        """Begin a transaction that claims.

        Arguments: ``find(name)``, the task of that name, or None; ``now``,
        seconds since 1970.
        """
        moment = SYSTEM_CLOCK.monotonic()
        back = now < self._now
        self.use(find)
        self._now = now
        stored = queue.limits.stored
        if stored != self._stored:
            self.freed.update(self._stored, stored)
            self._stored = stored
            self._tasks.clear()
        if moment > self._until:
            self._until = moment + _REMEMBER_SECONDS
            self._tasks.clear()
        self._barred = bool(queue.barred)
        if not self._barred:
            self.freed.clear()
            self._opening.clear()
            return
        opened = [name for name, opens in self._opening.items()
                  if opens <= now or back]
        self.freed.update(opened)
        for name in opened:
            del self._opening[name]
        if moment >= self._next_look:
            # For the jobs of a worker that was killed.
            self._next_look = moment + _LOOK_SECONDS
            names, self._start = queue.barred_names(
                self._start, _LOOK_GATES, tidy=True)
            self.freed.update(names)

    def use(self, find: Callable[[str], Any]) -> None:
        """Ask for tasks by this function from now on: see ``see``."""
        self._find = find

    def is_due(self, queue: JobQueue, now: float) -> bool:
        """May a job that is barred run by now, or are there other limits?"""
        return queue.limits.stored != self._stored or (bool(queue.barred) and (
            bool(self.freed) or SYSTEM_CLOCK.monotonic() >= self._next_look
            or now < self._now      # the clock has gone back
            or (self.opens is not None and self.opens <= now)))

    @property
    def opens(self) -> float | None:
        """When the rate of a gate opens it that the latest looks have met
        (seconds since 1970), or None.
        """
        return min(self._opening.values(), default=None)

    @property
    def rest(self) -> float | None:
        """In how many seconds to look again; None: no job is barred."""
        if not self._barred:
            return None
        waits = [self._next_look - SYSTEM_CLOCK.monotonic()]
        if self.opens is not None:
            waits.append(self.opens - self._now)
        return max(0.0, min(waits))

    def stay(self, name: str, opens: float) -> None:
        """Note that a gate lets none pass for now.

        Arguments: ``opens``, the moment (seconds since 1970) from which it
        does; inf: when a job ends.
        """
        self.freed.discard(name)
        self._barred = True
        if opens != inf:
            self._opening[name] = opens

    def gates(self, job: Job) -> tuple[Gate, ...]:
        """The gates that a job has to pass; empty for most."""
        found = self._tasks.get(job.task)
        if found is None:
            found = self._tasks[job.task] = self._read(job.task)
        key = job.concurrencyKey
        if key is None:
            return () if found[0] is None else (found[0],)
        name = f'key:{key}'
        stored = self._stored.get(name)
        of_key = (Gate(name, found[1] or 1) if stored is None
                  else Gate(name, *stored))
        return (of_key,) if found[0] is None else (found[0], of_key)

    def _read(self, task_name: str) -> tuple[Gate | None, int | None]:
        task, name = self._find(task_name), f'task:{task_name}'
        limit = Limit()
        per_key = None
        try:
            limit = check_limit(task_option(task, 'limit'),
                                task_option(task, 'rate'))
            per_key = check_limit(task_option(task, 'keyLimit'), None,
                                  'keyLimit').limit
        # A class of the application may have such an attribute, also one that
        # raises anything: that must not keep the worker from its jobs.
        except Exception as error:
            text = describe(error)
            if self._told.get(task_name) != text:
                self._told[task_name] = text
                log.warning('Task "%s" goes without what is wrong of its '
                            'limits: %s', task_name, text)
        stored = self._stored.get(name)
        if stored is not None:
            limit = Limit(*stored)
        gate = None if limit == Limit() else Gate(name, *limit)
        return gate, per_key
