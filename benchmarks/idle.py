"""The cost of a worker process that has nothing to do, or very much."""

import os
import time
from contextlib import contextmanager

from persistent.TimeStamp import TimeStamp

from lovely.remotetask import settings
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.processing import Process

#: A worker process has come to rest after this (seconds).
SETTLE = 2.0


def idle(bench):
    """The CPU and the commits of a worker process that waits."""
    place, seconds = bench.place, 0.5 if bench.sizes.smoke else 30.0
    path = place.service('idle')
    with given_away(place), Process(place, path) as process:
        place.stop.pause(min(SETTLE, seconds * 2))
        begun, wall = time.monotonic(), time.time()
        before = cpu_seconds(process.pid)
        changes = watch(place, path, seconds) if place.shared else None
        place.stop.pause(max(0, seconds - (time.monotonic() - begun)))
        after = cpu_seconds(process.pid)
        spent, until = time.monotonic() - begun, time.time()
    commits = stored(place, wall, until) if changes is None else changes
    beats = int(spent / settings.BEAT_SECONDS) + 1 if place.shared else 0
    return {
        'seconds': spent,
        'cpu_percent': None if after is None or before is None
        else 100 * (after - before) / spent,
        'commits': commits,
        # Those that its signs of life do not explain.
        'other_commits': max(0, commits - beats)}


def memory(bench):
    """The most memory of a worker process, under a very long queue."""
    place, sizes = bench.place, bench.sizes
    path = place.service('memory')
    place.fill(path, sizes.backlog)
    with given_away(place), Process(place, path) as process:
        place.stop.pause(0.2 if sizes.smoke else 10.0)
        found = memory_bytes(process.pid)
    return {'queued': sizes.backlog,
            'worker_mb': None if found is None else found / 1e6,
            'left': place.see(
                path, lambda service: service.stats()['queued'])}


@contextmanager
def given_away(place):
    """Let another process have the database within the block."""
    if place.shared:
        yield
        return
    # A FileStorage can be open in one process only.
    place.close()
    try:
        yield
    finally:
        place.database = place.opener()


def watch(place, path, seconds):
    """How often the database changes in so many seconds."""
    ends = time.monotonic() + seconds
    seen = set()
    with Client(place, path) as client:
        while time.monotonic() < ends:
            seen.add(client.see(
                lambda service: client.connection._storage.lastTransaction()))
            place.stop.pause(0.05)
    return len(seen) - 1


def stored(place, begun, ended):
    """How many transactions a file has of this time."""
    return sum(begun <= TimeStamp(one.tid).timeTime() <= ended
               for one in place.database.storage.iterator())


def cpu_seconds(pid):
    """A process's time on a CPU; None where the system does not tell."""
    # By thread and in nanoseconds; the sum of the process comes in ticks of
    # 10 ms, too coarse for an idle one.
    folder = f'/proc/{pid}/task'
    try:
        total = 0
        for name in os.listdir(folder):
            with open(f'{folder}/{name}/schedstat') as file:
                total += int(file.read().split()[0])
        return total / 1e9
    except OSError:
        return None


def memory_bytes(pid):
    """A process's resident memory at most so far; None as above."""
    try:
        with open(f'/proc/{pid}/status') as file:
            for line in file:
                if line.startswith('VmHWM:'):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
