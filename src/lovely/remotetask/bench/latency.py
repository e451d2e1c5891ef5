"""How long after add()'s commit a job is started."""

import os
import random
import tempfile
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.pace import percentile
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.processing import Process
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.sizes import Bench

#: A worker is idle for so long (seconds, at least and at most) before the next
#: job comes: never in step with anything that looks regularly.
SHORTEST, LONGEST = 0.01, 0.03

#: What a start takes; a look before it would only be in its way (seconds).
FIRST_LOOK = 0.005


def latency(bench: Bench) -> Figures:
    """All workers idle."""
    place, count = bench.place, bench.sizes.samples
    path = place.service('latency')
    with loops(place, path):
        figures = _figures('same_process_', _delays(place, path, count))
    if place.shared:
        path = place.service('latency-process')
        with Process(place, path):
            figures |= _figures('other_process_',
                                _delays(place, path, count))
    return figures


def busy(bench: Bench) -> Figures:
    """One of two workers is busy: it owns half of the lanes.

    Loops of this process where no other can have the database.
    """
    place, count = bench.place, max(2, bench.sizes.samples // 2)
    path = place.service('busy')
    with tempfile.TemporaryDirectory() as directory, ExitStack() as workers:
        done = os.path.join(directory, 'done')
        # Whatever happens: the one that is busy has to come to its end.
        workers.callback(lambda: open(done, 'w').close())
        if place.shared:
            for _ in range(2):
                workers.enter_context(Process(place, path))
        else:
            workers.enter_context(loops(place, path, 2))
        workers.callback(lambda: open(done, 'w').close())
        jobid = place.do(path, lambda service: service.add('hold', done))
        until(lambda: place.see(path, lambda service: (
            len(service.listWorkers()) == 2
            and service.getStatus(jobid) == 'processing')),
            'two workers, one of them busy')
        return _figures('', _delays(place, path, count))


def _delays(place: Place, path: list[str], count: int) -> list[float]:
    """From the commit to the start of a task (ms), one job at a time."""
    pause = threading.Event()
    delays = []
    with Client(place, path) as client:
        # The first one is for everything that happens once.
        for _ in range(count + 1):
            pause.wait(random.uniform(SHORTEST, LONGEST))
            jobid = client.do(lambda service: service.add('moment', None))
            committed = time.monotonic()
            pause.wait(FIRST_LOOK)
            until(partial(client.see, partial(_is_completed, jobid=jobid)),
                  'a job for an idle worker')
            started = client.see(partial(_result, jobid=jobid))
            # It may have been started before commit() returned.
            delays.append(max(0.0, started - committed) * 1000)
    return delays[1:]


def _is_completed(service: Any, jobid: int) -> bool:
    done: bool = service.getStatus(jobid) == 'completed'
    return done


def _result(service: Any, jobid: int) -> float:
    started: float = service.getResult(jobid)
    return started


def _figures(prefix: str, delays: list[float]) -> Figures:
    return {f'{prefix}p50_ms': percentile(delays, 0.5),
            f'{prefix}p99_ms': percentile(delays, 0.99)}
