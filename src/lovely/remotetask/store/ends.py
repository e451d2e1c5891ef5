"""Which jobs have ended since a moment, in the order of their ends."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.store.log import LOGS

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue


def ends_since(queue: JobQueue, start: int, limit: int
               ) -> list[tuple[int, int, str]]:
    """The first ends from a moment on.

    Arguments: ``start``, a time key; ``limit``, how many.
    Returns: (time key, job id, status), the earliest first.
    Cost: O(limit + slots).
    """
    parts: list[Iterator[tuple[int, int, str]]] = []
    for number, slot in queue.slots.items():
        for name in LOGS:
            parts.append(_named(getattr(slot, name).up(start), name))
        # Completed, and in a log only at the end of their page.
        parts.append(_named((one for one in queue.unlogged(number)
                             if one[0] >= start), COMPLETED))
    return list(islice(heapq.merge(*parts), limit))


def _named(entries: Iterable[tuple[int, int]], name: str
           ) -> Iterator[tuple[int, int, str]]:
    for at, jobid in entries:
        yield at, jobid, name
