"""Liveness by PostgreSQL: a lock that a session holds while it lasts.

For RelStorage on PostgreSQL.  The server frees an advisory lock when the
connection ends, so a killed worker is found at once from any host, and a
worker on a host that vanished after half a minute.  A pooler that shares
sessions (pgbouncer in transaction mode) breaks this: it is recognised, and
the beats decide alone.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ZODB.DB import DB
from zope.interface import implementer

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import IClock
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.peers.postgres import KeptSession
from lovely.remotetask.peers.postgres import PostgresSession
from lovely.remotetask.peers.postgres import manager_of

KIND = 'pg'

#: The first of the lock's two numbers: 'lrtk'.  RelStorage and most others
#: use the form with one number, which never meets this one.
CLASS_ID = int.from_bytes(b'lrtk')

_COMPLAINT = ('no lock in PostgreSQL tells which workers live, their beats '
              'have to: %s')

_TAKE = 'SELECT pg_try_advisory_lock(%s, %s)'
# In one statement, so that an observer holds no lock afterwards.  Shared, so
# that two observers who ask at once do not take each other for the holder.
_IS_FREE = ('SELECT CASE WHEN pg_try_advisory_lock_shared(%s, %s)'
            ' THEN pg_advisory_unlock_shared(%s, %s) ELSE false END')
# The server's default takes two hours to notice that a host is gone.
_KEEPALIVE = ("SELECT set_config('tcp_keepalives_idle', '10', false),"
              " set_config('tcp_keepalives_interval', '5', false),"
              " set_config('tcp_keepalives_count', '4', false)")

_Answer = TypeVar('_Answer')


@implementer(ILiveness)
class PostgresLock:
    """Alive while a session holds the lock of a number.  See ILiveness

    Arguments: ``database`` (ZODB.DB); ``clock`` (IClock), for the pauses
    between attempts to connect.
    Cost: one connection to the server, from the first use to ``close``.
    """

    def __init__(self, database: DB, clock: IClock = SYSTEM_CLOCK) -> None:
        manager = manager_of(database)
        self._kept = None if manager is None else KeptSession(
            manager, 'remotetask liveness', _COMPLAINT, clock)
        self._reset()
        call_after_fork(self._forget)

    def _reset(self) -> None:
        self._evidence: tuple[object, ...] = ()
        self._lost = False
        self._guard = threading.Lock()

    def _forget(self) -> None:
        if self._kept is not None:
            self._kept = self._kept.for_child()
        self._reset()

    @property
    def lost(self) -> bool:
        """See ILiveness; the connection broke."""
        with self._guard:
            if self._evidence:
                self._check()
            return self._lost

    def announce(self) -> tuple[object, ...]:
        """See ILiveness"""
        with self._guard:
            if self._evidence:
                self._check()
            if not self._evidence:
                self._ask(self._take)
                self._lost = False
            return self._evidence

    def alive(self, evidence: object, beat: object) -> bool | None:
        """See ILiveness"""
        match evidence:
            case ('pg', str() as identity, class_id, int() as number) \
                    if class_id == CLASS_ID and 0 <= number < 2 ** 31:
                pass
            case _:
                return None
        with self._guard:
            if evidence == self._evidence:
                # A session never blocks itself: it would find its own lock
                # free.
                return self._check() or None
            return self._ask(
                lambda session: None if session.identity != identity
                else not _is_free(session, number))

    def close(self) -> None:
        """See ILiveness"""
        with self._guard:
            if self._kept is not None:
                self._kept.close()
            self._evidence = ()
            self._lost = False

    # -- inside; the guard is held --------------------------------------------

    def _check(self) -> bool:
        """Does this process still hold its lock?"""
        self._ask(lambda session: session.run('SELECT 1'))
        return bool(self._evidence)

    def _take(self, session: PostgresSession) -> None:
        with suppress(Exception):
            session.run(_KEEPALIVE)
        number = secrets.randbelow(2 ** 31)
        while not session.run(_TAKE, CLASS_ID, number):
            number = secrets.randbelow(2 ** 31)
        other = session.another()
        try:
            if _is_free(other, number):
                raise _SessionsShared(
                    'a pooler shares its sessions; let it pool sessions, or '
                    'connect to the server itself')
        finally:
            other.close()
        self._evidence = (KIND, session.identity, CLASS_ID, number)

    def _ask(self, action: Callable[[PostgresSession], _Answer]
             ) -> _Answer | None:
        """What an action finds out; None: the server cannot be asked now."""
        if self._kept is None:
            return None
        try:
            return self._kept.use(action)
        except ConnectionError as error:
            if isinstance(error.__cause__, _SessionsShared):
                # The next attempt would find the same.
                self._kept = None
            if self._evidence:
                self._evidence = ()
                self._lost = True
            return None


class _SessionsShared(Exception):
    """Several clients share one session of the server."""


def _is_free(session: PostgresSession, number: int) -> bool:
    return bool(session.run(_IS_FREE, CLASS_ID, number, CLASS_ID, number))
