"""How often workers and producers get into each other's way."""

import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from contextlib import suppress
from functools import partial
from pathlib import Path

from peers import Conflicts
from peers import produce

from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Stopped
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.rates import completed
from lovely.remotetask.cli.failures import Failure

#: Processes of a kind, and the adds of each producer.
PEERS, ADDS = 4, 500

PROGRAM = Path(__file__).with_name('peers.py')


def conflicts(bench):
    """Producers add one by one: first alone, then while workers run the jobs.

    In processes of their own, or in threads where no other process can have
    the database.
    """
    place = bench.place
    peers, each = (2, 10) if bench.sizes.smoke else (PEERS, ADDS)
    adds = peers * each
    meet = processes if place.shared else in_threads
    alone, _, _ = meet(place, place.service('conflicts-alone'), peers, each,
                       workers=0)
    path = place.service('conflicts')
    # These jobs keep the workers busy while the producers add others.
    place.fill(path, adds)
    added, worked, seconds = meet(place, path, peers, each, workers=peers)
    return {
        'workers': peers, 'producers': peers, 'jobs': adds * 2,
        'jobs_per_second': adds * 2 / seconds,
        'per_1000_adds_alone': 1000 * alone / adds,
        'per_1000_adds': 1000 * added / adds,
        'per_1000_claims': 1000 * worked['machinery'] / (adds * 2),
        'per_1000_finishes': 1000 * worked['tasks'] / (adds * 2),
        'repeated_per_1000': None if worked['repeated'] is None
        else 1000 * worked['repeated'] / (adds * 2)}


def all_done(place, path, jobs):
    until(lambda: place.see(path, completed) >= jobs,
          f'{jobs} jobs of several producers', pause_seconds=0.02)


def in_threads(place, path, peers, each, workers):
    """Returns: as ``processes``."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(place, path))
                   for _ in range(peers)]
        found = stack.enter_context(Conflicts())
        begun = time.monotonic()
        with loops(place, path, workers):
            producers = [threading.Thread(target=produce_in_thread,
                                          args=(client, each), daemon=True)
                         for client in clients]
            for thread in producers:
                thread.start()
            for thread in producers:
                thread.join()
            if workers:
                all_done(place, path, peers * each * 2)
        seconds = time.monotonic() - begun
    added = sum(client.conflicts for client in clients)
    # Producers and the machinery have explicit transaction managers both.
    return added, {'machinery': found.machinery - added,
                   'tasks': found.tasks, 'repeated': None}, seconds


def produce_in_thread(client, count):
    # The thread that measures is stopped, too, and ends everything.
    with suppress(Stopped):
        produce(client, count)


def processes(place, path, peers, each, workers):
    """Returns: the conflicts of the producers; those of the workers, by kind
    (see peers.py); and the seconds that all of it took."""
    with ExitStack() as stack:
        producers = [stack.enter_context(Peer(
            'produce', place.uri, path[-1], str(each)))
            for _ in range(peers)]
        running = []
        for number in range(workers):
            running.append(stack.enter_context(
                Peer('work', place.uri, path[-1])))
            # One after the other: that they meet when they become known is
            # no conflict of their work.
            until(partial(place.see, path, partial(
                has_workers, count=number + 1)), 'a worker process')
        begun = time.monotonic()
        for peer in producers:
            peer.go()
        added = [peer.result() for peer in producers]
        if running:
            all_done(place, path, peers * each * 2)
        seconds = time.monotonic() - begun
        worked = [peer.result() for peer in running]
    return (sum(one['machinery'] for one in added),
            {name: sum(one[name] for one in worked)
             for name in ('machinery', 'tasks', 'repeated')}, seconds)


def has_workers(service, count):
    return len(service.listWorkers()) >= count


class Peer:
    """A process of peers.py, ready to go."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, *arguments], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self._process.stdout.readline() != 'ready\n':
            self._process.wait()
            raise Failure(f'a {arguments[0]} process did not start',
                          'look for its error above')

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.communicate()

    def go(self):
        self._process.stdin.write('\n')
        self._process.stdin.flush()

    def result(self):
        """End it.  Returns: its conflicts, by kind."""
        text, _ = self._process.communicate()
        if self._process.returncode:
            raise Failure('a peer process ended with '
                          f'{self._process.returncode}',
                          'look for its error above')
        return json.loads(text)
