"""The stored form of acquisition-wrapped inputs.

Databases hold instances of this class, so this module imports no part of
Zope: a worker without Zope must be able to load the jobs, if only to say that
it cannot run them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lovely.remotetask.payload import Reference

_ATOMS = frozenset((type(None), bool, int, float, str, bytes))

#: Values nested deeper than this are left as they are; the check of all
#: inputs finds out whether they can be stored.
_DEPTH = 50


class Wrapped(Reference):
    """The place of an object of the database.

    The object itself is not stored: as long as there was a job, the database
    could not be packed of the object, and an export of the service would take
    along the site that was the input of a job.
    Attributes: ``path``, its physical path (tuple of str); ``oid`` (bytes), by
    which another object at that place is told from this one; ``kind``, the
    dotted name of its class (str); ``object``, the object itself, bare, in
    the process that has added the job, else None.
    """

    object: Any = None

    def __init__(self, object: Any, path: tuple[str, ...]) -> None:
        self.object = object
        self.oid = object._p_oid
        self.path = path
        self.kind = f'{type(object).__module__}.{type(object).__qualname__}'

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items()
                if name != 'object'}

    def __str__(self) -> str:
        return f'{"/".join(self.path) or "/"} ({self.kind})'

    def __repr__(self) -> str:
        return f'<Wrapped {self}>'


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
