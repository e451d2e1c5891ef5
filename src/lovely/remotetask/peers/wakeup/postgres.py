"""Wake-up by PostgreSQL's NOTIFY: for RelStorage.

::

    whoever adds, once it is committed   NOTIFY, on a connection for that
    a process with processors            LISTEN, in a thread

Never in the transaction that stores: commits that notify wait for each other.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import threading
from contextlib import suppress
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.log import log
from lovely.remotetask.peers.forks import forgets_after_fork
from lovely.remotetask.peers.wakeup.wake_events import Channel

# How long (seconds) a notification to ourselves may take before the channel
# counts as broken; and how long to wait before it is opened again, first and
# at most.
_CHANNEL_PATIENCE = 5.0
_RECONNECT_FIRST = 1.0
_RECONNECT_LAST = 60.0

CHANNEL = 'lovely_remotetask'

# A commit of its own that does not wait for the disk: a lost ring costs
# latency only.  In one statement and for that transaction only, or a pooler
# would hand the setting on to somebody whose data matter.
_NOTIFY = ("SELECT set_config('synchronous_commit', 'off', true),"
           f" pg_notify('{CHANNEL}', %s)")


class _Session:
    """A connection of its own, outside of any transaction."""

    def __init__(self, manager: Any) -> None:
        self.connection, self._cursor = manager.open(
            application_name='remotetask wake-up')
        # Else it would sit in a transaction for ever.
        self.connection.autocommit = True

    def run(self, statement: str, *arguments: Any) -> None:
        self._cursor.execute(statement, arguments)

    def close(self) -> None:
        with suppress(Exception):
            self.connection.close()

    def forget(self) -> None:
        # Not close(): that would end our parent's session.
        with suppress(Exception):
            os.close(self.connection.fileno())


class _Sender:
    """Sends NOTIFY; connects at the first, and again after a failure."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._session: _Session | None = None
        self._pause = 0.0
        self._not_before = 0.0
        self._guard = threading.Lock()
        #: Why the last attempt failed; '' if it did not.
        self.reason = ''

    def send(self, payload: str) -> None:
        """Send it; raises ConnectionError if that cannot be done now."""
        with self._guard:
            if self._session is not None:
                try:
                    self._session.run(_NOTIFY, payload)
                    return
                except Exception:
                    # The server was restarted, say, since the last one.
                    self._drop()
            # An add must not wait for attempt after attempt.
            now = SYSTEM_CLOCK.monotonic()
            if self.reason and now < self._not_before:
                raise ConnectionError(self.reason)
            try:
                self._session = _Session(self._manager)
                self._session.run(_NOTIFY, payload)
            # Each driver has errors of its own.
            except Exception as error:
                self._drop()
                self._pause = _longer(self._pause)
                self._not_before = now + self._pause
                self.reason = ' '.join(str(error).split()) or repr(error)
                raise ConnectionError(self.reason) from error
            self.reason, self._pause = '', 0.0

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

    def forget(self) -> None:
        """Leave the connection to our parent, from which we were forked."""
        if self._session is not None:
            self._session.forget()


class _Listener:
    """Listens, in a thread, and connects again after a failure.

    It proves itself by a notification of its own, every SAFETY_SECONDS: a
    connection may be dead without a word, and behind a pooler that shares
    sessions it hears nothing.
    """

    def __init__(self, channel: Notifications) -> None:
        self._channel = channel
        self._inside, self._outside = socket.socketpair()
        self._session: _Session | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True,
                         name='remotetask-wakeup').start()

    def stop(self) -> None:
        self._outside.close()       # wakes the other side

    def forget(self) -> None:
        """Leave all to our parent, from which we were forked."""
        self._inside.close()
        self._outside.close()
        if self._session is not None:
            self._session.forget()

    def _run(self) -> None:
        pause = 0.0
        with self._inside, selectors.DefaultSelector() as door:
            door.register(self._inside, selectors.EVENT_READ)
            while True:
                try:
                    self._session = _Session(self._channel.manager)
                    self._listen(self._session)
                    return
                except Exception as error:
                    pause = 0.0 if self._channel.works else pause
                    self._channel.fails(error)
                finally:
                    if self._session is not None:
                        self._session.close()
                pause = _longer(pause)
                if door.select(pause):
                    return

    def _listen(self, session: _Session) -> None:
        """Hear until it is stopped; raises what stops it by itself."""
        connection = session.connection
        if not hasattr(connection, 'poll'):
            raise TypeError(f'with the driver {type(connection).__module__} '
                            f'nobody can wait for notifications')
        session.run(f'LISTEN {CHANNEL}')
        awaited, deadline = '', 0.0
        # One for this connection: a dead one cannot be taken out again.
        with selectors.DefaultSelector() as ears:
            ears.register(self._inside, selectors.EVENT_READ)
            ears.register(connection, selectors.EVENT_READ)
            while True:
                now = SYSTEM_CLOCK.monotonic()
                if now >= deadline:
                    if awaited:
                        raise TimeoutError(
                            'a notification that was sent did not arrive; '
                            'if there is a pooler, let it pool sessions')
                    awaited = secrets.token_hex(8)
                    self._channel.sender.send(awaited)
                    deadline = now + _CHANNEL_PATIENCE
                ready = ears.select(deadline - now)
                if any(key.fileobj is self._inside for key, _ in ready):
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
    """Rings when another process has sent a NOTIFY for the queue.

    Arguments: ``manager``, opens connections like the storage's own.
    """

    def __init__(self, manager: Any) -> None:
        super().__init__()
        self.manager = manager
        self._reset()
        forgets_after_fork(self._forget)

    def _reset(self) -> None:
        # Tells our own notifications from those of others.
        self._token = secrets.token_hex(8)
        self.sender = _Sender(self.manager)
        self._listener: _Listener | None = None
        self._guard = threading.Lock()

    def _forget(self) -> None:
        self.sender.forget()
        if self._listener is not None:
            self._listener.forget()
        self.works = None
        self._reset()

    def open(self) -> None:
        """See Channel"""
        with self._guard:
            if self._listener is None:
                self._listener = _Listener(self)
                self._listener.start()

    def close(self) -> None:
        """See Channel"""
        with self._guard:
            if self._listener is not None and not self.wake_events:
                self._listener.stop()
                self._listener, self.works = None, None

    def publish(self, queue: bytes | None) -> None:
        """See Channel"""
        said = self.sender.reason
        try:
            self.sender.send(f'{self._token} {(queue or b"").hex()}')
        except ConnectionError as error:
            if not said:
                log.warning(
                    'workers in other processes cannot be woken: %s; they '
                    'find new jobs when they look, after %d seconds at most',
                    error, settings.SAFETY_SECONDS)

    def on_notify(self, payload: str) -> None:
        """Ring for a notification of another process."""
        token, _, queue = payload.partition(' ')
        if token != self._token:
            try:
                self.wake_events.set(bytes.fromhex(queue) or None)
            except ValueError:
                self.wake_events.set()   # of another release

    def on_probe(self) -> None:
        """It works; what was sent before may have been missed."""
        if not self.works:
            self.works = True
            self.wake_events.set()


def _longer(pause: float) -> float:
    return min(max(_RECONNECT_FIRST, pause * 2), _RECONNECT_LAST)
