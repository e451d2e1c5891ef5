"""Listens for a server, so that no client keeps its connections from others.

waitress accepts nothing any more while it has as many connections as it may,
and one that sends a byte now and then keeps its place for ever.  Here the
oldest connection that waits for a request makes room for a new one: of the
address that has most of them, so that one address cannot crowd out the others.
A client of ours sends its request at once, and is answered before its turn
comes.
"""

import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import MultiSocketServer
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

#: Threads that answer web requests.
_THREADS = 4


@dataclass(frozen=True)
class Limits:
    """What clients are allowed.

    Arguments: ``connections``, how many at once on each address that the
    server listens on; ``header_seconds``, for the header of a request, and
    for a connection without one; ``body_seconds``, for a whole request;
    ``body_bytes``, how long its body may be.
    """

    connections: int = 100
    header_seconds: float = 30.0
    body_seconds: float = 120.0
    body_bytes: int = 1_000_000


class Listener:
    """A server that listens, and answers once it is run.

    Arguments: ``application`` (WSGI); ``host``, ``port``, where to listen;
    ``limits``.
    Attributes: ``addresses``, those that it listens on (str); ``port``.
    Raises: OSError, ValueError for a place where it cannot listen.
    """

    def __init__(self, application: Callable[..., Any], host: str, port: int,
                 limits: Limits) -> None:
        given = Adjustments(
            host=host, port=port, ident='remotetask',
            # A body that is declared too large is refused before a byte of
            # it is read; one in chunks is cut off here.  waitress's limit is
            # exclusive.
            max_request_body_size=limits.body_bytes + 1,
            # Never reached: a connection makes room before.
            connection_limit=1_000_000,
            # select() fails on the files beyond 1,024, and commands of jobs
            # have files, too.
            asyncore_use_poll=True, cleanup_interval=1)
        dispatcher = ThreadedTaskDispatcher()
        sockets: dict[int, Any] = {}
        servers = [
            _Server(application, sockets, dispatcher=dispatcher, adj=given,
                    sockinfo=place, limits=limits) for place in given.listen]
        # The system may have chosen it, and another one for each address.
        self.port = int(servers[0].effective_port)
        self.addresses: Sequence[str] = [
            server.effective_host for server in servers
            if int(server.effective_port) == self.port]
        self._all = MultiSocketServer(sockets, given, (), dispatcher)
        dispatcher.set_thread_count(_THREADS)

    def run(self) -> None:
        """Answer requests, until this thread gets a SystemExit."""
        self._all.run()

    def close(self) -> None:
        """End all connections, and listen no more."""
        self._all.close()


class _Channel(HTTPChannel):
    """A connection, which knows since when it waits for a request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.since = time.monotonic()

    def received(self, data: bytes) -> bool:
        """See waitress: bytes have come."""
        # The first of a request, and no later one: a client that sends a
        # byte now and then gets no more time by that.
        if self.request is None:
            self.since = time.monotonic()
        return bool(super().received(data))

    def service(self) -> None:
        """See waitress: answer a request."""
        super().service()
        self.since = time.monotonic()

    @property
    def waits(self) -> bool:
        """Is there no request that is being answered?"""
        return not self.requests and not self.will_close

    def is_overdue(self, limits: Limits) -> bool:
        """Has the client had its time?"""
        if not self.waits:
            return False
        if self.total_outbufs_len:
            # It is reading an answer, and may be slow.
            return bool(time.time() - self.last_activity
                        > self.adj.channel_timeout)
        # Read once: another thread may put None there.
        request = self.request
        has_header = request is not None and request.headers_finished
        return time.monotonic() - self.since > (
            limits.body_seconds if has_header else limits.header_seconds)


class _Server(TcpWSGIServer):
    """Listens on one address.  See Listener"""

    channel_class = _Channel

    def __init__(self, *arguments: Any, limits: Limits, **options: Any
                 ) -> None:
        self._limits = limits
        super().__init__(*arguments, **options)

    def handle_accept(self) -> None:
        """See waitress: a client wants a connection."""
        super().handle_accept()
        if len(self.active_channels) > self._limits.connections:
            self._make_room()

    def maintenance(self, now: float) -> None:
        """See waitress: called each second."""
        for channel in self.active_channels.values():
            if channel.is_overdue(self._limits):
                channel.will_close = True

    def _make_room(self) -> None:
        waiting = [channel for channel in self.active_channels.values()
                   if channel.waits]
        if not waiting:
            return
        held = Counter(channel.addr[0] for channel in waiting)
        # Closed by the loop, in its next turn: its number must not go to a
        # new connection while this turn still has events for the old one.
        min(waiting, key=lambda channel: (
            -held[channel.addr[0]], channel.since)).will_close = True
