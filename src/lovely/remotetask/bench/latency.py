"""How long after the commit of ``add()`` a job is started."""

import random
import threading
import time
from functools import partial

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.pace import percentile
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.processing import Process
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.service import TaskService

# A worker is idle for so long (seconds, at least and at most) before the next
# job comes: never in step with a worker that looks regularly.
_SHORTEST, _LONGEST = 0.01, 0.03

# How long a start takes (seconds); a look before that would slow it down.
_FIRST_LOOK = 0.005


def latency(bench: Bench) -> Figures:
    """Adds jobs to idle workers, in this process and in another one."""
    place, count = bench.place, bench.sizes.samples
    path = place.service('latency')
    with loops(place, path):
        figures = percentiles('same_process_', delays(place, path, count))
    if place.shared:
        path = place.service('latency-process')
        with Process(place, path):
            figures |= percentiles('other_process_',
                                   delays(place, path, count))
    return figures


def delays(place: Place, path: list[str], count: int) -> list[float]:
    """From the commit to the start of a task (ms), one job at a time."""
    pause = threading.Event()
    found = []
    with Client(place, path) as client:
        # The first job fills caches, and counts for nothing.
        for _ in range(count + 1):
            pause.wait(random.uniform(_SHORTEST, _LONGEST))
            jobid = client.do(lambda service: service.add('moment', None))
            committed = time.monotonic()
            pause.wait(_FIRST_LOOK)
            until(partial(client.see, partial(_is_completed, jobid=jobid)),
                  'a job for an idle worker')
            started = client.see(partial(_result, jobid=jobid))
            # It may have been started before commit() returned.
            found.append(max(0.0, started - committed) * 1000)
    return found[1:]


def percentiles(prefix: str, delays: list[float]) -> Figures:
    """The figures of these delays."""
    return {f'{prefix}p50_ms': percentile(delays, 0.5),
            f'{prefix}p99_ms': percentile(delays, 0.99)}


def _is_completed(service: TaskService, jobid: int) -> bool:
    return service.getStatus(jobid) == 'completed'


def _result(service: TaskService, jobid: int) -> float:
    started: float = service.getResult(jobid)
    return started
