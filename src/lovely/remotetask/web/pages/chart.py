"""Numbers over time as SVG: made by the server, read without a script.

A chart is a picture with a text for screen readers, and a table of the same
numbers stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lovely.remotetask.web.pages import words

_WIDTH, _HEIGHT = 560, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 6, 8, 20


def bars(series: Sequence[Sequence[float]], labels: Sequence[str]
         ) -> dict[str, Any]:
    """Stacked bars.

    Arguments: ``series``, for each kind its numbers, the oldest first;
    ``labels``, what stands below the first, middle and last bar.
    Returns: what the template draws.
    """
    slots = len(series[0])
    top = _nice(max((sum(one[place] for one in series)
                     for place in range(slots)), default=0))
    width = (_WIDTH - _LEFT - _RIGHT) / max(slots, 1)
    shapes = []
    for place in range(slots):
        below = 0.0
        for kind, one in enumerate(series):
            height = _scaled(one[place], top)
            if height:
                shapes.append({
                    'x': f'{_LEFT + place * width:.1f}',
                    'y': f'{_HEIGHT - _BOTTOM - below - height:.1f}',
                    'width': f'{max(width - 1, 0.5):.1f}',
                    'height': f'{height:.1f}', 'kind': f's{kind}'})
            below += height
    return {'bars': shapes, 'lines': [],
            **_frame(top, labels, lambda value: words.number(round(value, 1)))}


def lines(series: Sequence[Sequence[float | None]], labels: Sequence[str]
          ) -> dict[str, Any]:
    """Lines of seconds; None: there is no number then."""
    known = [value for one in series for value in one if value is not None]
    top = _nice(max(known, default=0))
    slots = max((len(one) for one in series), default=1)
    step = (_WIDTH - _LEFT - _RIGHT) / max(slots - 1, 1)
    found = []
    for kind, one in enumerate(series):
        pieces, is_new = [], True
        for place, value in enumerate(one):
            if value is None:
                is_new = True
                continue
            pieces.append(f'{"M" if is_new else "L"}'
                          f'{_LEFT + place * step:.1f} '
                          f'{_HEIGHT - _BOTTOM - _scaled(value, top):.1f}')
            # A number between two gaps would be a line of no length.
            if is_new:
                pieces.append('h0.1')
            is_new = False
        found.append({'d': ' '.join(pieces), 'kind': f'l{kind}'})
    return {'bars': [], 'lines': found,
            **_frame(top, labels, words.duration)}


def _frame(top: float, labels: Sequence[str], text: Any) -> dict[str, Any]:
    bottom = _HEIGHT - _BOTTOM
    return {
        'box': f'0 0 {_WIDTH} {_HEIGHT}',
        'grid': [{'y': f'{bottom - _scaled(value, top):.1f}',
                  'text': text(value), 'left': _LEFT,
                  'right': _WIDTH - _RIGHT, 'at': _LEFT - 6}
                 for value in ((0, top / 2, top) if top else (0,))],
        'labels': [{
            'x': f'{_LEFT + place * (_WIDTH - _LEFT - _RIGHT) / 2:.0f}',
            'y': _HEIGHT - 2, 'text': label,
            'anchor': ('start', 'middle', 'end')[place]}
            for place, label in enumerate(labels)]}


def _scaled(value: float, top: float) -> float:
    return value / top * (_HEIGHT - _TOP - _BOTTOM) if top else 0.0


def _nice(value: float) -> float:
    """The end of an axis: 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 0
    power = 10.0 ** len(str(int(value))) / 10 if value >= 1 else 0.001
    while True:
        for times in (1, 2, 5):
            if power * times >= value:
                return power * times
        power *= 10
