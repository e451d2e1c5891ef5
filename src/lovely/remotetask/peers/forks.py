"""Lets objects drop, in a child made by fork, what belongs to its parent.

The child has copies of its parent's locks and open connections.  It must not
count as the parent, and must not end what the parent still uses.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: The object that a function belongs to, and the function; None: the object
#: is the function.
_Entry = tuple['weakref.ref[Any]', Callable[[Any], None] | None]

_entries: list[_Entry] = []


def call_after_fork(function: Callable[[], None]) -> None:
    """Call a function in each child that ``os.fork`` makes from now on.

    Arguments: ``function``, without arguments: one of a module, or a bound
    method.  The object of a bound method is held weakly: its call ends with
    it.
    """
    # No WeakMethod: its callback is torn down before its object when an
    # interpreter ends, and then it writes an error to stderr.
    owner = getattr(function, '__self__', function)
    method = getattr(function, '__func__', None)

    def remove(reference: weakref.ref[Any]) -> None:
        # Otherwise the list would grow with each database that is opened.
        # The entry is missing in a child that was forked right here.
        with suppress(ValueError):
            _entries.remove((reference, method))

    _entries.append((weakref.ref(owner, remove), method))


def _in_child() -> None:
    for reference, method in list(_entries):
        owner = reference()
        if owner is None:
            continue
        if method is None:
            owner()
        else:
            method(owner)


os.register_at_fork(after_in_child=_in_child)
