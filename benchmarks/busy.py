"""How soon a job starts while one of two workers is busy."""

import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from lovely.remotetask import task
from lovely.remotetask.bench.latency import delays
from lovely.remotetask.bench.latency import percentiles
from lovely.remotetask.bench.processing import Process
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until

#: ``hold`` holds up its thread so long at most (seconds).
HOLD_SECONDS = 60.0


@task.task
def hold(input):
    """Be busy until a file of this name exists."""
    ends = time.monotonic() + HOLD_SECONDS
    pause = threading.Event()
    while not os.path.exists(input) and time.monotonic() < ends:
        pause.wait(0.02)


def busy(bench):
    """One of two workers is busy, and owns half of the lanes.

    The workers are threads where no other process can have the database.
    """
    task.scan(sys.modules[__name__])
    place, count = bench.place, max(2, bench.sizes.samples // 2)
    path = place.service('busy')
    with tempfile.TemporaryDirectory() as directory, ExitStack() as workers:
        done = Path(directory, 'done')
        if place.shared:
            # The workers find this module there.
            os.environ['PYTHONPATH'] = os.path.dirname(__file__)
            for _ in range(2):
                workers.enter_context(Process(
                    place, path, '--tasks', __name__))
        else:
            workers.enter_context(loops(place, path, 2))
        # Called before the workers are told to end.
        workers.callback(done.touch)
        jobid = place.do(path, lambda service: service.add(
            'hold', str(done)))
        until(lambda: place.see(path, lambda service: (
            len(service.listWorkers()) == 2
            and service.getStatus(jobid) == 'processing')),
            'two workers, one of them busy')
        return percentiles('', delays(place, path, count))
