"""Who runs jobs: workers, and the slots their threads write their logs in.

Source: new.
"""

from __future__ import annotations

import itertools
import os
import socket
import uuid

from persistent import Persistent

from lovely.remotetask.lanes import Log

#: The slot of direct processing; nobody owns it.
DIRECT = 0


class WorkerRecord(Persistent):
    """A worker as the database knows it; written by its claims only.

    Attributes: ``claims`` (tuple of int), the jobs it has claimed.  Finish
    never writes this record, so the list may still name jobs that are over;
    the next claim drops them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.claims: tuple[int, ...] = ()


class Slot(Persistent):
    """Where one thread notes what it has ended.

    A number and not a worker's id: a fleet that restarts daily has as many
    logs as it ever had threads at once.
    Attributes: ``owner`` (worker id), None: free; ``completed``, ``error``,
    logs.
    """

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.completed = Log()
        self.error = Log()


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
