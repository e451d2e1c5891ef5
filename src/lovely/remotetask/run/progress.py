"""Stores how far jobs have come, beside the open transactions of their runs.

One thread for each database of this process, which starts at the first word of
a task and ends when no more come::

    task      currentJob().progress(41, 120)  ->  what is new, in memory
    thread    at once, then once a second:    ->  a commit, if there is any

One commit has the news of all slots of this process; each writes its slot's
Progress, which no other transaction writes.  A process whose tasks tell
nothing has no such thread, and commits nothing for it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lovely.remotetask.context import Told
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.closing import call_on_close
from lovely.remotetask.edge.log import trace
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.store.claims import Token

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.run.claim import Claim
    from lovely.remotetask.run.failing import Failing

# The shortest time (seconds) between two commits: a watcher sees a word
# within two seconds, and a task may tell one for each of a million lines.
_COMMIT_SECONDS = 1.0

# After so long (seconds) without news the thread ends.
_IDLE_SECONDS = 10.0

#: Token of a run -> who runs it, and what its task has told last.
_News = dict[Token, 'tuple[Failing, Told]']

_tellers: dict[DB, Teller] = {}
_lock = threading.Lock()


def tell(executor: Failing, claim: Claim, told: Told) -> None:
    """Let other processes see how far a run has come, within two seconds.

    Txn: none in this thread.
    """
    with _lock:
        teller = _tellers.get(executor.database)
        if teller is None:
            teller = _tellers[executor.database] = Teller(executor.database)
            call_on_close(executor.database, _end)
            teller.start()
        teller.news[claim.token] = executor, told
    teller.changed.set()


def _end(database: DB) -> None:
    with _lock:
        teller = _tellers.pop(database, None)
    if teller is not None:
        teller.end()


class Teller:
    """Writes what the tasks of one database have told.

    Attributes: ``news``, what is not stored yet; ``changed``, an event.
    """

    def __init__(self, database: DB) -> None:
        self.news: _News = {}
        self.changed = threading.Event()
        self._database = database
        self._ended = threading.Event()
        # Held for a commit.
        self._writing = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True,
                         name='remotetask-progress').start()

    def end(self) -> None:
        """When this returns, the database is not used any more."""
        self._ended.set()
        self.changed.set()
        with self._writing:
            pass

    def _run(self) -> None:
        while not self._ended.is_set():
            if not self.changed.wait(_IDLE_SECONDS):
                with _lock:
                    if not self.news:
                        if _tellers.get(self._database) is self:
                            del _tellers[self._database]
                        return
            self.changed.clear()
            began = SYSTEM_CLOCK.monotonic()
            with self._writing:
                if not self._ended.is_set():
                    self._write()
            self._ended.wait(max(
                0.0, began + _COMMIT_SECONDS - SYSTEM_CLOCK.monotonic()))

    def _write(self) -> None:
        with _lock:
            found, self.news = self.news, {}
        # A run that has ended says all by its end.
        news = {token: (executor, told)
                for token, (executor, told) in found.items()
                if token in executor.crowd.active}
        if not news:
            return

        def write(connection: Connection) -> None:
            for token, (executor, told) in news.items():
                try:
                    service = executor.by_oid(connection)
                except ServiceGone:
                    continue
                service.jobqueue.note_progress(token, told)

        try:
            db.write(self._database, write, note='remotetask progress')
        except Exception:
            trace.exception('how far jobs have come could not be stored')
            with _lock:
                # The next second tries it again, with what is newer.
                self.news = {**news, **self.news}
            self.changed.set()


def _forget() -> None:
    # The threads are missing in the child of a fork, and the one that may have
    # held the lock is, too.
    global _lock
    _lock = threading.Lock()
    _tellers.clear()


call_after_fork(_forget)
