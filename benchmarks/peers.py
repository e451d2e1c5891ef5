"""Workers and producers that count their conflicts, for conflicts.py.

    python peers.py work URI NAME
    python peers.py produce URI NAME COUNT

Each prints ``ready``, does its work after a line of standard input, and
prints its conflicts as JSON when that is done; workers end with standard
input.  ``machinery``: conflicts of claims and other transactions of ours, and
of producers; ``tasks``: of transactions that finish jobs; ``repeated``: how
often a finish was repeated because a claim in the same commit conflicted.
"""

import json
import sys
import threading
from contextlib import closing

import transaction
from transaction.interfaces import TransientError

from lovely.remotetask import task
from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.place import NAME
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Stop
from lovely.remotetask.cli import databases
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import threads


class Conflicts:
    """Counts the commits of this process that conflict."""

    def __init__(self):
        self.machinery = self.tasks = 0
        self._lock = threading.Lock()

    def __enter__(self):
        self._before = commit = transaction.TransactionManager.commit

        def counting(manager):
            try:
                return commit(manager)
            except TransientError:
                with self._lock:
                    # The machinery's managers are explicit, a task's is not.
                    if manager.explicit:
                        self.machinery += 1
                    else:
                        self.tasks += 1
                raise

        transaction.TransactionManager.commit = counting
        return self

    def __exit__(self, *error):
        transaction.TransactionManager.commit = self._before


def produce(client, count):
    """Add jobs, one in a commit."""
    for _ in range(count):
        client.do(lambda service: service.add('noop', None))


class Opened:
    """The part of a Place that Client needs."""

    def __init__(self, uri):
        self.database = databases.open_uri(uri, make=False)
        self.stop = Stop()


def main(role, uri, name, count='0'):
    task.scan(tasks)
    place = Opened(uri)
    path = [NAME, name]
    repeated = 0
    with closing(place.database), Conflicts() as conflicts:
        if role == 'produce':
            with Client(place, path) as client:
                print('ready', flush=True)
                sys.stdin.readline()
                produce(client, int(count))
        else:
            processor = SimpleProcessor(place.database, path)
            thread = threading.Thread(target=processor, daemon=True)
            thread.running = True
            thread.start()
            print('ready', flush=True)
            sys.stdin.read()
            threads.tell_to_stop(thread)
            thread.join()
            repeated = processor.worker.sharedConflicts
        print(json.dumps({'machinery': conflicts.machinery,
                          'tasks': conflicts.tasks,
                          'repeated': repeated}), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
