"""Sessions in PostgreSQL beside the storage's own, for liveness and wake-up.

For RelStorage on PostgreSQL: its own manager opens them, by the same address
and with the same driver.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any
from typing import Protocol
from typing import TypeVar

from ZODB.DB import DB

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import message_of
from lovely.remotetask.interfaces import IClock
from lovely.remotetask.peers.storages import innermost

_ADAPTERS = 'relstorage.adapters.postgresql'

# How long (seconds) to wait after an attempt that failed: first, and at most.
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 60.0

# Advisory locks belong to one database of one run of the server: after its
# restart all of them are free, which says nothing about their holders.
_IDENTITY = ('SELECT oid::text || \'@\' ||'
             ' extract(epoch from pg_postmaster_start_time())::text'
             ' FROM pg_database WHERE datname = current_database()')

_Answer = TypeVar('_Answer')


class ConnectionManager(Protocol):
    """The part of RelStorage's connection manager that is used here."""

    def open(self, *, application_name: str) -> tuple[Any, Any]:
        """A connection of the driver, and a cursor on it (PEP 249)."""


def manager_of(database: DB) -> ConnectionManager | None:
    """The manager that opens the connections of a database's storage.

    Returns: None where the storage is no RelStorage on PostgreSQL, or one
    whose manager cannot open a connection for us.
    """
    adapter = getattr(innermost(database.storage), '_adapter', None)
    if not any(cls.__module__.startswith(_ADAPTERS)
               for cls in type(adapter).__mro__):
        return None
    manager = getattr(adapter, 'connmanager', None)
    if not hasattr(manager, 'open'):
        trace.info('this RelStorage opens its connections in a way of its '
                   'own: no lock in PostgreSQL tells which workers live, and '
                   'no notification wakes them')
        return None
    return manager


def longer(pause: float) -> float:
    """The pause (seconds) that follows this one; 0.0: the first."""
    return min(max(_FIRST_PAUSE, pause * 2), _LAST_PAUSE)


class PostgresSession:
    """A session that is in no transaction between two statements.

    Arguments: ``manager``, see ``manager_of``; ``name`` (str), which
    PostgreSQL shows as ``application_name``.
    Attributes: ``connection``, the driver's.
    Raises: an error of the driver if the server cannot be reached.
    """

    def __init__(self, manager: ConnectionManager, name: str) -> None:
        self._manager = manager
        self._name = name
        self.connection, self._cursor = manager.open(application_name=name)
        # Otherwise the first statement would leave a transaction open for as
        # long as the session lasts, and keep VACUUM from its work.
        self.connection.autocommit = True

    @cached_property
    def identity(self) -> str:
        """Names this database of this run of the server."""
        return str(self.run(_IDENTITY))

    def run(self, statement: str, *arguments: object) -> Any:
        """Run a statement.

        Returns: the first value of the first row; None without an answer.
        Raises: an error of the driver.
        """
        self._cursor.execute(statement, arguments)
        if self._cursor.description is None:
            return None
        return self._cursor.fetchone()[0]

    def another(self) -> PostgresSession:
        """A second session, opened in the same way."""
        return PostgresSession(self._manager, self._name)

    def close(self) -> None:
        """End the session; never raises."""
        with suppress(Exception):
            self.connection.close()

    def abandon(self) -> None:
        """In a child made by fork: leave the session to the parent."""
        # The connection's close() would end the parent's session.  A socket
        # that stays open would keep the session alive when the parent ends.
        with suppress(Exception):
            os.close(self.connection.fileno())


class KeptSession:
    """A session that is opened when it is needed, also after a failure.

    After a failure there is no attempt for a pause of 1 s, which doubles up
    to 60 s.  The first failure of an outage is logged as a warning.  Threads
    may share it.
    Arguments: ``manager`` and ``name``, see PostgresSession; ``complaint``
    (str), the text of the warning, with ``%s`` for the reason; ``clock``
    (IClock), for the pauses.
    Attributes: ``reason`` (str) of the last failure; '' after a success.
    """

    def __init__(self, manager: ConnectionManager, name: str, complaint: str,
                 clock: IClock = SYSTEM_CLOCK) -> None:
        self._manager = manager
        self._name = name
        self._complaint = complaint
        self._clock = clock
        self.reason = ''
        self._session: PostgresSession | None = None
        self._pause = 0.0
        self._not_before = 0.0
        self._over = False
        self._guard = threading.Lock()

    def use(self, action: Callable[[PostgresSession], _Answer],
            again: bool = False) -> _Answer:
        """Call ``action(session)``.

        Arguments: ``again``: if a session that has been open for some time
        fails, call it with a new one at once.
        Returns: what the action returns.
        Raises: ConnectionError with the reason, at once within a pause.
        """
        with self._guard:
            if self._over:
                raise ConnectionError('its database was closed')
            if again and self._session is not None:
                try:
                    return action(self._session)
                except Exception:
                    # The server was restarted, say.
                    self._drop()
            now = self._clock.monotonic()
            if self.reason and now < self._not_before:
                raise ConnectionError(self.reason)
            try:
                if self._session is None:
                    self._session = PostgresSession(self._manager, self._name)
                answer = action(self._session)
            # Each driver has error classes of its own, and the next release
            # of RelStorage may have another inside.
            except Exception as error:
                self._failed(error, now)
                raise ConnectionError(self.reason) from error
            self.reason, self._pause = '', 0.0
            return answer

    def close(self, for_good: bool = False) -> None:
        """End the session; the next use opens another one.

        Arguments: ``for_good``: there is no next use, it is refused.
        """
        with self._guard:
            self._over = for_good
            self._drop()

    def for_child(self) -> KeptSession:
        """In a child made by fork: leave the session to the parent.

        Returns: one for the child.
        """
        # Without the guard: a thread that held it is missing in the child.
        if self._session is not None:
            self._session.abandon()
        return KeptSession(self._manager, self._name, self._complaint,
                           self._clock)

    def _failed(self, error: Exception, now: float) -> None:
        self._drop()
        say = trace.info if self.reason else log.warning
        # Not empty: that would say that nothing has failed.
        self.reason = message_of(error) or repr(error)
        say(self._complaint, self.reason)
        self._pause = longer(self._pause)
        self._not_before = now + self._pause

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None
