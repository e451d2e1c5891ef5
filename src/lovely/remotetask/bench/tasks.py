"""The tasks of the benchmark; worker processes get them by ``--tasks``."""

import threading
import time

from lovely.remotetask.task import task

#: The result of each job.  It is stored, as an application's results are.
RESULT = 'done'


class Runs:
    """Counts the runs of this process.

    A run that a conflict repeats counts again, so the database must be asked
    as well whether all jobs are done.
    Attributes: ``enough``, an event; ``left``, how many runs it waits for.
    """

    def __init__(self) -> None:
        self.enough = threading.Event()
        self.left = 0

    def expect(self, count: int) -> None:
        """Set ``enough`` after so many runs from now on."""
        self.enough.clear()
        self.left = count

    def tick(self) -> None:
        """Count a run."""
        self.left -= 1
        if self.left == 0:
            self.enough.set()


RUNS = Runs()


@task
def noop(input: object) -> str:
    """Give the result, and do nothing else."""
    RUNS.tick()
    return RESULT


@task(groupable=True)
def grouped(input: object) -> str:
    """The same, in a commit that it may share."""
    RUNS.tick()
    return RESULT


@task
def moment(input: object) -> float:
    """Give the time of the start; all processes of a machine share the clock.
    """
    return time.monotonic()
