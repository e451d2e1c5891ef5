"""What has to be reached, and the table that says whether it was."""

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FILE, ZEO, PG = 'FileStorage', 'ZEO', 'PostgreSQL'


@dataclass
class Target:
    """A limit for one figure.

    Arguments: ``figure``, MEASURE.FIGURE; ``limit``; ``least`` (bool): it is
    the least that will do, not the most; ``kinds``: of storages it holds for;
    empty: for all; ``stock``: it holds for so many jobs in the queue only.
    """

    figure: str
    limit: float
    least: bool = False
    kinds: tuple[str, ...] = ()
    stock: int = 0

    def __str__(self) -> str:
        return f'{">=" if self.least else "<="} {number(self.limit)}'

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


LARGE = 1_000_000

#: The targets of the issue that asked for the benchmark.
TARGETS = (
    Target('add.single_of_raw', 0.55, True, (FILE,)),
    Target('add.bulk_times_single', 10, True),
    Target('drain.of_raw', 0.55, True, (FILE,)),
    Target('drain.grouped_of_raw', 2.0, True, (FILE,)),
    Target('drain.grouped_times_ungrouped', 3, True),
    Target('life.commits', 2.1),
    Target('life.commits_idle_queue', 3.1),
    Target('life.commits_grouped', 1.15),
    Target('life.bytes', 2200),
    Target('life.bytes_grouped', 1200),
    Target('latency.same_process_p99_ms', 2, kinds=(FILE,)),
    Target('latency.other_process_p99_ms', 5, kinds=(ZEO,)),
    Target('latency.other_process_p99_ms', 10, kinds=(PG,)),
    Target('busy.p99_ms', 150),
    Target('idle.cpu_percent', 0.5),
    Target('idle.other_commits', 0),
    Target('memory.worker_mb', 150, stock=LARGE),
    Target('listing.page_warm_ms', 20, kinds=(FILE,), stock=LARGE),
    Target('listing.stats_warm_ms', 20, kinds=(FILE,), stock=LARGE),
    Target('listing.page_cold_ms', 100, kinds=(ZEO,), stock=LARGE),
    Target('listing.stats_cold_ms', 100, kinds=(ZEO,), stock=LARGE),
)


def judged(measures: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Each target that holds here, with what was measured.

    Arguments: ``measures``, name -> figure -> number; ``kind``, of storage.
    Returns: dicts of figure, target (str), value, ok (bool; None where the
    queue was shorter than the target asks for: that says nothing).
    """
    found = []
    for target in TARGETS:
        name, _, figure = target.figure.partition('.')
        figures = measures.get(name, {})
        value = figures.get(figure)
        if value is None or (
                target.kinds and kind not in target.kinds):
            continue
        easier = figures.get('queued', target.stock) < target.stock
        found.append({'figure': target.figure, 'target': str(target),
                      'value': value,
                      'ok': None if easier else target.reached(value)})
    return found


_VERDICTS = {True: 'ok', False: 'missed', None: 'asked with --large'}


def rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The table of a report: figure, number, target, verdict."""
    verdicts = {target['figure']: target for target in report['targets']}
    for name, figures in report['measures'].items():
        for figure, value in figures.items():
            full = f'{name}.{figure}'
            verdict = verdicts.get(full)
            yield (f'{name}: {figure.replace("_", " ")}',
                   'n/a' if value is None else number(value),
                   verdict['target'] if verdict else '',
                   _VERDICTS[verdict['ok']] if verdict else '')


def number(value: float) -> str:
    """Three digits that matter, and no exponent."""
    if value == int(value) or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.3g}'
