"""A worker's name in its own process, and the tokens of its claims."""

from __future__ import annotations

import itertools
import os
import socket
import uuid
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.workers import DIRECT

if TYPE_CHECKING:
    from lovely.remotetask.run.claimer import Claimer


class Identity:
    """A worker in its own process: makes the tokens of its claims.

    A token is (worker id, slot, number): no two claims ever share one, and
    that depends on no clock.

    Arguments: ``role`` (str), see store/workers.py.
    """

    def __init__(self, role: str) -> None:
        self.id = f'{role}:{socket.gethostname()}:{os.getpid()}:' \
                  f'{uuid.uuid4().hex[:12]}'
        self._numbers = itertools.count(1)

    def token(self, slot: int) -> Token:
        """A token for a claim of this slot, never given out before."""
        return self.id, slot, next(self._numbers)

    def tokens(self, slot: int) -> Iterator[Token]:
        """Such tokens, without end."""
        while True:
            yield self.token(slot)


_manual: dict[int, Identity] = {}


def manual_worker() -> Identity:
    """The worker of this process for jobs that are run directly."""
    # Keyed by the process: a fork must not go on with its parent's numbers.
    pid = os.getpid()
    if pid not in _manual:
        _manual[pid] = Identity(DIRECT)
    return _manual[pid]


#: The workers of this process that may still run what they have claimed.
here: weakref.WeakSet[Claimer] = weakref.WeakSet()


def is_here(name: str) -> bool:
    """May a worker with this id still run its jobs in this process?"""
    return any(name in worker.names for worker in list(here))
