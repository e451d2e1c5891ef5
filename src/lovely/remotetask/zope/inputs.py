"""Acquisition-wrapped inputs: what is stored for them.

Instances of this class are in databases, so nothing of Zope is imported here:
a worker without Zope must be able to load the jobs, if only to say that it
cannot run them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ATOMS = frozenset((type(None), bool, int, float, str, bytes))

#: Deeper inputs are left as they are; whether they can be stored is found
#: out by the check of all inputs.
_DEPTH = 50


class Wrapped:
    """An object of the database, and where it was found.

    Attributes: ``object``, the persistent object itself, bare; ``path``, its
    physical path (tuple of str).
    """

    def __init__(self, object: Any, path: tuple[str, ...]) -> None:
        self.object = object
        self.path = path

    def __repr__(self) -> str:
        return f'<Wrapped {"/".join(self.path) or "/"}>'


def replace(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply ``change`` to all that is no plain data in dicts, lists, tuples.

    Returns: the value itself where nothing changes, else a copy of the
    containers that something changed in.  Keys of dicts are left alone.
    Cost: O(containers in the value).
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
        # Of a container in itself the inner one stays what it is.
        memo[id(value)] = value
        old = list(value.values()) if kind is dict else value
        new = [_replace(part, change, memo, depth - 1) for part in old]
        if any(one is not other for one, other in zip(old, new, strict=True)):
            memo[id(value)] = (dict(zip(value, new, strict=True))
                               if kind is dict else kind(new))
    return memo[id(value)]
