"""Ends a command by a signal: by an exception in its main thread."""

import os
import signal
import threading
from typing import Any


class Signals:
    """SIGTERM, SIGHUP and Ctrl-C raise an exception; a second one kills.

    An exception and no flag: the main thread may be about to wait for that
    flag, and would hold the lock that setting it needs.
    A command owns its process, so it also prints its end, keeps the exit
    code, and ends at once by the second signal; for a host's server see
    run.sigterm.
    Arguments: ``kind``, the exception's class, made without arguments;
    ``name``, of the command, for its last line.
    """

    def __init__(self, kind: type[BaseException], name: str) -> None:
        self._kind = kind
        self._name = name
        self._before: dict[int, Any] = {}
        self._asked = False

    def __enter__(self) -> 'Signals':
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup, and `&` in a script, ignore some of them on purpose.
            if number == signal.SIGTERM \
                    or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *error: object) -> None:
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)

    def send(self) -> bool:
        """End the block from another thread; False: it was ending already."""
        if self._asked or not self._before:
            return False
        # Sent to the main thread itself: only that interrupts its wait.
        signal.pthread_kill(threading.main_thread().ident or 0,
                            signal.SIGTERM)
        return True

    def _stop(self, number: int, frame: object) -> None:
        if self._asked:
            # Without Python's own exit: its handlers may be the ones that
            # hold up the end.
            os.write(2, f'remotetask: {self._name} stopped at once\n'.encode())
            os._exit(128 + number)
        self._asked = True
        raise self._kind
