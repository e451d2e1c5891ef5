"""What a worker costs that has nothing to do, or very much."""

import threading
import time

from persistent.TimeStamp import TimeStamp

from lovely.remotetask import settings
from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.processing import Process
from lovely.remotetask.bench.sizes import Bench

#: A worker process has come to rest after this (seconds).
SETTLE = 2.0


def idle(bench: Bench) -> Figures:
    """The CPU and the commits of a worker process that waits."""
    place, seconds = bench.place, bench.sizes.seconds
    if not place.reachable:
        return dict.fromkeys(
            ('seconds', 'cpu_percent', 'commits', 'other_commits'))
    path = place.service('idle')
    pause = threading.Event()
    with place.given_away(), Process(place, path) as process:
        pause.wait(min(SETTLE, seconds * 2))
        begun, wall, before = (time.monotonic(), time.time(),
                               process.cpu_seconds())
        changes = _watch(place, path, seconds) if place.shared else None
        pause.wait(seconds - (time.monotonic() - begun))
        after = process.cpu_seconds()
        spent, until = time.monotonic() - begun, time.time()
    commits = _stored(place, wall, until) if changes is None else changes
    beats = int(spent / settings.BEAT_SECONDS) + 1 if place.shared else 0
    return {
        'seconds': spent,
        'cpu_percent': None if after is None or before is None
        else 100 * (after - before) / spent,
        'commits': commits,
        # Those that its signs of life do not explain.
        'other_commits': max(0, commits - beats)}


def _watch(place: Place, path: list[str], seconds: float) -> int:
    """How often the database changes in so many seconds."""
    ends = time.monotonic() + seconds
    pause = threading.Event()
    seen = set()
    with Client(place, path) as client:
        while time.monotonic() < ends:
            seen.add(client.see(
                lambda service: client.connection._storage.lastTransaction()))
            pause.wait(0.05)
    return len(seen) - 1


def _stored(place: Place, begun: float, ended: float) -> int:
    """How many transactions a file has of this time."""
    return sum(begun <= TimeStamp(one.tid).timeTime() <= ended
               for one in place.database.storage.iterator())


def memory(bench: Bench) -> Figures:
    """What a worker process needs at most, under a very long queue."""
    place, sizes = bench.place, bench.sizes
    if not place.reachable:
        return dict.fromkeys(('queued', 'worker_mb', 'left'))
    path = bench.stock()
    with place.given_away(), Process(place, path) as process:
        threading.Event().wait(sizes.seconds / 3)
        found = process.memory_bytes()
    return {'queued': sizes.stock,
            'worker_mb': None if found is None else found / 1e6,
            'left': place.see(
                path, lambda service: service.stats()['queued'])}
