"""A child made by fork must not hold, or give back, its parent's proofs."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: What holds the function, and the function; None: its own object, bound.
_Forgetter = tuple['weakref.ref[Any]', Callable[[Any], None] | None]

_forgetters: list[_Forgetter] = []


def forgets_after_fork(forget: Callable[[], None]) -> None:
    """Call this in the child after every ``os.fork``.

    Arguments: ``forget``, a function of a module, or a bound method: that is
    held weakly.
    """
    # Not a WeakMethod: its callback is torn down before its object where an
    # interpreter ends, and complains.
    owner = getattr(forget, '__self__', forget)
    function = getattr(forget, '__func__', None)

    def remove(reference: weakref.ref[Any]) -> None:
        # Keeps the list from growing with databases that come and go.  In
        # the child of a fork that happened right here it may be gone already.
        with suppress(ValueError):
            _forgetters.remove((reference, function))

    _forgetters.append((weakref.ref(owner, remove), function))


def _in_child() -> None:
    for reference, function in list(_forgetters):
        owner = reference()
        if owner is None:
            continue
        if function is None:
            owner()
        else:
            function(owner)


os.register_at_fork(after_in_child=_in_child)
