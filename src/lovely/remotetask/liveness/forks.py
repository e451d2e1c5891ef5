"""A child made by fork must not hold, or give back, its parent's proofs."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_forgetters: list[weakref.ref[Any]] = []


def forgets_after_fork(forget: Callable[[], None]) -> None:
    """Call this in the child after every ``os.fork``.

    Arguments: ``forget``, a function of a module, or a bound method: that is
    held weakly.
    """
    bound = hasattr(forget, '__self__')
    _forgetters.append(
        # The callback keeps the list from growing with databases that come
        # and go.
        weakref.WeakMethod(forget, _remove) if bound
        else weakref.ref(forget, _remove))


def _remove(reference: weakref.ref[Any]) -> None:
    # In the child of a fork that happened right here it may be gone already.
    with suppress(ValueError):
        _forgetters.remove(reference)


def _in_child() -> None:
    for reference in list(_forgetters):
        forget = reference()
        if forget is not None:
            forget()


os.register_at_fork(after_in_child=_in_child)
