"""Ends the processors of a host's server before a signal ends the server.

A process that is killed by SIGTERM, as many servers are, calls no exit
handlers, and some servers close the database before they call them.  Either
would leave the running jobs for other workers to find.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable

from lovely.remotetask.run.threads import end_all


def end_first(number: int, default: object, raised: type[BaseException],
              given_back: Callable[[], object] = lambda: None) -> None:
    """End the processors in an orderly way before a signal ends the server.

    A handler that the server itself has installed for the signal is kept.
    Arguments: ``number``, of the signal; ``default``, its handler in a
    process that has not changed it; ``raised``, the exception in the main
    thread by which the server ends; ``given_back``, called before that if
    jobs still run.
    """
    # Only the main thread may install handlers.
    if (threading.current_thread() is threading.main_thread()
            and signal.getsignal(number) == default):
        signal.signal(number, _Ending(raised, given_back))


class _Ending:
    """A signal handler: the processors end, then the server.

    A second signal ends the server at once.
    """

    def __init__(self, raised: type[BaseException],
                 given_back: Callable[[], object]) -> None:
        self._raised = raised
        self._given_back = given_back
        self._asked = False

    def __call__(self, number: int, frame: object) -> None:
        if self._asked:
            raise self._raised
        self._asked = True
        # Requests are answered meanwhile.  Not by threading: the main thread
        # may hold any of its locks, and does not go on before we return.
        _thread.start_new_thread(self._end, (number,))

    def _end(self, number: int) -> None:
        try:
            if end_all():
                self._given_back()
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
