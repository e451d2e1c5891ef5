"""What a connection alone knows of a stored object, such as its next id."""

from __future__ import annotations

import weakref
from typing import Any

from persistent import Persistent


class Local:
    """A connection's notes about one persistent object; never stored."""

    def __init__(self) -> None:
        self.next_id: int | None = None
        # The end of the block that this connection has drawn.
        self.own_end: int | None = None
        # Ids to be given first, see reserved.
        self.reserved: tuple[int, int] | None = None
        # The time of the latest ready key (microseconds).
        self.last_us = 0
        # Of a batch: what the latest look at its jobs has found.
        self.left: int | None = None


# Keyed by the connection, not in _v_ attributes: those vanish when the object
# leaves the cache, and with them the block of ids and the order of adds.
_locals: weakref.WeakKeyDictionary[Any, dict[Any, Local]] = (
    weakref.WeakKeyDictionary())


def local(persistent: Persistent) -> Local:
    """The unstored state of a persistent object in its connection."""
    holder = persistent._p_jar
    if holder is None:
        holder = persistent
    key = persistent._p_oid if holder is not persistent else None
    try:
        return _locals[holder][key]
    except KeyError:
        # The notes about a new object go on once it is stored.
        before = {} if key is None else _locals.pop(persistent, {})
        mine = before.get(None) or Local()
        _locals.setdefault(holder, {})[key] = mine
        return mine


class reserved:
    """Within the block, jobs that this connection adds get these ids first.

    Arguments: ``persistent``, the mapping of jobs; ``ids``, (first, end), or
    None; their block of ids is there already.
    """

    def __init__(self, persistent: Persistent,
                 ids: tuple[int, int] | None) -> None:
        self._mine = local(persistent)
        self._ids = ids

    def __enter__(self) -> None:
        mine = self._mine
        self._before = mine.next_id, mine.own_end, mine.reserved
        if self._ids is not None:
            # Checked when a job is added: most tasks add none.
            mine.next_id, mine.own_end, mine.reserved = None, None, self._ids

    def __exit__(self, *error: object) -> None:
        mine = self._mine
        # The connection goes back to the pool; the ids stay with their slot.
        mine.next_id, mine.own_end, mine.reserved = self._before
