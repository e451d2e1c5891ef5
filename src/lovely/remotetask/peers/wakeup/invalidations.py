"""Wake-up by ZODB's invalidations: for ZEO, FileStorage, and most others.

ZODB passes on to each open connection which objects a commit has written: a
commit of this process, or of another one, of which ZEO's server informs its
clients.  A hook beside the connections receives the same.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from contextlib import suppress

from ZODB.DB import DB
from ZODB.mvccadapter import MVCCAdapter
from ZODB.mvccadapter import MVCCAdapterInstance
from ZODB.utils import p64
from ZODB.utils import u64

from lovely.remotetask.peers.wakeup.channel import Channel
from lovely.remotetask.peers.wakeup.wake_events import WakeEvent
from lovely.remotetask.peers.wakeup.wake_events import WakeEvents

# A commit that wrote this many objects or fewer counts as that of an add, and
# a worker on ZEO that it has woken asks for all of them at once.
_PREFETCH_OBJECTS = 8


class _Hook(MVCCAdapterInstance):
    """Sets wake events for commits; locks are held when it is called.

    It derives from the part that ZODB gives to each connection, so that it
    has each method that a later ZODB may call there: an error in it would
    fail the commit of any connection.
    """

    called = False

    def __init__(self, adapter: MVCCAdapter, wake_events: WakeEvents) -> None:
        super().__init__(adapter)
        self._wake_events = wake_events

    def _invalidate(self, tid: bytes, oids: Collection[bytes]) -> None:
        self.called = True
        self._wake_events.set_written(tid, oids)

    def _invalidateCache(self) -> None:
        # After an outage: anything may have been written meanwhile.
        self.called = True
        self._wake_events.set()


class Invalidations(Channel):
    """Notified by each commit that writes what an add writes.

    It publishes nothing: ZODB does.
    Arguments: ``database`` (ZODB.DB).
    """

    def __init__(self, database: DB) -> None:
        super().__init__()
        self._adapter: MVCCAdapter = getattr(database, '_mvcc_storage', None)
        self._hook: _Hook | None = None

    def open(self) -> None:
        """See Channel"""
        if self._hook is not None or self.works is False:
            return
        reason = self._hook_in()
        if reason:
            self.fails(reason)

    def hear_commits(self) -> None:
        """See Channel"""
        if self._hook is None:
            self._hook_in()

    def _hook_in(self) -> str:
        """Hook into the adapter.  Returns: why it cannot, or ''."""
        adapter = self._adapter
        # Not an interface of ZODB's: it may be gone in its next release.  And
        # RelStorage, on MySQL or SQLite, has an adapter of its own.
        if not hasattr(adapter, '_instances'):
            return (f'{type(adapter).__name__} does not tell what others '
                    f'have committed')
        try:
            hook = _Hook(adapter, self.wake_events)
            with adapter._lock:
                adapter._instances.add(hook)
        except Exception as error:
            return f'this ZODB cannot be asked for invalidations ({error!r})'
        self._hook = hook
        return ''

    def probe(self) -> None:
        """See Channel"""
        if self._hook is None or self.works is not None:
            return
        # The worker's enrolling was a commit of this process.
        if self._hook.called:
            self.works = True
        else:
            self.fails('this ZODB tells no invalidations')

    def wait_until_visible(self, event: WakeEvent) -> None:
        """See Channel"""
        # The hook may be called before the connection that will look; the
        # lock is held until all of them have been.
        with getattr(self._adapter, '_lock', nullcontext()):
            pass
        commit, event.commit = event.commit, None
        if commit is not None and len(commit[1]) <= _PREFETCH_OBJECTS:
            # The claim needs what the add has written.  All of it comes in
            # the time of one load; one by one it took a fifth of the time
            # from the commit of add() to the start of the task, on ZEO.
            tid, oids = commit
            # If it fails, the claim loads them, or reports the error.
            with suppress(Exception):
                storage = self._adapter._storage
                # While it connects anew, ZEO's log would be full of it.
                if storage.is_connected():
                    storage.prefetch(oids, p64(u64(tid) + 1))
