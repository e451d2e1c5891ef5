"""Workers for the benchmark: loops in this process, and processes."""

import os
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
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import threads
from lovely.remotetask.texts import one_line

#: Nothing here takes this long (seconds) on a machine that works.
DEADLINE = 300.0

_TASKS = 'lovely.remotetask.bench.tasks'


@contextmanager
def loops(place: Place, path: list[str], count: int = 1) -> Iterator[None]:
    """So many workers in threads of this process, meanwhile."""
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
            thread.join(DEADLINE)


class Process:
    """A ``remotetask worker`` with one thread, ready to work.

    Raises: Failure that says why it ended instead.
    """

    def __init__(self, place: Place, path: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.cli', 'worker',
             '--db', place.uri, '--service', '/'.join(path),
             '--tasks', _TASKS, '--threads', '1', '--grace', '1'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # Ctrl-C is for this process alone; it ends the worker.
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

    def cpu_seconds(self) -> float | None:
        """Its time on a CPU; None where the system does not tell."""
        # By thread and in nanoseconds; the sum of the process comes in
        # ticks of 10 ms, too coarse for an idle one.
        folder = f'/proc/{self.pid}/task'
        try:
            total = 0
            for name in os.listdir(folder):
                with open(f'{folder}/{name}/schedstat') as file:
                    total += int(file.read().split()[0])
            return total / 1e9
        except OSError:
            return None

    def memory_bytes(self) -> int | None:
        """Its resident memory at most so far; None as above."""
        try:
            with open(f'/proc/{self.pid}/status') as file:
                for line in file:
                    if line.startswith('VmHWM:'):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None


def until(condition: Callable[[], Any], what: str,
          pause_seconds: float = 0.001, seconds: float = DEADLINE) -> Any:
    """Wait for a condition; what it gave.

    Raises: Failure where it never came.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Failure(f'{what}: still not after {seconds:.0f} s',
                          'look for errors above')
        pause.wait(pause_seconds)
    return found
