"""Suspects: jobs that ran when their worker died; each runs alone then.

::

    a look finds a suspect that waits
      |
      +- nothing runs in this process -----------> it runs; no other job is
      |                                            claimed until it has ended,
      +- jobs run:                                 or SUSPECT_SECONDS passed
           up to 5 s    other processes may have room; we go on
           up to 10 s   we claim nothing, so that this process gets empty
           then         we go on, up to SUSPECT_SECONDS
           at last      it runs beside the others

One of the suspects may have killed its worker, and would take the others with
it once more.  A process that was started again is empty: it runs the suspects
first, one after another.  A suspect that takes long, or finds no empty process
for long, must not stop the work of a whole site: hence the limits.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.peers.forks import call_after_fork

if TYPE_CHECKING:
    from lovely.remotetask.run.claimer import Claimer
    from lovely.remotetask.store.claiming import Able
    from lovely.remotetask.store.claims import Token
    from lovely.remotetask.store.queue import JobQueue

# For how long (seconds) a busy process lets others take a suspect, and for how
# long it then claims nothing.
_PATIENCE = 5.0
_ROOM_SECONDS = 5.0

#: How often (seconds) a worker looks whether it may claim again.
PAUSE = 0.1


class _Process:
    """What runs in this process: the jobs of all of its workers.

    Attributes: ``workers``; ``claims`` (int), how many claims are under way;
    ``alone``, (worker, token) of the suspect that runs with none beside it,
    the token None while it is being claimed; ``until``, the moment (monotonic)
    from which on other jobs may run beside it; ``room``, (worker, moment): so
    long the workers of other services claim nothing, for that one needs an
    empty process.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: WeakSet[Claimer] = WeakSet()
        self.claims = 0
        self.alone: tuple[Claimer, Token | None] | None = None
        self.until = 0.0
        self.room: tuple[Claimer, float] | None = None

    def is_empty(self) -> bool:
        return not any(worker.active for worker in self.workers)

    def is_closed(self) -> bool:
        """Does a suspect run alone?"""
        if self.alone is None:
            return False
        worker, token = self.alone
        return (SYSTEM_CLOCK.monotonic() < self.until
                and (token is None or token in worker.active))

    def is_kept_from(self, worker: Claimer) -> bool:
        """Is this process to get empty for a suspect of another worker?"""
        return (self.room is not None and self.room[0] is not worker
                and SYSTEM_CLOCK.monotonic() < self.room[1])


_process = _Process()


def _forget() -> None:
    # The threads of the parent run nothing in the child.
    global _process
    _process = _Process()


call_after_fork(_forget)


class Turn:
    """One claim of a worker; a context.

    Attributes: ``closed`` (bool): a suspect runs, or needs this process to
    get empty: claim nothing.
    """

    def __init__(self, worker: Claimer) -> None:
        self._worker = worker
        self._alone = False
        self.closed = False

    def __enter__(self) -> Turn:
        with _process.lock:
            _process.workers.add(self._worker)
            self.closed = (_process.is_closed()
                           or _process.is_kept_from(self._worker))
            if not self.closed:
                _process.claims += 1
        return self

    def take_alone(self) -> bool:
        """Keep this process for one suspect; False: other jobs run here."""
        with _process.lock:
            if not self._alone:
                self._alone = _process.claims == 1 and _process.is_empty()
            if self._alone:
                _process.alone = self._worker, None
                _process.until = (
                    SYSTEM_CLOCK.monotonic() + settings.SUSPECT_SECONDS)
        return self._alone

    def keep_room(self) -> None:
        """Let the other workers of this process claim nothing for a moment.

        For this worker will ask again after PAUSE.
        """
        with _process.lock:
            _process.room = (self._worker,
                             SYSTEM_CLOCK.monotonic() + 3 * PAUSE)

    def took(self, token: Token) -> None:
        """A suspect was claimed so, and runs with none beside it."""
        with _process.lock:
            if self._alone:
                _process.alone = self._worker, token

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: TracebackType | None) -> None:
        with _process.lock:
            if not self.closed:
                _process.claims -= 1
            if self._alone and _process.alone == (self._worker, None):
                _process.alone = None       # it took none


def is_kept_from(worker: Claimer) -> bool:
    """See _Process.is_kept_from"""
    return _process.is_kept_from(worker)


class Suspects:
    """For how long this worker has seen the next suspect of its queue wait.

    ``able``, see Claiming.claim_next: only those that it can run count.
    ``opens``, of the same kind: one whose gates are shut goes on waiting, and
    the next one is looked at.  Else others would pass the gate before it as
    long as there are any: it is hardly ever open while a process is empty.
    """

    def __init__(self) -> None:
        # Key -> since when (monotonic), up to the next one to run.
        self._since: dict[int, float] = {}

    def waited(self, queue: JobQueue, able: Able, opens: Able
               ) -> float | None:
        """For how long (seconds) it has waited; None: there is none."""
        now, seen = SYSTEM_CLOCK.monotonic(), {}
        found = None
        for key, job in queue.able_suspects(able):
            seen[key] = self._since.get(key, now)
            if opens(key, job):
                found = now - seen[key]
                break
        self._since = seen
        return found

    def wants_room(self, queue: JobQueue, able: Able, opens: Able) -> bool:
        """Is this worker to claim no other jobs, so that one can run alone?"""
        waited = self.waited(queue, able, opens)
        return (waited is not None
                and 0 <= waited - _PATIENCE < _ROOM_SECONDS)
