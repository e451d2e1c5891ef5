"""Rates beside the raw storage's, in turn, so that a busy machine is busy for
both."""

import math
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from lovely.remotetask.bench.place import Client

#: What a measure found: a figure's name -> the number, or None.
Figures = dict[str, float | None]


@dataclass
class Side:
    """Something to be timed.

    Arguments: ``run``, gives operations per second; ``prepare``, what goes
    before it untimed.
    """

    run: Callable[[], float]
    prepare: Callable[[], None] = lambda: None


@dataclass
class Pace:
    """Operations per second, and their ratios to the raw commits around."""

    rates: dict[str, list[float]]
    ratios: dict[str, list[float]]
    raw: list[float]

    def rate(self, name: str) -> float:
        return statistics.median(self.rates[name])

    def of_raw(self, name: str) -> float:
        return statistics.median(self.ratios[name])

    def times(self, name: str, other: str) -> float:
        """How many times as fast as another one, round by round."""
        return statistics.median(
            one / two for one, two in zip(
                self.rates[name], self.rates[other], strict=True))

    @property
    def raw_rate(self) -> float:
        return statistics.median(self.raw)


def against_raw(client: Client, rounds: int, commits: int,
                sides: Mapping[str, Side]) -> Pace:
    """Time each side between two measurements of the raw storage.

    Arguments: ``commits``: how many a measurement of the raw storage makes.
    """
    def raw() -> float:
        return per_second(client.raw, commits)

    pace = Pace({name: [] for name in sides}, {name: [] for name in sides},
                [])
    raw()   # whatever is done for the first time
    for _ in range(rounds):
        for name, side in sides.items():
            side.prepare()
            before = raw()
            rate = side.run()
            after = raw()
            pace.raw += [before, after]
            pace.rates[name].append(rate)
            pace.ratios[name].append(rate * 2 / (before + after))
    return pace


def per_second(function: Callable[[], object], count: int) -> float:
    """Call a function so many times; how often a second that is."""
    begun = time.perf_counter()
    for _ in range(count):
        function()
    return count / (time.perf_counter() - begun)


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part (0 to 1) of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
