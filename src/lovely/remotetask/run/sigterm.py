"""Ends the processors of a host's server before a signal ends the server.

A process that SIGTERM kills, as it does many servers, calls no exit handlers,
and other servers close the database before they call them.  In both cases the
running jobs would wait until another worker finds them.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from typing import Any

from lovely.remotetask.run.threads import end_all
from lovely.remotetask.run.threads import loops


def end_first(number: int, default: Any, raised: type[BaseException],
              given_back: Callable[[], object] = lambda: None,
              always: bool = True) -> None:
    """End the processors in an orderly way before a signal ends the server.

    A handler that the server itself has installed for the signal is kept.
    Arguments: ``number``, of the signal; ``default``, its handler in a
    process that has not changed it; ``raised``, the exception in the main
    thread by which the server ends; ``given_back``, called before that where
    running jobs were given back; ``always``: False: a signal that comes while
    no processor runs does what ``default`` does, as if nothing were installed.
    """
    # Only the main thread may install handlers.
    if (threading.current_thread() is threading.main_thread()
            and signal.getsignal(number) == default):
        signal.signal(number, _Ending(
            raised, given_back, None if always else default))


class _Ending:
    """A signal handler: the processors end, then the server.

    A second signal ends the server at once.
    Arguments: ``idle``, the handler that a signal gets while no processor
    runs; None: the server ends by ``raised`` then, too.
    """

    def __init__(self, raised: type[BaseException],
                 given_back: Callable[[], object], idle: Any) -> None:
        self._raised = raised
        self._idle = idle
        self._given_back = given_back
        self._asked = False

    def __call__(self, number: int, frame: object) -> None:
        if self._asked:
            raise self._raised
        if self._idle is not None and not loops:
            # The exit code, too, is that of a server without us.
            signal.signal(number, self._idle)
            signal.raise_signal(number)
            return
        self._asked = True
        # In a thread, so that the server answers requests meanwhile.  Not by
        # threading: the main thread may hold a lock of it, and does not go on
        # before this handler returns.
        _thread.start_new_thread(self._end, (number,))

    def _end(self, number: int) -> None:
        try:
            if end_all():
                self._given_back()
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
