"""What a process keeps in memory for each service that it answers for.

By the service and not by the address of its pages: virtual hosts show several
services at one address, and a visitor of Zope may make addresses up.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING
from typing import Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: An object of this process, and what tells the service among its others.
Place = tuple[object, Hashable]

_lock = threading.Lock()
_kept: WeakKeyDictionary[Any, dict[Any, dict[str, Any]]] = WeakKeyDictionary()


def of(service: TaskService) -> dict[str, Any]:
    """The mapping of a service; it goes with the database of the service."""
    jar: Any = service._p_jar
    return at((jar.db(), service._p_oid))


def at(place: Place) -> dict[str, Any]:
    """The mapping of a place; it goes with the owner of the place."""
    owner, key = place
    with _lock:
        return _kept.setdefault(owner, {}).setdefault(key, {})


def forget() -> None:
    """Begin anew: for tests."""
    with _lock:
        _kept.clear()
