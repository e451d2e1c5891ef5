"""Hearing of a new job without polling, within one process.

A processor listens; a committed add() rings.  A ring that is lost or comes
from another process costs latency only: processors look by themselves every
``waitTime``.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

# database -> the events of those who listen.  Weak on both sides: a database
# that is gone, or a processor that ended without a word, leaves nothing.
_listeners: weakref.WeakKeyDictionary[Any, weakref.WeakSet[threading.Event]]
_listeners = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def listen(database: Any) -> threading.Event:
    """An event that is set whenever a job was added to this database.

    The caller keeps it alive, and clears it before it looks for jobs.
    """
    event = threading.Event()
    with _lock:
        _listeners.setdefault(database, weakref.WeakSet()).add(event)
    return event


def ring(database: Any) -> None:
    """Wake everybody who listens on this database."""
    with _lock:
        events = list(_listeners.get(database, ()))
    for event in events:
        event.set()
