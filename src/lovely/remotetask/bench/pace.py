"""Rates and CPU, each beside those of raw commits.

Both are measured in turn, so that a busy machine is busy for both.
"""

import math
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from lovely.remotetask.bench.place import Client

#: The figures of a measure: name -> number, or None where the storage or the
#: system does not tell.  ``X_cpu_us`` is the CPU of one operation
#: (microseconds); the table prints it beside the rate, the ratio and the time
#: of the same X.
Figures = dict[str, float | None]


@dataclass(frozen=True)
class Speed:
    """How fast some operations were.

    Attributes: ``per_second``; ``cpu_us``: the CPU (microseconds) that all
    threads of this process used for one operation.
    """

    per_second: float
    cpu_us: float


class Stopwatch:
    """Adds up the time and the CPU of the blocks that it is entered for.

    Attributes: ``seconds``, ``cpu_seconds``.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> 'Stopwatch':
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.cpu_seconds += time.process_time() - self._cpu
        self.seconds += time.perf_counter() - self._wall

    def speed(self, count: int) -> Speed:
        """The speed, if the blocks did so many operations together."""
        return Speed(count / self.seconds, self.cpu_seconds / count * 1e6)


@dataclass
class Side:
    """An operation to be timed.

    Arguments: ``run`` does it many times, and returns the speed; ``prepare``
    is called before, and is not timed.
    """

    run: Callable[[], Speed]
    prepare: Callable[[], None] = lambda: None


@dataclass
class Pace:
    """The speed of each side in each round, and of the raw commits around.

    Attributes: ``ratios``, name -> the side's rates divided by those of the
    raw commits before and after it.
    """

    speeds: dict[str, list[Speed]]
    ratios: dict[str, list[float]]
    raw: list[Speed]

    def rate(self, name: str) -> float:
        """Operations a second."""
        return statistics.median(
            speed.per_second for speed in self.speeds[name])

    def cpu_us(self, name: str) -> float:
        """The CPU (microseconds) of one operation."""
        return statistics.median(speed.cpu_us for speed in self.speeds[name])

    def of_raw(self, name: str) -> float:
        """The rate, divided by that of the raw commits."""
        return statistics.median(self.ratios[name])

    def times(self, name: str, other: str) -> float:
        """How many times as fast as another side, round by round."""
        return statistics.median(
            one.per_second / two.per_second for one, two in zip(
                self.speeds[name], self.speeds[other], strict=True))

    def raw_figures(self) -> Figures:
        """The rate and the CPU of the raw commits, for a report."""
        return {
            'raw_per_second': statistics.median(
                speed.per_second for speed in self.raw),
            'raw_cpu_us': statistics.median(
                speed.cpu_us for speed in self.raw)}


def against_raw(client: Client, rounds: int, commits: int,
                sides: Mapping[str, Side]) -> Pace:
    """Time each side between two measurements of the raw storage.

    Arguments: ``commits``: how many a measurement of the raw storage makes.
    """
    def raw() -> Speed:
        return speed(client.raw, commits)

    pace = Pace({name: [] for name in sides}, {name: [] for name in sides},
                [])
    # The first commits fill caches, and count for nothing.
    raw()
    for _ in range(rounds):
        for name, side in sides.items():
            side.prepare()
            before = raw()
            found = side.run()
            after = raw()
            pace.raw += [before, after]
            pace.speeds[name].append(found)
            pace.ratios[name].append(found.per_second * 2 / (
                before.per_second + after.per_second))
    return pace


def speed(function: Callable[[], object], count: int) -> Speed:
    """Call a function so many times; how fast that was."""
    with Stopwatch() as watch:
        for _ in range(count):
            function()
    return watch.speed(count)


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part (0 to 1) of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
