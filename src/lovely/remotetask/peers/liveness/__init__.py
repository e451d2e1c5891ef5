"""Does the process of a worker still live?  Four means, and their verdict.

::

    exclusive   only we can open the storage: everybody else is dead
    lock        a locked file: tells at once, on the same host
    pg          a locked number in PostgreSQL: tells at once, from anywhere
    beat        a counter in the database: tells after DEAD_SECONDS of silence

A wrong verdict costs repeated work, never correctness: tokens see to that.
Source: new.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.peers.forks import forgets_after_fork
from lovely.remotetask.peers.liveness.exclusive import ExclusiveStorage
from lovely.remotetask.peers.liveness.heartbeat import Heartbeat
from lovely.remotetask.peers.liveness.lockfile import LockFile
from lovely.remotetask.peers.liveness.postgres import PostgresLock

__all__ = ['ExclusiveStorage', 'HELD_SECONDS', 'Heartbeat', 'Liveness',
           'LockFile', 'PostgresLock', 'for_database']

#: A process that holds its lock and is silent for so long (seconds) counts as
#: dead.  Stopped and forgotten in a debugger, or a command that was started
#: with the lock in its hands: its jobs must not wait for that.
HELD_SECONDS = 600.0


class Liveness:
    """All means that a database allows, and one verdict.  See ILiveness

    It differs in three points: the evidence is a tuple of the evidence of
    each means; ``alive`` is never None; ``needs_beat`` (bool) says whether
    anybody looks at beats.

    Arguments: ``database`` (ZODB.DB); ``clock`` (IClock), whose monotonic
    time counts; ``beat_seconds``, how often workers give signs of life;
    ``dead_seconds``, after how much silence one counts as dead;
    ``directory``, of the lock files, for tests and unusual hosts: never one
    on NFS.
    Raises: ConfigurationError for times that declare the living dead.
    """

    def __init__(self, database: Any, clock: Any = SYSTEM_CLOCK,
                 beat_seconds: float | None = None,
                 dead_seconds: float | None = None,
                 directory: str | None = None) -> None:
        if beat_seconds is None:
            beat_seconds = settings.BEAT_SECONDS
        if dead_seconds is None:
            dead_seconds = settings.DEAD_SECONDS
        if not 0 < beat_seconds * 2 <= dead_seconds:
            raise ConfigurationError(
                f'dead_seconds is {dead_seconds!r} with beat_seconds '
                f'{beat_seconds!r}; make it twice that or more: one late '
                f'beat must not cost a living worker its jobs')
        self.beat_seconds = beat_seconds
        self.dead_seconds = dead_seconds
        self._exclusive = ExclusiveStorage(database)
        self._beats = Heartbeat(clock, dead_seconds, beat_seconds)
        self._locks = (LockFile(directory), PostgresLock(database, clock))
        self.needs_beat = not self._exclusive.available
        # On an exclusive storage nobody could ever look at the others.
        self._means = ((*self._locks, self._beats) if self.needs_beat
                       else (self._exclusive,))

    @property
    def lost(self) -> bool:
        """See ILiveness"""
        return any(means.lost for means in self._means)

    def announce(self) -> tuple[tuple[Any, ...], ...]:
        """See ILiveness"""
        found = [means.announce() for means in self._means]
        return tuple(evidence for evidence in found if evidence)

    def alive(self, evidence: Any, beat: Any) -> bool:
        """See ILiveness; never None."""
        parts = evidence if isinstance(evidence, tuple) else ()
        for part in parts:
            verdict = self._exclusive.alive(part, beat)
            if verdict is not None:
                return verdict
        if not self.needs_beat:
            # Made when several processes had the storage open: all of them
            # are gone, or we could not have opened it.
            return False
        # Counted at every look, so that it is known once a lock says nothing.
        silence = self._silence(evidence, parts, beat)
        for means in self._locks:
            for part in parts:
                verdict = means.alive(part, beat)
                if verdict is not None:
                    return verdict and silence < HELD_SECONDS
        return silence < self.dead_seconds

    def close(self) -> None:
        """See ILiveness; for the end of the process, or of the database."""
        for means in self._means:
            means.close()

    def _silence(self, evidence: Any, parts: tuple[Any, ...],
                 beat: Any) -> float:
        for part in parts:
            seconds = self._beats.silence(part, beat)
            if seconds is not None:
                return seconds
        # Of another release: its beat still tells.
        return self._beats.silence_of(repr(evidence), beat)


# Weak: a database that is gone takes its proofs with it.
_known: weakref.WeakKeyDictionary[Any, Liveness] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def for_database(database: Any, **options: Any) -> Liveness:
    """The one Liveness of this process for a database.

    All services of a process share it: they live and die together.
    Arguments: ``options`` as Liveness has them; the first caller's count.
    """
    with _lock:
        if database not in _known:
            _known[database] = Liveness(database, **options)
        return _known[database]


def _forget() -> None:
    # In a child made by fork each means takes a new identity by itself; but
    # the thread that may have held the lock is not there to let it go.
    global _lock
    _lock = threading.Lock()


forgets_after_fork(_forget)
