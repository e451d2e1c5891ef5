"""The end of a Zope server that runs jobs.

Zope's own servers do not handle SIGTERM, and at Ctrl-C they close the
database before the interpreter's exit handlers run; both would leave the jobs
that run at that moment for others to find.
"""

from __future__ import annotations

import _thread
import functools
import signal
import threading
from typing import Any

import Zope2

from lovely.remotetask.edge import db
from lovely.remotetask.run.threads import end_all


def install(event: Any) -> None:
    """End the processors in an orderly way when a signal ends the server.

    Does nothing where none has been started, and leaves alone what a server
    of another kind has installed.  Listens to IProcessStarting.
    """
    if threading.current_thread() is not threading.main_thread() or not any(
            thread.name.startswith('remotetasks.')
            for thread in threading.enumerate()):
        return
    for number, default, raised in (
            (signal.SIGTERM, signal.SIG_DFL, SystemExit),
            (signal.SIGINT, signal.default_int_handler, KeyboardInterrupt)):
        if signal.getsignal(number) is default:
            signal.signal(number, _Ending(raised))


class _Ending:
    """A signal handler: the processors end, then the server.

    A second signal ends the server at once.
    Arguments: ``raised``, the exception by which the server ends.
    """

    def __init__(self, raised: type[BaseException]) -> None:
        self._raised = raised
        self._asked = False

    def __call__(self, number: int, frame: object) -> None:
        if self._asked:
            raise self._raised
        self._asked = True
        # Requests are answered meanwhile.  Not by threading: the main thread
        # may hold any of its locks, and is not going on before we return.
        _thread.start_new_thread(self._end, (number,))

    def _end(self, number: int) -> None:
        try:
            if end_all():
                # The server closes them all, and would stumble over this.
                for database in Zope2.opened:
                    database.close = functools.partial(db.close, database)
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
