"""Liveness by beats: a process is dead when its counter stands still."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from dataclasses import field

from zope.interface import implementer

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import IClock
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import call_after_fork

KIND = 'beat'

# The record of a process that was not looked at for so long (seconds) goes.
_FORGET_SECONDS = 3600.0


@dataclass
class _Seen:
    """What an observer knows of a process.

    Attributes: ``looked``, when it last looked (monotonic seconds);
    ``silence`` (seconds); ``counts``, the last count of each worker of the
    process: the oid of its beat -> count.
    """

    looked: float
    silence: float = 0.0
    counts: dict[bytes | None, object] = field(default_factory=dict)


@implementer(ILiveness)
class Heartbeat:
    """Dead after a time of silence, by the observer's clock.  See ILiveness

    No two clocks need to agree.  The silence begins at the observer's first
    look, which knows of nothing before.
    Arguments: ``clock`` (IClock); ``dead_seconds`` and ``beat_seconds``, by
    default those of ``settings``.  One look adds ``beat_seconds`` to a
    silence at most, however long ago the last look was: an observer that was
    stopped itself (a suspended machine, a paused container) could see no
    beat, and knows nothing of the others.
    """

    lost = False

    def __init__(self, clock: IClock = SYSTEM_CLOCK,
                 dead_seconds: float | None = None,
                 beat_seconds: float | None = None) -> None:
        self._clock = clock
        self._dead_seconds = (settings.DEAD_SECONDS if dead_seconds is None
                              else dead_seconds)
        self._most = (settings.BEAT_SECONDS if beat_seconds is None
                      else beat_seconds)
        self._forget()
        call_after_fork(self._forget)

    def _forget(self) -> None:
        self._identity = uuid.uuid4().hex
        self._seen: dict[str, _Seen] = {}
        self._guard = threading.Lock()

    def announce(self) -> tuple[object, ...]:
        """See ILiveness"""
        return (KIND, self._identity)

    def alive(self, evidence: object, beat: object) -> bool | None:
        """See ILiveness"""
        silence = self.silence(evidence, beat)
        return None if silence is None else silence < self._dead_seconds

    def close(self) -> None:
        """See ILiveness; a process that beats no more is dead in time."""

    def silence(self, evidence: object, beat: object) -> float | None:
        """For how long (seconds) a process has shown no sign of life.

        Arguments: as those of ``alive``.
        Returns: None for evidence of another kind.
        """
        match evidence:
            case ('beat', str() as identity):
                return self.silence_of(identity, beat)
        return None

    def silence_of(self, identity: str, beat: object) -> float:
        """The same by the identity of a process (str).

        Cost: memory for each process that was looked at in the last hour.
        """
        now = self._clock.monotonic()
        which: bytes | None = getattr(beat, '_p_oid', None)
        count = getattr(beat, 'count', beat)
        with self._guard:
            seen = self._seen.get(identity)
            if seen is None:
                self._drop_old(now)
                seen = self._seen[identity] = _Seen(now)
            seen.silence += min(max(now - seen.looked, 0.0), self._most)
            seen.looked = now
            # A worker without a beat shows nothing.  It must not count as a
            # change from the other workers' counts to None and back.
            if count is not None and seen.counts.get(which) != count:
                seen.counts[which] = count
                seen.silence = 0.0
            return seen.silence

    def _drop_old(self, now: float) -> None:
        for identity in [identity for identity, seen in self._seen.items()
                         if now - seen.looked > _FORGET_SECONDS]:
            del self._seen[identity]
