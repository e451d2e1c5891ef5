"""Liveness by beats: a counter in the database that goes on, or does not."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from zope.interface import implementer

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import forgets_after_fork

KIND = 'beat'

# Whom nobody looked at for so long (seconds) has no record any more.
_FORGET_SECONDS = 3600.0


@dataclass
class _Seen:
    """What an observer knows of a process."""

    looked: float
    silence: float = 0.0
    # One per worker of the process; any that goes on shows that it lives.
    counts: dict[Any, Any] = field(default_factory=dict)


@implementer(ILiveness)
class Heartbeat:
    """Dead after a time of silence, by the observer's clock.  See ILiveness

    No two clocks need to agree.  At the first look nothing is known yet, and
    the silence begins.
    Arguments: ``clock`` (IClock); ``dead_seconds``; ``beat_seconds``: one
    look adds at most that to a silence, however long ago the last one was.
    An observer that was stopped itself (a suspended machine, a paused
    container) has heard nothing, which says nothing about the others.
    """

    lost = False

    def __init__(self, clock: Any = SYSTEM_CLOCK,
                 dead_seconds: float | None = None,
                 beat_seconds: float | None = None) -> None:
        self._clock = clock
        self._dead_seconds = (settings.DEAD_SECONDS if dead_seconds is None
                              else dead_seconds)
        self._most = (settings.BEAT_SECONDS if beat_seconds is None
                      else beat_seconds)
        self._forget()
        forgets_after_fork(self._forget)

    def _forget(self) -> None:
        self._identity = uuid.uuid4().hex
        self._seen: dict[str, _Seen] = {}
        self._guard = threading.Lock()

    def announce(self) -> tuple[Any, ...]:
        """See ILiveness"""
        return (KIND, self._identity)

    def alive(self, evidence: Any, beat: Any) -> bool | None:
        """See ILiveness"""
        silence = self.silence(evidence, beat)
        return None if silence is None else silence < self._dead_seconds

    def close(self) -> None:
        """See ILiveness; who beats no more is dead after its time."""

    def silence(self, evidence: Any, beat: Any) -> float | None:
        """For how long (seconds) nothing was heard; None: not of this kind."""
        match evidence:
            case ('beat', str() as identity):
                return self.silence_of(identity, beat)
        return None

    def silence_of(self, identity: str, beat: Any) -> float:
        """The same for the identity of a process (str)."""
        now = self._clock.monotonic()
        which = getattr(beat, '_p_oid', None)
        count = getattr(beat, 'count', beat)
        with self._guard:
            seen = self._seen.get(identity)
            if seen is None:
                self._drop_old(now)
                seen = self._seen[identity] = _Seen(now)
            seen.silence += min(max(now - seen.looked, 0.0), self._most)
            seen.looked = now
            # A worker without a beat says nothing, least of all that it is
            # another one's turn.
            if count is not None and seen.counts.get(which) != count:
                seen.counts[which] = count
                seen.silence = 0.0
            return seen.silence

    def _drop_old(self, now: float) -> None:
        for identity in [identity for identity, seen in self._seen.items()
                         if now - seen.looked > _FORGET_SECONDS]:
            del self._seen[identity]
