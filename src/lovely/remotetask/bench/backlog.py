"""What a long queue makes of add, claim and cancel."""

import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.processor import SimpleProcessor

OPERATIONS = ('add', 'claim', 'cancel')


def backlog(bench: Bench) -> Figures:
    """The same operations on a full queue and an empty one, in turn."""
    place, sizes = bench.place, bench.sizes
    with ExitStack() as stack:
        sides = {name: _Side(place, name, stack)
                 for name in ('empty', 'full')}
        place.fill(sides['full'].path, sizes.backlog)
        for side in sides.values():
            side.round(sizes.chunk)
            for times in side.times.values():
                times.clear()
        for _ in range(sizes.rounds):
            for side in sides.values():
                side.round(sizes.chunk)
    figures: Figures = {'queued': sizes.backlog}
    for name in OPERATIONS:
        empty, full = (statistics.median(sides[side].times[name])
                       for side in ('empty', 'full'))
        figures |= {f'{name}_empty_ms': empty * 1000,
                    f'{name}_full_ms': full * 1000,
                    f'{name}_full_times_empty': full / empty}
    return figures


class _Side:
    """One queue; ``times``: operation -> seconds, one for each round."""

    def __init__(self, place: Place, name: str, stack: ExitStack) -> None:
        self.path = place.service(f'backlog-{name}')
        self.times: dict[str, list[float]] = {
            name: [] for name in OPERATIONS}
        self._spent: dict[str, list[float]] = {
            name: [] for name in OPERATIONS}
        self._client = stack.enter_context(Client(place, self.path))
        self._processor = SimpleProcessor(place.database, self.path)

    def round(self, count: int) -> None:
        """Leaves the queue as long as it was."""
        ids = [self._timed('add', lambda: self._client.do(
            lambda service: service.add('noop', None)))
            for _ in range(count * 2)]
        for _ in range(count):
            jobid = self._timed('claim', self._processor.claimNextJob)
            self._processor.processNext(jobid)
        # Those behind: a claim takes them last.
        some = ids[count:]
        random.shuffle(some)
        for jobid in some:
            self._timed('cancel', partial(self._client.do, partial(
                _cancel, jobid=jobid)))
        for name, spent in self._spent.items():
            self.times[name].append(statistics.median(spent))
            spent.clear()

    def _timed(self, name: str, function: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = function()
        self._spent[name].append(time.perf_counter() - begun)
        return result


def _cancel(service: Any, jobid: int) -> None:
    service.cancel(jobid)
