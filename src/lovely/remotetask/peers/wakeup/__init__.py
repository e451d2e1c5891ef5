"""Wakes idle processors when there is new work, so that they need not poll.

::

    in the same process   after the commit of an add, its process notifies
    ZEO, FileStorage ...  ZODB passes on what was committed, in any process
    PostgreSQL            after the commit of an add, its process sends NOTIFY
    anything else         processors look at their queue every waitTime

A notification says "look", nothing more.  One that gets lost costs time only:
processors look without one, too, every SAFETY_SECONDS where their channel
works, and every ``waitTime`` where it does not.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from ZODB.Connection import Connection
from ZODB.DB import DB

from lovely.remotetask import events
from lovely.remotetask import settings
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.closing import call_on_close
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.peers.forks import check_opened_here
from lovely.remotetask.peers.oids import forget_when_cut_off
from lovely.remotetask.peers.postgres import manager_of
from lovely.remotetask.peers.wakeup.channel import Channel
from lovely.remotetask.peers.wakeup.invalidations import Invalidations
from lovely.remotetask.peers.wakeup.postgres import Notifications
from lovely.remotetask.peers.wakeup.wake_events import Queue
from lovely.remotetask.peers.wakeup.wake_events import WakeEvent
from lovely.remotetask.peers.wakeup.wake_events import oids_of

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

__all__ = ['Listener', 'WAIT_FLOOR', 'Waiter', 'WakeEvent', 'listen', 'notify',
           'notify_after_commit', 'tell', 'waiting']

#: A processor never looks more often than this (seconds), even if its
#: waitTime is shorter: waitTime=0.0 made 0.5.2 spin at 100 % CPU.  It costs
#: no latency, because add() wakes the processors.
WAIT_FLOOR = 0.05


class _Service(Protocol):
    """The part of a TaskService that is used here."""

    @property
    def jobqueue(self) -> Queue: ...


class Listener:
    """How one processor waits for new work in its queue.

    Arguments: ``channel``, of its database; ``wake_event``, see ``listen``.
    Attributes: ``wake_event``; to set it wakes the processor.
    """

    def __init__(self, channel: Channel, wake_event: WakeEvent | None = None
                 ) -> None:
        self.wake_event = wake_event or WakeEvent()
        self._channel = channel
        self._notified = False
        channel.wake_events.add(self.wake_event)

    def open(self) -> None:
        """Listen to other processes, too.

        To be called before the processor's first commit, by which the channel
        finds out whether it works.
        """
        self._channel.open()

    def watch(self, queue: Queue) -> bool:
        """Listen for this queue from now on.

        Arguments: ``queue`` (JobQueue), as stored.
        Returns: True if it was not watched before.  Work that came until now
        was not notified then: look once more.
        """
        if (self.wake_event.queue == queue._p_oid
                and self.wake_event.oids == oids_of(queue)):
            return False
        self._channel.probe()
        self.wake_event.attach(queue)
        return True

    def rest(self, waitTime: float) -> float:
        """How long (seconds) to sleep after a look that found nothing.

        Arguments: ``waitTime`` (seconds), the processor's own.
        """
        wait = max(waitTime, WAIT_FLOOR)
        # After a notification the new work may become visible a moment later:
        # the connection may read from a replica that lags.
        if self._notified or not self._channel.works:
            return wait
        return max(wait, settings.SAFETY_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Sleep until there is a notification, or for so long.

        After a notification it returns once its commit is visible here.
        """
        self._notified = self.wake_event.wait(seconds)
        if self._notified:
            self._channel.wait_until_visible(self.wake_event)

    def close(self) -> None:
        """Stop listening."""
        self._channel.wake_events.remove(self.wake_event)
        self._channel.close()


class Waiter:
    """How a caller waits for a commit that writes a certain object.

    Arguments: ``channel``, of its database.
    """

    def __init__(self, channel: Channel) -> None:
        self._event = WakeEvent()
        # Not the event of a queue: an oid is longer.
        self._event.queue = b''
        self._channel = channel

    def clear(self) -> None:
        """Forget the commits until now."""
        self._event.clear()

    def expect(self, oid: bytes | None) -> None:
        """Wake at commits that write this object."""
        self._event.oids = frozenset(() if oid is None else (oid,))

    def sleep(self, seconds: float) -> None:
        """Sleep until such a commit is visible here, or for so long."""
        if self._event.wait(seconds):
            self._channel.wait_until_visible(self._event)

    @contextmanager
    def listening(self) -> Iterator[Waiter]:
        """Be woken as long as the block runs."""
        self._channel.hear_commits()
        self._channel.wake_events.add(self._event)
        try:
            yield self
        finally:
            self._channel.wake_events.remove(self._event)


# Weak: the channel of a database goes with it.
_known: weakref.WeakKeyDictionary[DB, Channel] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def listen(database: DB, wake_event: WakeEvent | None = None) -> Listener:
    """A listener for a processor of this database.

    The processor opens it, and closes it at its end.
    Arguments: ``wake_event``, the one to be set; None: a new one.
    """
    return Listener(_channel(database), wake_event)


def waiting(database: DB) -> AbstractContextManager[Waiter]:
    """A waiter for commits to this database, as long as the block runs.

    It is woken where ZODB tells what was committed (ZEO, FileStorage), and
    nowhere else: who waits looks now and then all the same.
    """
    return Waiter(_channel(database)).listening()


def notify(database: DB, queue: bytes | None = None) -> None:
    """Wake the processors of a queue, in all processes; never raises.

    Arguments: ``queue``, its oid; None: of all queues in the database.
    Cost: on PostgreSQL one statement on a connection of its own; no commit
    waits for it.
    """
    channel = _channel(database)
    channel.wake_events.set(queue)
    channel.publish(queue)


def notify_after_commit(service: _Service, jar: Connection | None) -> None:
    """Notify of a service's queue once the caller's transaction commits.

    Arguments: ``jar``, the service's connection; None: it is not stored yet,
    so no processor can know of it.
    Raises: OpenedBeforeFork.
    Txn: the caller's, of which nothing but its commit is awaited.
    """
    if jar is not None:
        check_opened_here(jar.db())
        caller.after_commit(jar, _notify, jar.db(), service.jobqueue)


def tell(service: TaskService, added: Iterable[Job]) -> None:
    """Tell subscribers and processors of jobs that follow others.

    Txn: the caller's; processors hear of it when that commits.
    """
    for job in added:
        events.notify(events.JobAdded(service, job))
        notify_after_commit(service, caller.jar_of(service))


#: Called as ``function(queue)``, with the JobQueue, after a commit of this
#: process that has brought new work, by the thread that commits: tests run the
#: work there.
after_notifying: list[Callable[[Any], None]] = []


def _notify(database: DB, queue: Queue) -> None:
    # Read after the commit: a queue that the transaction added had no oid
    # before.
    notify(database, queue._p_oid)
    for function in tuple(after_notifying):
        function(queue)


def _channel(database: DB) -> Channel:
    with _lock:
        if database not in _known:
            _known[database] = _choose(database)
            call_on_close(database, _close)
            # The service of a process that has made it was never loaded.
            forget_when_cut_off(database)
        return _known[database]


def _close(database: DB) -> None:
    _known[database].end()


def _choose(database: DB) -> Channel:
    manager = manager_of(database)
    if manager is not None:
        return Notifications(manager)
    return Invalidations(database)


def _forget() -> None:
    # The thread that may have held the lock is missing in the child of a
    # fork, so nothing would release it.
    global _lock
    _lock = threading.Lock()


call_after_fork(_forget)
