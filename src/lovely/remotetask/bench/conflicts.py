"""How often workers and producers get into each other's way."""

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.peers import Conflicts
from lovely.remotetask.bench.peers import produce
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.rates import completed
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.cli.failures import Failure


def conflicts(bench: Bench) -> Figures:
    """Producers add one by one while workers run what is queued.

    In processes of their own, or in threads where no other process can have
    the database.
    """
    place, sizes = bench.place, bench.sizes
    path = place.service('conflicts')
    adds = sizes.peers * sizes.meetings
    place.fill(path, adds)
    work = _processes if place.shared else _threads
    begun = time.monotonic()
    produced, worked = work(place, path, sizes.peers, sizes.meetings)
    seconds = time.monotonic() - begun
    return {
        'workers': sizes.peers, 'producers': sizes.peers,
        'jobs': adds * 2, 'jobs_per_second': adds * 2 / seconds,
        'per_1000_adds': 1000 * produced / adds,
        'per_1000_runs': 1000 * worked / (adds * 2)}


def _all_done(place: Place, path: list[str], jobs: int) -> None:
    until(lambda: place.see(path, completed) >= jobs,
          f'{jobs} jobs of several producers', pause_seconds=0.02)


def _threads(place: Place, path: list[str], peers: int, each: int
             ) -> tuple[int, int]:
    """Returns: the conflicts of producers, and of workers."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(place, path))
                   for _ in range(peers)]
        conflicts = stack.enter_context(Conflicts())
        with loops(place, path, peers):
            producers = [threading.Thread(target=produce, daemon=True,
                                          args=(client, each))
                         for client in clients]
            for thread in producers:
                thread.start()
            for thread in producers:
                thread.join()
            _all_done(place, path, peers * each * 2)
        produced = sum(client.conflicts for client in clients)
        return produced, conflicts.count - produced


def _processes(place: Place, path: list[str], peers: int, each: int
               ) -> tuple[int, int]:
    """Returns: the conflicts of producers, and of workers."""
    with ExitStack() as stack:
        producers = [stack.enter_context(_Peer(
            'produce', place.uri, path[-1], str(each)))
            for _ in range(peers)]
        workers = []
        for number in range(peers):
            workers.append(stack.enter_context(
                _Peer('work', place.uri, path[-1])))
            # One after the other: that they meet when they become known is
            # no conflict of their work.
            until(partial(place.see, path, partial(
                _has_workers, count=number + 1)), 'a worker process')
        for peer in producers:
            peer.go()
        produced = sum(peer.result() for peer in producers)
        _all_done(place, path, peers * each * 2)
        return produced, sum(peer.result() for peer in workers)


def _has_workers(service: Any, count: int) -> bool:
    return len(service.listWorkers()) >= count


class _Peer:
    """A process of peers.py, ready to go."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.bench.peers',
             *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != 'ready\n':
            self._process.wait()
            raise Failure(f'a {arguments[0]} process did not start',
                          'look for its error above')

    def __enter__(self) -> '_Peer':
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write('\n')
        self._process.stdin.flush()

    def result(self) -> int:
        """End it.  Returns: its conflicts."""
        text, _ = self._process.communicate()
        if self._process.returncode:
            raise Failure('a peer process ended with '
                          f'{self._process.returncode}',
                          'look for its error above')
        return int(text)
