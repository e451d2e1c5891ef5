"""Workers and producers that count their conflicts, for ``conflicts``.

    python -m lovely.remotetask.bench.peers work URI NAME
    python -m lovely.remotetask.bench.peers produce URI NAME COUNT

Each prints ``ready``, does its work after a line of standard input, and
prints its conflicts when that is done; workers end with standard input.
"""

import sys
import threading
from contextlib import closing
from typing import Any

import transaction
from transaction.interfaces import TransientError

from lovely.remotetask import task
from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.place import NAME
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.cli import databases


class Conflicts:
    """Counts the commits of this process that conflict."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> 'Conflicts':
        self._before = commit = transaction.TransactionManager.commit

        def counting(manager: Any) -> Any:
            try:
                return commit(manager)
            except TransientError:
                with self._lock:
                    self.count += 1
                raise

        transaction.TransactionManager.commit = counting
        return self

    def __exit__(self, *error: object) -> None:
        transaction.TransactionManager.commit = self._before


def produce(client: Client, count: int) -> int:
    """Add jobs, one in a commit.  Returns: the number of conflicts."""
    for _ in range(count):
        client.do(lambda service: service.add('noop', None))
    return client.conflicts


class _Opened:
    """What Client and loops need of a Place."""

    def __init__(self, uri: str) -> None:
        self.database = databases.open_uri(uri, make=False)


def main(role: str, uri: str, name: str, count: str = '0') -> None:
    task.scan(tasks)
    place: Any = _Opened(uri)
    path = [NAME, name]
    with closing(place.database), Conflicts() as conflicts:
        if role == 'produce':
            with Client(place, path) as client:
                print('ready', flush=True)
                sys.stdin.readline()
                print(produce(client, int(count)), flush=True)
        else:
            with loops(place, path):
                print('ready', flush=True)
                sys.stdin.read()
            print(conflicts.count, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
