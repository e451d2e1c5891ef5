"""The live answers of the last second: open pages must be no load.

Tabs that show the same page get the same answer, and one of them has it made:
to refuse the others would let them fall behind for nothing.  What is refused
is many pages at once, by one account.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

#: How long (seconds) an answer counts, and how many pages an account may have
#: made within that time: 20 tabs with different pages ask for 7.
KEPT = 1.0
MOST = 10


class _Made(NamedTuple):
    at: float
    user: str
    answer: Response


class Lately:
    """What was made within the last second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Any, _Made] = {}

    def find(self, key: Any, user: str, now: float) -> Response | None:
        """The answer, if it is there.

        Raises: Refused for an account that has had too many others made.
        """
        with self._lock:
            self._made = {one: made for one, made in self._made.items()
                          if now - made.at < KEPT}
            found = self._made.get(key)
            if found is None and MOST <= sum(
                    made.user == user for made in self._made.values()):
                raise Refused(
                    429, 'this account has too many pages open; each will be '
                         'brought up to date later')
        return None if found is None else found.answer

    def keep(self, key: Any, made: _Made) -> None:
        """Note an answer that was made."""
        with self._lock:
            self._made[key] = made


def answer(request: Request, make: Callable[[], Response],
           monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic
           ) -> Response:
    """The answer to the script of an open page; without a body where nothing
    has changed.

    Arguments: ``make``, makes it; ``monotonic()``, seconds.
    Raises: Refused.
    """
    # Two threads at once may both make one: no harm.
    lately: Lately = request.kept.setdefault('live', Lately())
    key = (request.user, request.base, request.path,
           tuple(request.query.items()), request.may(ADD), request.may(MANAGE))
    found = lately.find(key, request.user, monotonic())
    if found is None:
        found = make()
        # Not the moment before: it may have waited for the database.
        lately.keep(key, _Made(monotonic(), request.user, found))
    # A proxy that compresses makes a weak one of it.
    if request.headers.get('if-none-match', '').removeprefix('W/') == (
            found.headers['ETag']):
        return Response(304, found.content_type, b'', found.headers)
    return found
