"""Lets a ZEO client forget the oids that it holds for objects to come.

A client gets a hundred at once.  A server that was started again knows
nothing of them, and gives them to other clients: objects of two processes
would have one oid.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from ZODB.DB import DB

from lovely.remotetask.log import trace
from lovely.remotetask.peers.storages import innermost


def forget_when_cut_off(database: DB) -> None:
    """Let a database take no oids of before, once it is connected anew.

    Does nothing where the storage is no ZEO client.
    """
    storage: Any = innermost(database.storage)
    names = ('notify_connected', 'notify_disconnected')
    if not all(hasattr(storage, name) for name in names):
        return
    if not isinstance(getattr(storage, '_oids', None), list):
        trace.info('this ZEO holds its oids in a way of its own: a server '
                   'that is started again may give some out twice')
        return
    # ZEO calls them in its own thread.  At both: a call for more may be under
    # way when the server goes.
    for name in names:
        setattr(storage, name, partial(
            _forget, weakref.ref(storage), getattr(type(storage), name)))


def _forget(ref: weakref.ref[Any], method: Callable[..., None],
            *arguments: Any) -> None:
    storage = ref()
    if storage is not None:
        storage._oids.clear()
        method(storage, *arguments)
