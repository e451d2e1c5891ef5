"""The stored form of acquisition-wrapped inputs.

Databases hold instances of this class, so this module imports no part of
Zope: a worker without Zope must be able to load the jobs, if only to say that
it cannot run them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ATOMS = frozenset((type(None), bool, int, float, str, bytes))

#: Values nested deeper than this are left as they are; the check of all
#: inputs finds out whether they can be stored.
_DEPTH = 50


class Wrapped:
    """An object of the database, and its place.

    Attributes: ``object``, the persistent object itself, bare; ``path``, its
    physical path (tuple of str).
    """

    def __init__(self, object: Any, path: tuple[str, ...]) -> None:
        self.object = object
        self.path = path

    def __repr__(self) -> str:
        return f'<Wrapped {"/".join(self.path) or "/"}>'


def replace(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply ``change`` to the objects in nested dicts, lists and tuples.

    Returns: the value itself where ``change`` returned each object as it
    was, else a copy of the containers that differ.  Keys are left alone.
    Cost: O(values in the containers).
    """
    return _replace(value, change, {}, _DEPTH)


def _replace(value: Any, change: Callable[[Any], Any], memo: dict[int, Any],
             depth: int) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is not dict and kind is not list and kind is not tuple:
        return change(value)
    if depth == 0:
        return value
    if id(value) not in memo:
        # In a container that contains itself, the inner one stays as it is.
        memo[id(value)] = value
        old = list(value.values()) if kind is dict else value
        new = [_replace(part, change, memo, depth - 1) for part in old]
        if any(one is not other for one, other in zip(old, new, strict=True)):
            memo[id(value)] = (dict(zip(value, new, strict=True))
                               if kind is dict else kind(new))
    return memo[id(value)]
