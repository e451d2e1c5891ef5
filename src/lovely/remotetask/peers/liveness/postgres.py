"""Liveness by PostgreSQL: a lock that a session holds while it lives.

For RelStorage on PostgreSQL.  The server lets go of an advisory lock when the
connection ends, so a killed worker is found from any host at once; a host
that vanished, after half a minute.  A pooler that shares sessions (pgbouncer
in transaction mode) breaks this; it is recognised, and only beats are left.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from typing import Any

from zope.interface import implementer

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.log import log
from lovely.remotetask.log import trace
from lovely.remotetask.peers.forks import forgets_after_fork
from lovely.remotetask.peers.storages import innermost

KIND = 'pg'

#: The first of the lock's two numbers: 'lrtk'.  RelStorage and most others
#: use the form with one number, which never meets this one.
CLASS_ID = int.from_bytes(b'lrtk')

# How long (seconds) to wait before a connection is tried again: first, and
# at most.
_PAUSE_FIRST = 1.0
_PAUSE_LAST = 60.0

_ADAPTERS = 'relstorage.adapters.postgresql'

_TAKE = 'SELECT pg_try_advisory_lock(%s, %s)'
# In one statement, so that a look leaves nothing behind; shared, so that two
# observers who look at once do not take each other for the holder.
_IS_FREE = ('SELECT CASE WHEN pg_try_advisory_lock_shared(%s, %s)'
            ' THEN pg_advisory_unlock_shared(%s, %s) ELSE false END')
# Locks belong to one database of one run of the server: after its restart all
# of them are free, which says nothing about their holders.
_IDENTITY = ('SELECT oid::text || \'@\' ||'
             ' extract(epoch from pg_postmaster_start_time())::text'
             ' FROM pg_database WHERE datname = current_database()')
# The server's default takes two hours to notice that a host is gone.
_KEEPALIVE = ("SELECT set_config('tcp_keepalives_idle', '10', false),"
              " set_config('tcp_keepalives_interval', '5', false),"
              " set_config('tcp_keepalives_count', '4', false)")


class Shared(Exception):
    """Several clients share one session of the server."""


class _Session:
    """A connection of its own, outside of any transaction."""

    def __init__(self, manager: Any) -> None:
        self.connection, self._cursor = manager.open(
            application_name='remotetask liveness')
        try:
            # Else it would sit in a transaction for ever, and keep vacuum
            # from its work.
            self.connection.autocommit = True
            with suppress(Exception):
                self.ask(_KEEPALIVE)
            self.identity = self.ask(_IDENTITY)
        except BaseException:
            self.close()
            raise

    def ask(self, statement: str, *arguments: Any) -> Any:
        self._cursor.execute(statement, arguments)
        return self._cursor.fetchone()[0]

    def is_free(self, number: int) -> bool:
        return bool(self.ask(_IS_FREE, CLASS_ID, number, CLASS_ID, number))

    def close(self) -> None:
        with suppress(Exception):
            self.connection.close()


@implementer(ILiveness)
class PostgresLock:
    """Alive while its session holds its number.  See ILiveness

    Arguments: ``database`` (ZODB.DB); ``clock`` (IClock), for the pauses
    between attempts to connect.  One connection to the server, from the first
    use to ``close``.
    """

    def __init__(self, database: Any, clock: Any = SYSTEM_CLOCK) -> None:
        self._manager = manager_of(database)
        self._clock = clock
        self._reset()
        forgets_after_fork(self._forget)

    def _reset(self) -> None:
        self._evidence: tuple[Any, ...] = ()
        self._lost = False
        self._session: _Session | None = None
        self._pause = 0.0
        self._not_before: float | None = None
        self._guard = threading.Lock()

    @property
    def available(self) -> bool:
        """Is the database in PostgreSQL (bool)?"""
        return self._manager is not None

    @property
    def lost(self) -> bool:
        """See ILiveness; the connection broke."""
        with self._guard:
            if self._evidence:
                self._check()
            return self._lost

    def announce(self) -> tuple[Any, ...]:
        """See ILiveness"""
        with self._guard:
            if self._evidence:
                self._check()
            if not self._evidence:
                self._attempt(self._take)
                self._lost = False
            return self._evidence

    def alive(self, evidence: Any, beat: Any) -> bool | None:
        """See ILiveness"""
        match evidence:
            case ('pg', str() as identity, class_id, int() as number) \
                    if class_id == CLASS_ID and 0 <= number < 2 ** 31:
                pass
            case _:
                return None
        with self._guard:
            if evidence == self._evidence:
                # A session is never kept out by itself: to ask would say
                # that the lock is free.
                return self._check() or None
            return self._attempt(
                lambda session: None if session.identity != identity
                else not session.is_free(number))

    def close(self) -> None:
        """See ILiveness"""
        with self._guard:
            if self._session is not None:
                self._session.close()
            self._session = None
            self._evidence = ()
            self._lost = False

    # -- inside; the guard is held --------------------------------------------

    def _check(self) -> bool:
        """Do we still hold our number?"""
        self._attempt(lambda session: session.ask('SELECT 1'))
        return bool(self._evidence)

    def _take(self, session: _Session) -> None:
        number = secrets.randbelow(2 ** 31)
        while not session.ask(_TAKE, CLASS_ID, number):
            number = secrets.randbelow(2 ** 31)
        other = _Session(self._manager)
        try:
            if other.is_free(number):
                raise Shared('a pooler shares its sessions; let it pool '
                             'sessions, or connect to the server itself')
        finally:
            other.close()
        self._evidence = (KIND, session.identity, CLASS_ID, number)

    def _attempt(self, action: Any) -> Any:
        """What the action says of our session; None while there is none."""
        if self._manager is None:
            return None
        now = self._clock.monotonic()
        if self._session is None and self._not_before is not None \
                and now < self._not_before:
            return None
        try:
            if self._session is None:
                self._session = _Session(self._manager)
            result = action(self._session)
        # Each driver has errors of its own; and RelStorage's inside may be
        # another one in its next release.
        except Exception as reason:
            self._broken(reason, now)
            if isinstance(reason, Shared):
                # It will be the same the next time.
                self._manager = None
            return None
        self._pause = 0.0
        return result

    def _broken(self, reason: Exception, now: float) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._evidence:
            self._evidence = ()
            self._lost = True
        say = log.warning if not self._pause else trace.info
        say('no lock in PostgreSQL tells which workers live, their beats '
            'have to: %s', ' '.join(str(reason).split()))
        self._pause = min(max(self._pause * 2, _PAUSE_FIRST), _PAUSE_LAST)
        self._not_before = now + self._pause

    def _forget(self) -> None:
        # Not close(): that would tell the server to end our parent's session.
        # But an open socket would keep it alive after our parent's end.
        if self._session is not None:
            with suppress(Exception):
                os.close(self._session.connection.fileno())
        self._reset()


def manager_of(database: Any) -> Any:
    """What opens connections like the storage's own; None: not PostgreSQL."""
    adapter = getattr(innermost(database.storage), '_adapter', None)
    if not any(cls.__module__.startswith(_ADAPTERS)
               for cls in type(adapter).__mro__):
        return None
    manager = getattr(adapter, 'connmanager', None)
    if not hasattr(manager, 'open'):
        trace.info('this RelStorage opens its connections in a way of its '
                   'own: no lock in PostgreSQL tells which workers live')
        return None
    return manager
