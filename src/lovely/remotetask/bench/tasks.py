"""The tasks of the benchmark; worker processes get them by ``--tasks``."""

import os
import threading
import time

from lovely.remotetask.task import task

#: Longest time (seconds) that ``hold`` holds up its thread.
HOLD_SECONDS = 60.0


class Runs:
    """Counts the runs of this process, and says when there were enough.

    A run that a conflict repeats counts again: whoever waits looks at the
    database as well.
    """

    def __init__(self) -> None:
        self.enough = threading.Event()
        self._left = 0

    def expect(self, count: int) -> None:
        self.enough.clear()
        self._left = count

    def tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.enough.set()


RUNS = Runs()


@task
def noop(input: object) -> None:
    RUNS.tick()


@task(groupable=True)
def grouped(input: object) -> None:
    RUNS.tick()


@task
def moment(input: object) -> float:
    """When it was started; all processes of a machine share this clock."""
    return time.monotonic()


@task
def hold(input: str) -> None:
    """Be busy until there is a file of this name."""
    ends = time.monotonic() + HOLD_SECONDS
    pause = threading.Event()
    while not os.path.exists(input) and time.monotonic() < ends:
        pause.wait(0.02)
