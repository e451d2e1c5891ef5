"""Answers whether the process of a worker still lives.

Each detector announces evidence for its own process, and judges the evidence
that other processes announced::

    exclusive   only this process can open the storage: all others are dead
    lock        a locked file; certain at once, on the same host
    pg          a locked number in PostgreSQL; certain at once, from anywhere
    beat        a counter in the database; dead after DEAD_SECONDS of silence

A wrong verdict costs repeated work, never correctness: a worker that lost its
job by one can commit nothing for it (see its token).
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ZODB.DB import DB

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.closing import call_on_close
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import IClock
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.peers.liveness.exclusive import ExclusiveStorage
from lovely.remotetask.peers.liveness.heartbeat import Heartbeat
from lovely.remotetask.peers.liveness.lockfile import LockFile
from lovely.remotetask.peers.liveness.postgres import PostgresLock

__all__ = ['ExclusiveStorage', 'HELD_SECONDS', 'Heartbeat', 'Liveness',
           'LockFile', 'PostgresLock', 'for_database']

#: A process that is silent for so long (seconds) counts as dead although its
#: lock is held: it may be stopped in a debugger and forgotten, or a command
#: that it started may have inherited the lock.  Its jobs must not wait for
#: that.
HELD_SECONDS = 600.0


class Liveness:
    """Every detector that a database allows, with one verdict.

    As ILiveness, but for three points: the evidence is a tuple of the
    evidence of each detector; ``alive`` never returns None; ``needs_beat``
    (bool) says whether observers look at the beats.

    Arguments: ``database`` (ZODB.DB); ``clock`` (IClock), whose monotonic
    time counts; ``beat_seconds``, the time between two beats of a worker, and
    ``dead_seconds``, after how much silence a process counts as dead, by
    default those of ``settings``; ``directory`` (str) of the lock files, by
    default the user's own: never one on NFS.
    Raises: ConfigurationError for times by which one late beat would make a
    living worker count as dead.
    """

    def __init__(self, database: DB, clock: IClock = SYSTEM_CLOCK,
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
        self._locks: tuple[ILiveness, ...] = (
            LockFile(directory), PostgresLock(database, clock))
        self.needs_beat = not self._exclusive.available
        # No other process could ever read the rest on an exclusive storage.
        self._detectors: tuple[ILiveness, ...] = (
            (*self._locks, self._beats) if self.needs_beat
            else (self._exclusive,))

    @property
    def lost(self) -> bool:
        """See ILiveness"""
        return any(detector.lost for detector in self._detectors)

    def announce(self) -> tuple[tuple[object, ...], ...]:
        """See ILiveness"""
        found = [detector.announce() for detector in self._detectors]
        return tuple(evidence for evidence in found if evidence)

    def alive(self, evidence: object, beat: object) -> bool:
        """See ILiveness; never None."""
        parts = evidence if isinstance(evidence, tuple) else ()
        verdict = _verdict(self._exclusive, parts, beat)
        if verdict is not None:
            return verdict
        if not self.needs_beat:
            # Announced while several processes had the storage open: all of
            # them are gone, or this one could not have opened it.
            return False
        # At every look, so that the silence is known once no lock says
        # anything any more.
        silence = self._silence(evidence, parts, beat)
        for lock in self._locks:
            verdict = _verdict(lock, parts, beat)
            if verdict is not None:
                return verdict and silence < HELD_SECONDS
        return silence < self.dead_seconds

    def close(self) -> None:
        """See ILiveness; for the end of the process, or of the database."""
        for detector in self._detectors:
            detector.close()

    def _silence(self, evidence: object, parts: tuple[object, ...],
                 beat: object) -> float:
        for part in parts:
            seconds = self._beats.silence(part, beat)
            if seconds is not None:
                return seconds
        # Another release announced it; its beat still counts.
        return self._beats.silence_of(repr(evidence), beat)


def _verdict(detector: ILiveness, parts: tuple[object, ...],
             beat: object) -> bool | None:
    """What a detector says of a process; None: it knows nothing of it."""
    for part in parts:
        verdict: bool | None = detector.alive(part, beat)
        if verdict is not None:
            return verdict
    return None


# Weak: the Liveness of a database goes with it.
_known: weakref.WeakKeyDictionary[DB, Liveness] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def for_database(database: DB, **options: Any) -> Liveness:
    """The one Liveness of this process for a database.

    All services of a process share it: they live and die together.
    Arguments: ``options``, as the arguments of Liveness; only those of the
    first call count.
    Raises: ConfigurationError, as Liveness does.
    """
    with _lock:
        if database not in _known:
            _known[database] = Liveness(database, **options)
            call_on_close(database, _close)
        return _known[database]


def _close(database: DB) -> None:
    _known[database].close()


def _forget() -> None:
    # Each detector takes a new identity by itself.  But the thread that may
    # have held the lock is missing in the child, so nothing would release it.
    global _lock
    _lock = threading.Lock()


call_after_fork(_forget)
