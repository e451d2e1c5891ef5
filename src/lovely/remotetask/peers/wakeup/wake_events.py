"""The events that wake the processors of this process."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection
from collections.abc import Sequence
from typing import Protocol

from BTrees.Length import Length
from persistent import Persistent

from lovely.remotetask.peers.forks import call_after_fork


class _Lanes(Protocol):
    _p_oid: bytes

    @property
    def lengths(self) -> Sequence[Length]: ...


class Queue(Protocol):
    """The part of a JobQueue that is used here."""

    _p_oid: bytes

    @property
    def named(self) -> Persistent: ...

    @property
    def limits(self) -> Persistent: ...

    def all_ready(self) -> Sequence[_Lanes]: ...

    @property
    def suspects(self) -> _Lanes: ...

    @property
    def due(self) -> _Lanes: ...

    @property
    def waiting(self) -> _Lanes: ...


def oids_of(queue: Queue) -> frozenset[bytes]:
    """The objects of which one is written whenever there is new work."""
    return frozenset((queue._p_oid, queue.named._p_oid, queue.limits._p_oid, *(
        ready._p_oid for ready in queue.all_ready()), *(
        length._p_oid for lanes in (
            *queue.all_ready(), queue.suspects, queue.due, queue.waiting)
        for length in lanes.lengths)))


class WakeEvent(threading.Event):
    """Set when a processor should look at its queue.

    Attributes: ``queue`` (oid), None until it is known; ``oids``, of the
    objects of which one is written whenever there is new work; ``commit``,
    the latest that wrote one of them: ``(tid, the oids of all that it
    wrote)``, or None where that is unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: bytes | None = None
        self.commit: tuple[bytes, Collection[bytes]] | None = None
        self.oids: frozenset[bytes] = frozenset()

    def attach(self, queue: Queue) -> None:
        """Make this the event of a queue's processor."""
        # Every insert writes a Length; the trees' buckets come and go.  The
        # queue's own record is written by pause and resume.
        # A queue that gets a name is a new record of their mapping.
        self.oids = oids_of(queue)
        self.queue = queue._p_oid


class WakeEvents:
    """The wake events of one database's processors in this process.

    False if there are none.  Each is held weakly: a processor that ended
    without closing its listener leaves nothing behind.
    """

    def __init__(self) -> None:
        # Replaced, never changed, so that to set events needs no lock: that
        # may happen in ZEO's thread, with the storage's locks held.
        self._refs: tuple[weakref.ref[WakeEvent], ...] = ()
        self._forget()
        call_after_fork(self._forget)

    def _forget(self) -> None:
        self._guard = threading.Lock()

    def __bool__(self) -> bool:
        return any(ref() is not None for ref in self._refs)

    def add(self, event: WakeEvent) -> None:
        """Set this one, too, from now on."""
        with self._guard:
            self._refs = (*(ref for ref in self._refs if ref() is not None),
                          weakref.ref(event))

    def remove(self, event: WakeEvent) -> None:
        """Set this one no more."""
        with self._guard:
            self._refs = tuple(ref for ref in self._refs
                               if ref() not in (None, event))

    def set(self, queue: bytes | None = None) -> None:
        """Set the events of a queue (oid), and those whose queue is unknown.

        Arguments: ``queue``: None: set all.
        """
        for ref in self._refs:
            event = ref()
            if event is not None and (
                    queue is None or event.queue in (None, queue)):
                event.set()

    def set_written(self, tid: bytes, oids: Collection[bytes]) -> None:
        """Set the events that wait for one of the objects of a commit.

        Arguments: ``tid``, of the commit; ``oids``, of all that it wrote.
        """
        for ref in self._refs:
            event = ref()
            if event is not None and not event.oids.isdisjoint(oids):
                event.commit = tid, oids
                event.set()
