"""The charts of the overview: what has ended lately, and how long it took."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask.web.pages import chart
from lovely.remotetask.web.pages import words

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


class Span(NamedTuple):
    """How far back a chart looks.

    Attributes: ``title``; ``slots``, its bars; ``seconds``, of a bar;
    ``labels``, below the first, middle and last one.  They tell no time of
    day: that would need the zone of the reader.
    """

    title: str
    slots: int
    seconds: int
    labels: tuple[str, str, str]


#: hours -> span.
SPANS = {
    1: Span('last hour, per minute', 60, 60, ('-60 min', '-30 min', 'now')),
    24: Span('last day, per half hour', 48, 1800, ('-24 h', '-12 h', 'now')),
    168: Span('last week, per two hours', 84, 7200, ('-7 d', '-3.5 d',
                                                     'now')),
}


def charts(service: TaskService, hours: int) -> dict[str, Any]:
    """What the template draws, and the same as rows of a table."""
    span = SPANS[hours]
    now = service.clock.now()
    found = _slots(service.history(hours), span, now)
    done = [one['done'] for one in found]
    failed = [one['failed'] for one in found]
    median = [one['p50'] for one in found]
    most = [one['p95'] for one in found]
    waits = [one['wait'] for one in found]
    return {
        'title': span.title,
        'ended': chart.bars([done, failed], span.labels),
        'times': chart.lines([median, most, waits], span.labels),
        'ended_text': (f'{words.count(sum(done), "job", "jobs")} completed '
                       f'and {words.number(sum(failed))} failed in the '
                       f'{span.title.partition(",")[0]}.'),
        'times_text': _times_text(most),
        'rows': [{'start': words.moment(one['start']),
                  'done': words.number(one['done']),
                  'failed': words.number(one['failed']),
                  'p50': words.duration(one['p50']),
                  'p95': words.duration(one['p95']),
                  'wait': words.duration(one['wait'])}
                 for one in reversed(found) if one['done'] or one['failed']],
        'spans': [(one, label) for one, label in
                  ((1, '1 h'), (24, '24 h'), (168, '7 d'))],
        'hours': hours,
    }


def _times_text(most: list[float | None]) -> str:
    known = [value for value in most if value is not None]
    if not known:
        return 'No job has ended.'
    return (f'95 of 100 jobs took at most about '
            f'{words.duration(max(known))} at any time.')


def _slots(rows: list[dict[str, Any]], span: Span, now: float
           ) -> list[dict[str, Any]]:
    """The rows of a history, put together to one for each bar."""
    # Whole minutes, so that a bar does not change between two looks.
    end = (now // span.seconds + 1) * span.seconds
    first = end - span.slots * span.seconds
    parts: list[list[dict[str, Any]]] = [[] for _ in range(span.slots)]
    for row in rows:
        at = datetime.fromisoformat(row['start']).timestamp()
        place = int((at - first) // span.seconds)
        if 0 <= place < span.slots:
            parts[place].append(row)
    return [_sum(part, first + place * span.seconds)
            for place, part in enumerate(parts)]


def _sum(rows: list[dict[str, Any]], start: float) -> dict[str, Any]:
    ended = sum(row['done'] + row['failed'] for row in rows)
    # Percentiles cannot be added: of several minutes the median of the
    # busiest and the largest of the others is told, and all are estimates.
    busiest = max(rows, key=lambda row: row['done'] + row['failed'],
                  default=None)
    most = [row['p95Ms'] for row in rows if row['p95Ms'] is not None]
    median = None if busiest is None else busiest['p50Ms']
    return {
        'start': datetime.fromtimestamp(start, UTC).isoformat(),
        'done': sum(row['done'] for row in rows),
        'failed': sum(row['failed'] for row in rows),
        'p50': None if median is None else median / 1000,
        'p95': max(most) / 1000 if most else None,
        'wait': (sum(row['waitMs'] for row in rows) / ended / 1000
                 if ended else None),
    }
