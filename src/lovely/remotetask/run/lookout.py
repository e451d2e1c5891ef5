"""A lookout: a thread that looks again and again which services there are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import TypeVar

from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.texts import describe

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

_T = TypeVar('_T')

# A look rests for this multiple of what it took, up to LAST seconds: in a
# database of many folders it loads thousands of objects.
_REST = 100
_LAST = 60.0


class Lookout:
    """Calls ``note(find(connection))`` every SERVICES_SECONDS, in a thread.

    An error is logged once, and the next look tries it again.
    Arguments: ``database`` (ZODB.DB).
    """

    def __init__(self, database: DB, find: Callable[[Connection], _T],
                 note: Callable[[_T], None]) -> None:
        self._look = lambda: note(db.read(database, find))
        self._stopped = threading.Event()
        # Held for a look.
        self._looking = threading.Lock()
        self._failed = ''

    def start(self) -> None:
        """Begin; the first look is SERVICES_SECONDS from now."""
        threading.Thread(target=self._run, daemon=True,
                         name='remotetask-lookout').start()

    def stop(self) -> None:
        """End; when this returns, the database is not used any more."""
        self._stopped.set()
        with self._looking:
            pass

    def _run(self) -> None:
        rest = settings.SERVICES_SECONDS
        while not self._stopped.wait(rest):
            began = SYSTEM_CLOCK.monotonic()
            with self._looking:
                if self._stopped.is_set():
                    return
                self._look_once()
            took = SYSTEM_CLOCK.monotonic() - began
            rest = max(settings.SERVICES_SECONDS, min(_REST * took, _LAST))

    def _look_once(self) -> None:
        try:
            self._look()
            self._failed = ''
        except Exception as error:
            text = describe(error)
            if text != self._failed:
                log.error('new services cannot be looked for; the next look '
                          'tries it again: %s', text)
            self._failed = text
