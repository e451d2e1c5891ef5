"""Hearing of new work without polling.

::

    in the same process   whoever adds a job rings, once that is committed
    ZEO, FileStorage ...  ZODB tells what was committed, here and elsewhere
    PostgreSQL            whoever adds a job sends a NOTIFY
    anything else         processors look every waitTime

A ring that is lost costs latency only: processors look by themselves, every
SAFETY_SECONDS where a means works, every ``waitTime`` where none does.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge import caller
from lovely.remotetask.peers.forks import forgets_after_fork
from lovely.remotetask.peers.liveness.postgres import manager_of
from lovely.remotetask.peers.wakeup.invalidations import Invalidations
from lovely.remotetask.peers.wakeup.postgres import Notifications
from lovely.remotetask.peers.wakeup.wake_events import Channel
from lovely.remotetask.peers.wakeup.wake_events import WakeEvent

#: A processor never looks more often than this (seconds), whatever its
#: waitTime says: waitTime=0.0 made 0.5.2 spin at 100 % CPU.  It costs no
#: latency, because add() wakes the processors.
WAIT_FLOOR = 0.05

__all__ = ['Listener', 'listen', 'notify']


class Listener:
    """What one processor hears of its queue.

    Arguments: ``means``, of its database.
    Attributes: ``bell``, an event; whoever sets it wakes the processor.
    """

    def __init__(self, channel: Channel) -> None:
        self.wake_event = WakeEvent()
        self._channel = channel
        self._notified = False
        channel.wake_events.add(self.wake_event)

    def open(self) -> None:
        """Hear other processes, too; before the processor's first commit."""
        self._channel.open()

    def watch(self, queue: Any) -> bool:
        """Say of which queue to hear.

        Returns: is it another one than before?  Then nothing was heard of it
        yet: look once more.
        """
        if self.wake_event.queue == queue._p_oid:
            return False
        self._channel.probe()
        self.wake_event.attach(queue)
        return True

    def rest(self, waitTime: float) -> float:
        """How long (seconds) to sleep after a look that found nothing."""
        wait = max(waitTime, WAIT_FLOOR)
        # What has rung may be seen a moment later: from a replica that lags.
        if self._notified or not self._channel.works:
            return wait
        return max(wait, settings.SAFETY_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Sleep until it rings, or so long."""
        self._notified = self.wake_event.wait(seconds)
        if self._notified:
            self._channel.wait_until_visible(self.wake_event)

    def close(self) -> None:
        """Hear no more."""
        self._channel.wake_events.remove(self.wake_event)
        self._channel.close()


# Weak: a database that is gone takes its means with it.
_known: weakref.WeakKeyDictionary[Any, Channel] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def listen(database: Any) -> Listener:
    """An ear for a processor of this database; close it at its end."""
    return Listener(_channel(database))


def notify(database: Any, queue: bytes | None = None) -> None:
    """Wake the processors of a queue, in all processes; never raises.

    Arguments: ``queue``, its oid; None: of all queues in the database.
    """
    channel = _channel(database)
    channel.wake_events.set(queue)
    channel.publish(queue)


def _channel(database: Any) -> Channel:
    with _lock:
        if database not in _known:
            _known[database] = _choose(database)
        return _known[database]


def _choose(database: Any) -> Channel:
    manager = manager_of(database)
    if manager is not None:
        return Notifications(manager)
    return Invalidations(database)


def _forget() -> None:
    # The thread that may have held it is not there, in the child of a fork.
    global _lock
    _lock = threading.Lock()


forgets_after_fork(_forget)


def notify_after_commit(service: Any, jar: Any) -> None:
    """Wake the processors of this queue once this has committed."""
    if jar is not None:
        caller.after_commit(jar, _notify, jar.db(), service.jobqueue)


def _notify(database: Any, queue: Any) -> None:
    notify(database, queue._p_oid)
