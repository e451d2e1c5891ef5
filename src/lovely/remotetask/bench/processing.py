"""Workers for the benchmark: threads of this process, and processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lovely.remotetask.bench.place import Place
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import threads

# On a machine that works nothing here takes so long (seconds).
_DEADLINE = 300.0

_TASKS = 'lovely.remotetask.bench.tasks'


@contextmanager
def loops(place: Place, path: list[str], count: int = 1) -> Iterator[None]:
    """Run so many workers in threads of this process within the block."""
    started: list[Any] = []
    try:
        for _ in range(count):
            thread: Any = threading.Thread(
                target=SimpleProcessor(place.database, path), daemon=True,
                name=f'bench-{path[-1]}')
            thread.running = True
            thread.start()
            started.append(thread)
        yield
    finally:
        for thread in started:
            threads.tell_to_stop(thread)
        for thread in started:
            thread.join(_DEADLINE)


class Process:
    """A ``remotetask worker`` with one thread, ready to work.

    Arguments: ``options``, more of them.
    Attributes: ``pid``.
    Raises: Failure that says why it ended instead.
    """

    def __init__(self, place: Place, path: list[str],
                 *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.cli', 'worker',
             '--db', place.uri, '--service', '/'.join(path),
             '--tasks', _TASKS, '--threads', '1', '--grace', '1', *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # Ctrl-C reaches the benchmark alone, which ends the worker.
            start_new_session=True)
        assert self._process.stdout is not None
        self.pid = self._process.pid
        if not self._process.stdout.readline():
            raise Failure('a worker process did not start: '
                          + one_line(self._process.communicate()[1]))

    def __enter__(self) -> 'Process':
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def until(condition: Callable[[], Any], name: str,
          pause_seconds: float = 0.001, seconds: float = _DEADLINE) -> Any:
    """Wait for a condition to give something true, and return that.

    Arguments: ``name``, of the event, for the error.
    Raises: Failure after so many seconds.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Failure(f'{name}: still not after {seconds:.0f} s',
                          'look for errors above')
        pause.wait(pause_seconds)
    return found
