"""Wake-up by PostgreSQL's NOTIFY: for RelStorage.

::

    a process that adds jobs       NOTIFY after each commit, in a session
    a process with processors      LISTEN in a session, in a thread

Never in the transaction that stores: commits that notify wait for each other.
"""

from __future__ import annotations

import secrets
import selectors
import socket
import threading
from contextlib import suppress

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.texts import message_of
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.peers.postgres import ConnectionManager
from lovely.remotetask.peers.postgres import KeptSession
from lovely.remotetask.peers.postgres import PostgresSession
from lovely.remotetask.peers.postgres import longer
from lovely.remotetask.peers.wakeup.channel import Channel

# What PostgreSQL calls the channel, and the sessions.
_NAME = 'lovely_remotetask'
_SESSION_NAME = 'remotetask wake-up'

# How long (seconds) a probe may take before the session counts as broken.
_PROBE_SECONDS = 5.0

# A commit of its own that does not wait for the disk: a lost notification
# costs latency only.  In one statement and for that transaction only, or a
# pooler would pass the setting on to a client whose data matter.
_NOTIFY = ("SELECT set_config('synchronous_commit', 'off', true),"
           f" pg_notify('{_NAME}', %s)")


class _ReceiverThread:
    """Receives notifications in a thread, in a session that it renews.

    Every SAFETY_SECONDS it sends a probe, which has to come back: a
    connection may be dead although no error says so, and behind a pooler that
    shares sessions it receives nothing.
    """

    def __init__(self, channel: Notifications) -> None:
        self._channel = channel
        self._inside, self._outside = socket.socketpair()
        self._session: PostgresSession | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True,
                         name='remotetask-wakeup').start()

    def stop(self) -> None:
        self._outside.close()       # wakes the other side

    def abandon(self) -> None:
        """In a child made by fork: leave the session to the parent."""
        self._inside.close()
        self._outside.close()
        if self._session is not None:
            self._session.abandon()

    def _run(self) -> None:
        pause = 0.0
        with self._inside, selectors.DefaultSelector() as stopped:
            stopped.register(self._inside, selectors.EVENT_READ)
            while True:
                try:
                    self._session = PostgresSession(
                        self._channel.manager, _SESSION_NAME)
                    self._receive(self._session)
                    return
                except Exception as error:
                    pause = 0.0 if self._channel.works else pause
                    self._channel.fails(message_of(error))
                finally:
                    if self._session is not None:
                        self._session.close()
                pause = longer(pause)
                if stopped.select(pause):
                    return

    def _receive(self, session: PostgresSession) -> None:
        """Receive until ``stop``.

        Raises: TimeoutError if a probe does not come back; an error of the
        driver if the session breaks.
        """
        connection = session.connection
        if not hasattr(connection, 'poll'):
            raise TypeError(f'the driver {type(connection).__module__} '
                            f'cannot wait for notifications')
        session.run(f'LISTEN {_NAME}')
        awaited, deadline = '', 0.0
        # A selector for this session: a dead connection cannot be taken out
        # again.
        with selectors.DefaultSelector() as ready:
            ready.register(self._inside, selectors.EVENT_READ)
            ready.register(connection, selectors.EVENT_READ)
            while True:
                now = SYSTEM_CLOCK.monotonic()
                if now >= deadline:
                    if awaited:
                        raise TimeoutError(
                            'a notification that was sent did not arrive; '
                            'if there is a pooler, let it pool sessions')
                    awaited = secrets.token_hex(8)
                    self._channel.send(awaited)
                    deadline = now + _PROBE_SECONDS
                found = ready.select(deadline - now)
                if any(key.fileobj is self._inside for key, _ in found):
                    return
                connection.poll()
                while connection.notifies:
                    payload = connection.notifies.pop(0).payload
                    if payload == awaited:
                        awaited, deadline = '', now + settings.SAFETY_SECONDS
                        self._channel.on_probe()
                    else:
                        self._channel.on_notify(payload)


class Notifications(Channel):
    """Notified by NOTIFY of the processes that add jobs.

    Arguments: ``manager``, see ``peers.postgres``.
    Cost: one connection to the server from the first ``publish`` on, and one
    with a thread from ``open`` to ``close``.
    """

    def __init__(self, manager: ConnectionManager) -> None:
        super().__init__()
        self.manager = manager
        self.sender = KeptSession(
            manager, _SESSION_NAME,
            f'workers in other processes cannot be woken: %s; they find new '
            f'jobs when they look, after {settings.SAFETY_SECONDS:.0f} '
            f'seconds at most')
        self._reset()
        call_after_fork(self._forget)

    def _reset(self) -> None:
        # By it this process knows its own notifications.
        self._token = secrets.token_hex(8)
        self._receiver: _ReceiverThread | None = None
        self._guard = threading.Lock()

    def _forget(self) -> None:
        self.sender = self.sender.for_child()
        if self._receiver is not None:
            self._receiver.abandon()
        self.works = None
        self._reset()

    def open(self) -> None:
        """See Channel"""
        with self._guard:
            if self._receiver is None:
                self._receiver = _ReceiverThread(self)
                self._receiver.start()

    def close(self) -> None:
        """See Channel"""
        with self._guard:
            if self._receiver is not None and not self.wake_events:
                self._receiver.stop()
                self._receiver, self.works = None, None

    def end(self) -> None:
        """See Channel"""
        with self._guard:
            if self._receiver is not None:
                self._receiver.stop()
                self._receiver, self.works = None, None
        self.sender.close(for_good=True)

    def publish(self, queue: bytes | None) -> None:
        """See Channel"""
        # The sender's log says why it cannot send.
        with suppress(ConnectionError):
            self.send(f'{self._token} {(queue or b"").hex()}')

    def send(self, payload: str) -> None:
        """Send a notification.

        Raises: ConnectionError with the reason; at once soon after a failure,
        so that an add does not wait for one attempt after the other.
        """
        self.sender.use(lambda session: session.run(_NOTIFY, payload),
                        again=True)

    def on_notify(self, payload: str) -> None:
        """Wake the processors of a queue, for another process."""
        token, _, queue = payload.partition(' ')
        if token != self._token:
            try:
                self.wake_events.set(bytes.fromhex(queue) or None)
            except ValueError:
                self.wake_events.set()      # sent by another release

    def on_probe(self) -> None:
        """It works; notifications may have been missed until now."""
        if not self.works:
            self.works = True
            self.wake_events.set()
