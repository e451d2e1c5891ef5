"""The wake_events of the processors in this process, and what rings them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection
from typing import Any

from lovely.remotetask.log import log
from lovely.remotetask.log import trace
from lovely.remotetask.peers.forks import forgets_after_fork


class WakeEvent(threading.Event):
    """Set when a processor should look at its queue.

    Attributes: ``queue`` (oid), None while it is not known; ``oids``: of the
    objects that are written when there is something new to do; ``news``: the
    last commit that wrote one of them, ``(tid, all its oids)``, if known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: bytes | None = None
        self.news: tuple[bytes, Collection[bytes]] | None = None
        self.oids: frozenset[bytes] = frozenset()

    def attach(self, queue: Any) -> None:
        # Every insert writes a Length.  The trees' buckets come and go.  The
        # queue's own record is written by pause and resume.
        self.oids = frozenset((queue._p_oid, *(
            length._p_oid for lanes in (queue.ready, queue.due, queue.waiting)
            for length in lanes.lengths)))
        self.queue = queue._p_oid


class WakeEvents:
    """Some wake_events, that may be rung from anywhere.

    Weak: a processor that ended without a word leaves nothing.
    """

    def __init__(self) -> None:
        # Replaced, never changed: a ring must not need a lock.  It may come
        # from the thread that talks to the server, with the storage's locks.
        self._refs: tuple[weakref.ref[WakeEvent], ...] = ()
        self._forget()
        forgets_after_fork(self._forget)

    def _forget(self) -> None:
        self._guard = threading.Lock()

    def add(self, event: WakeEvent) -> None:
        with self._guard:
            self._refs = (*(ref for ref in self._refs if ref() is not None),
                           weakref.ref(event))

    def remove(self, event: WakeEvent) -> None:
        with self._guard:
            self._refs = tuple(ref for ref in self._refs
                                if ref() not in (None, event))

    def __bool__(self) -> bool:
        return any(ref() is not None for ref in self._refs)

    def set(self, queue: bytes | None = None) -> None:
        """Ring those of a queue; None: all."""
        for ref in self._refs:
            event = ref()
            if event is not None and (
                    queue is None or event.queue in (None, queue)):
                event.set()

    def changed(self, tid: bytes, oids: Collection[bytes]) -> None:
        """Ring those that wait for one of these objects to be written."""
        for ref in self._refs:
            event = ref()
            if event is not None and not event.oids.isdisjoint(oids):
                event.news = tid, oids
                event.set()


class Channel:
    """What wakes the processors of one database.

    Attributes: ``wake_events``; ``works``: need nobody poll?  None: not
    known yet.
    """

    works: bool | None = None

    def __init__(self) -> None:
        self.wake_events = WakeEvents()

    def open(self) -> None:
        """Begin to hear other processes."""

    def probe(self) -> None:
        """Find out whether it works, after a commit of this process."""

    def wait_until_visible(self, event: WakeEvent) -> None:
        """Wait until what has rung can be seen; never raises."""

    def publish(self, queue: bytes | None) -> None:
        """Ring in other processes."""

    def close(self) -> None:
        """End what is needed by no event any more."""

    def fails(self, reason: object) -> None:
        """Let the processors poll from now on."""
        # Once per outage, not once per attempt.
        say = log.warning if self.works is not False else trace.info
        say('no wake-up by other processes: %s; workers look every waitTime '
            'seconds from now on, and no job is lost',
            ' '.join(str(reason).split()))
        self.works = False
        # They sleep for SAFETY_SECONDS.
        self.wake_events.set()
