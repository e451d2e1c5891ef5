"""The commits and the bytes of one job's life."""

import os
import threading

from ZODB.Connection import Connection

from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.rates import drained

#: So long (seconds) after the end of a job its worker has nothing to do.
SETTLE = 0.005


def life(bench):
    """Jobs are added one by one and run; all that stores is counted."""
    commits, size = backlog(bench, 'noop')
    commits_grouped, size_grouped = backlog(bench, 'grouped')
    return {
        'commits': commits,
        'commits_grouped': commits_grouped,
        'commits_idle_queue': idle_queue(bench),
        'bytes': size,
        'bytes_grouped': size_grouped}


def backlog(bench, task):
    """The commits and the bytes per job, where all jobs were added before."""
    place, count = bench.place, 50 if bench.sizes.smoke else 2000
    path = place.service(f'life-{task}')
    before = size_of(place)
    with Client(place, path) as client, Commits() as commits:
        for _ in range(count):
            client.do(lambda service: service.add(task, None))
        drained(bench, path, count)
    after = size_of(place)
    return (commits.count / count,
            None if after is None else (after - before) / count)


def size_of(place):
    """The bytes of the database's file; None where there is none."""
    return None if place.file is None else os.path.getsize(place.file)


def idle_queue(bench):
    """The commits per job, where each is added to an idle worker."""
    place, count = bench.place, bench.sizes.samples
    path = place.service('life-idle')
    pause = threading.Event()
    with Client(place, path) as client, loops(place, path):

        def one():
            jobid = client.do(lambda service: service.add('noop', None))
            until(lambda: client.see(lambda service: service.getStatus(
                jobid)) == 'completed', 'a job of an idle worker')
            pause.wait(SETTLE)

        # With this one the worker becomes known to the service.
        one()
        with Commits() as commits:
            for _ in range(count):
                one()
    return commits.count / count


class Commits:
    """Counts the transactions that this process stores, on any storage.

    At the connections, because each storage has its own way; a connection
    that has nothing to store stores no transaction.
    """

    def __init__(self):
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self):
        self._before = finish = Connection.tpc_finish

        def tpc_finish(connection, current):
            if connection._modified or connection._creating:
                with self._lock:
                    self.count += 1
            return finish(connection, current)

        Connection.tpc_finish = tpc_finish
        return self

    def __exit__(self, *error):
        Connection.tpc_finish = self._before
