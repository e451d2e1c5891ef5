"""Who runs jobs: a record per worker, written by that worker's claims only.

Source: new.
"""

from __future__ import annotations

import itertools
import os
import socket
import uuid

from persistent import Persistent


class WorkerRecord(Persistent):
    """A worker as the database knows it.

    Attributes: ``claims`` (tuple of int), the jobs it has claimed.  Finish
    never writes this record, so the list may still name jobs that are over;
    the next claim drops them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.claims: tuple[int, ...] = ()


class Identity:
    """A worker in its own process: makes the tokens of its claims.

    A token is (worker id, number): no two claims ever share one, and nobody
    needs a clock to agree on that.

    Arguments: ``role`` (str), for people who read the database.
    """

    def __init__(self, role: str) -> None:
        self.id = f'{role}:{socket.gethostname()}:{os.getpid()}:' \
                  f'{uuid.uuid4().hex[:12]}'
        self._numbers = itertools.count(1)

    def token(self) -> tuple[str, int]:
        """A token that has never been given out before."""
        return self.id, next(self._numbers)


_manual: dict[int, Identity] = {}


def manual_worker() -> Identity:
    """The worker of this process for what is run by hand."""
    # Keyed by the process: a fork must not go on with its parent's numbers.
    pid = os.getpid()
    if pid not in _manual:
        _manual[pid] = Identity('manual')
    return _manual[pid]
