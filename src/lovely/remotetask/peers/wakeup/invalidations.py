"""Wake-up by ZODB's invalidations: for ZEO, FileStorage, and most others.

ZODB tells each open connection which objects a commit has written, in this
process or, as ZEO's server tells its clients, in another; we are one more
that is told.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from contextlib import suppress
from typing import Any

from ZODB.mvccadapter import MVCCAdapterInstance
from ZODB.utils import p64
from ZODB.utils import u64

from lovely.remotetask.peers.wakeup.wake_events import Channel
from lovely.remotetask.peers.wakeup.wake_events import WakeEvent
from lovely.remotetask.peers.wakeup.wake_events import WakeEvents

# A commit that wrote no more objects than these is taken for that of an add,
# and a worker on ZEO that it has woken asks for all of them at once.
_PREFETCH_OBJECTS = 8


class _Hook(MVCCAdapterInstance):
    """Told what was committed; called with locks held, so it only rings.

    Made of a connection's own part, so that whatever a later ZODB may call
    there is there: what fails here fails somebody's commit.
    """

    called = False

    def __init__(self, adapter: Any, wake_events: WakeEvents) -> None:
        super().__init__(adapter)
        self._wake_events = wake_events

    def _invalidate(self, tid: bytes, oids: Collection[bytes]) -> None:
        self.called = True
        self._wake_events.changed(tid, oids)

    def _invalidateCache(self) -> None:
        # After an outage: anything may have been written meanwhile.
        self.called = True
        self._wake_events.set()


class Invalidations(Channel):
    """Rings when an object that an add writes has been written."""

    def __init__(self, database: Any) -> None:
        super().__init__()
        self._adapter: Any = getattr(database, '_mvcc_storage', None)
        self._hook: _Hook | None = None

    def open(self) -> None:
        """See Channel"""
        if self._hook is not None or self.works is False:
            return
        adapter = self._adapter
        # Not an interface of ZODB's: it may be gone in its next release.  And
        # RelStorage, on MySQL or SQLite, brings a part of its own.
        if not hasattr(adapter, '_instances'):
            self.fails(f'{type(adapter).__name__} does not tell what others '
                        f'have committed')
            return
        try:
            hook = _Hook(adapter, self.wake_events)
            with adapter._lock:
                adapter._instances.add(hook)
        except Exception as error:
            self.fails(f'this ZODB cannot be asked for invalidations '
                        f'({error!r})')
            return
        self._hook = hook

    def probe(self) -> None:
        """See Channel"""
        if self._hook is None or self.works is not None:
            return
        # To enroll was a commit of this process.
        if self._hook.called:
            self.works = True
        else:
            self.fails('this ZODB tells no invalidations')

    def wait_until_visible(self, event: WakeEvent) -> None:
        """See Channel"""
        # The hook may be told before the connection that will look is; the
        # lock is held until all have been.
        with getattr(self._adapter, '_lock', nullcontext()):
            pass
        news, event.news = event.news, None
        if news is not None and len(news[1]) <= _PREFETCH_OBJECTS:
            # The claim needs what the add has written.  All of it comes in
            # the time of one load; one by one it took a fifth of the time
            # from the commit of add() to the start of the task, on ZEO.
            tid, oids = news
            # Whatever goes wrong, the look will tell.
            with suppress(Exception):
                storage = self._adapter._storage
                # While it connects anew ZEO's log would be full of it.
                if storage.is_connected():
                    storage.prefetch(oids, p64(u64(tid) + 1))
