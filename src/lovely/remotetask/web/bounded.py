"""Looks that take a second at most, also at a database that hangs.

Each would keep the thread that answers it, until none is left.  So it happens
in a thread of its own, and a request goes on without it when its time is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: For how long (seconds) a request waits for a look, and for how long what it
#: has found counts: probes come often, and must be no load of the database.
WAITED = 1.0
KEPT = 2.0

# After how long (seconds) another look is tried while one hangs, and how many
# may hang: a connection whose server is gone may wait for hours.
_AGAIN = 30.0
_MOST = 3


class _Look:
    """One look.  Attributes: ``since``, when it began (monotonic seconds);
    ``done``, set at its end; ``found``, None where it has failed.
    """

    def __init__(self, since: float) -> None:
        self.since = since
        self.done = threading.Event()
        self.found: Any = None


class Bounded:
    """Looks at one thing for all requests that ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: _Look | None = None
        self._hanging: list[_Look] = []
        self._until = 0.0

    def ask(self, look: Callable[[], Any], monotonic: Callable[[], float]
            ) -> Any:
        """What a look has found within the last KEPT seconds, or finds now.

        Arguments: ``look()``, called in another thread; ``monotonic()``,
        seconds.
        Returns: what it returns; None where that fails, or takes too long.
        """
        with self._lock:
            now, latest = monotonic(), self._latest
            if latest is not None and latest.done.is_set() and (
                    now < self._until):
                return latest.found
            latest = self._begin(look, monotonic, now)
        # A request that comes while one hangs does not wait once more.
        is_done = latest.done.wait(max(0.0, latest.since + WAITED - now))
        return latest.found if is_done else None

    def _begin(self, look: Callable[[], Any], monotonic: Callable[[], float],
               now: float) -> _Look:
        """Begin a look, unless one is under way that may still end."""
        hanging = self._hanging = [
            one for one in self._hanging if not one.done.is_set()]
        if hanging and (len(hanging) >= _MOST
                        or now - hanging[-1].since < _AGAIN):
            return hanging[-1]
        begun = self._latest = _Look(now)
        hanging.append(begun)
        threading.Thread(
            target=self._look, args=(begun, look, monotonic), daemon=True,
            name='remotetask.probe').start()
        return begun

    def _look(self, begun: _Look, look: Callable[[], Any],
              monotonic: Callable[[], float]) -> None:
        try:
            begun.found = look()
        except Exception:
            # Any error of the database means the same to the request.
            begun.found = None
        with self._lock:
            self._until = monotonic() + KEPT
            begun.done.set()
