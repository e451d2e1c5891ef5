"""The cost of add, claim and cancel on a long queue."""

import random
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import TaskService

_OPERATIONS = ('add', 'claim', 'cancel')


def backlog(bench: Bench) -> Figures:
    """Does the same on an empty queue and a full one, in turn."""
    place, sizes = bench.place, bench.sizes
    with ExitStack() as stack:
        sides = {name: _Side(place, name, stack)
                 for name in ('empty', 'full')}
        place.fill(sides['full'].path, sizes.backlog)
        for side in sides.values():
            # The first round fills caches, and counts for nothing.
            side.round(sizes.chunk)
            side.forget()
        for _ in range(sizes.rounds):
            for side in sides.values():
                side.round(sizes.chunk)
    figures: Figures = {'queued': sizes.backlog}
    for name in _OPERATIONS:
        for kind, side in sides.items():
            figures |= {
                f'{name}_{kind}_ms': side.seconds(name) * 1000,
                f'{name}_{kind}_cpu_us': side.cpu_seconds(name) * 1e6}
        figures[f'{name}_full_times_empty'] = (
            sides['full'].seconds(name) / sides['empty'].seconds(name))
    return figures


class _Side:
    """One queue, and the times of the operations on it."""

    def __init__(self, place: Place, name: str, stack: ExitStack) -> None:
        self.path = place.service(f'backlog-{name}')
        self._client = stack.enter_context(Client(place, self.path))
        self._processor = SimpleProcessor(place.database, self.path)
        self.forget()

    def forget(self) -> None:
        """Forget all times."""
        # Of each operation the median of each round: one that had to wait
        # for the disk's own work, or split a bucket, is no typical one.
        self._seconds: dict[str, list[float]] = {
            name: [] for name in _OPERATIONS}
        self._cpu_seconds: dict[str, list[float]] = {
            name: [] for name in _OPERATIONS}

    def round(self, count: int) -> None:
        """Add, claim and cancel; the queue is as long afterwards."""
        watches: dict[str, list[Stopwatch]] = {
            name: [] for name in _OPERATIONS}

        def timed(name: str, function: Callable[[], Any]) -> Any:
            with Stopwatch() as watch:
                result = function()
            watches[name].append(watch)
            return result

        ids = [timed('add', lambda: self._client.do(
            lambda service: service.add('noop', None)))
            for _ in range(count * 2)]
        for _ in range(count):
            jobid = timed('claim', self._processor.claimNextJob)
            self._processor.processNext(jobid)
        # Claims took the oldest; these are still queued.
        rest = ids[count:]
        random.shuffle(rest)
        for jobid in rest:
            timed('cancel', partial(self._client.do, partial(
                _cancel, jobid=jobid)))
        for name, found in watches.items():
            self._seconds[name].append(statistics.median(
                watch.seconds for watch in found))
            self._cpu_seconds[name].append(statistics.median(
                watch.cpu_seconds for watch in found))

    def seconds(self, name: str) -> float:
        """How long an operation takes."""
        return statistics.median(self._seconds[name])

    def cpu_seconds(self, name: str) -> float:
        """The CPU that an operation takes."""
        return statistics.median(self._cpu_seconds[name])


def _cancel(service: TaskService, jobid: int) -> None:
    service.cancel(jobid)
