"""A report as a table for people."""

import re
import textwrap
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

# The end of a figure's name that leads to the CPU of the same operation.
_MEASURED = re.compile(r'(per_second|of_raw|times_\w+|ms)$')

_CPU = 'cpu_us'


def table(report: Mapping[str, Any]) -> str:
    """The machine, and a line for each figure with the CPU beside it."""
    heading = textwrap.wrap(
        f'{report["storage"]}, {report["started"][:10]}: ' + ', '.join(
            f'{name} {value}' for name, value in report['machine'].items()),
        79)
    lines = [('measure', 'measured', 'CPU us'), *_rows(report)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join([*heading, '', *(
        f'{name:{widths[0]}}  {value:>{widths[1]}}  {cpu:>{widths[2]}}'
        .rstrip() for name, value, cpu in lines)]) + '\n'


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, figures in report['measures'].items():
        for figure, value in figures.items():
            if figure.endswith(_CPU):
                continue
            operation, found = _MEASURED.subn(_CPU, figure)
            cpu = figures.get(operation) if found else None
            yield (f'{name}: {figure.replace("_", " ")}',
                   'n/a' if value is None else number(value),
                   '' if cpu is None else number(cpu))


def number(value: float) -> str:
    """Three digits that matter, and no exponent."""
    if value == int(value) or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.3g}'
