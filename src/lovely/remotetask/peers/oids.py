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

from lovely.remotetask.edge.log import trace
from lovely.remotetask.peers.storages import innermost

# What a client is told.
_CALLED = ('notify_connected', 'notify_disconnected')

# The storages that are taken care of.
_done: weakref.WeakSet[Any] = weakref.WeakSet()


def forget_when_cut_off(database: DB) -> None:
    """Let a database take no oids of before, once it is connected anew.

    The same for those that share its transactions: a queue may have a database
    of its own.  Does nothing where a storage is no ZEO client.
    Cost: nothing to speak of from the second call on.
    """
    for one in database.databases.values():
        storage: Any = innermost(one.storage)
        if (all(hasattr(storage, name) for name in _CALLED)
                and storage not in _done):
            _done.add(storage)
            _watch(storage)


def _watch(storage: Any) -> None:
    if not isinstance(getattr(storage, '_oids', None), list):
        trace.info('this ZEO holds its oids in a way of its own: a server '
                   'that is started again may give some out twice')
        return
    # ZEO calls them in its own thread.  At both: a call for more may be under
    # way when the server goes.
    for name in _CALLED:
        setattr(storage, name, partial(
            _forget, weakref.ref(storage), getattr(type(storage), name)))


def _forget(ref: weakref.ref[Any], method: Callable[..., None],
            *arguments: Any) -> None:
    storage = ref()
    if storage is not None:
        storage._oids.clear()
        method(storage, *arguments)
