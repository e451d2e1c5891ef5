"""What Prometheus scrapes: collected from the database at each scrape, so that
all processes of a service tell the same.

No label names a job or a worker: each new one would be a series for ever.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import UsageError
from lovely.remotetask.store import batch_views
from lovely.remotetask.store import figures
from lovely.remotetask.store.counts import schedule_lag
from lovely.remotetask.store.history import EDGES
from lovely.remotetask.store.history import OTHER
from lovely.remotetask.store.history import TASKS
from lovely.remotetask.store.history import Sums
from lovely.remotetask.store.history import add_to
from lovely.remotetask.store.history import total_of
from lovely.remotetask.web import kept
from lovely.remotetask.web import presenter
from lovely.remotetask.web import roster
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_STATUSES = ('queued', 'processing', 'scheduled', 'start later', 'completed',
             'error', 'cancelled')

#: How a run may end.
OUTCOMES = ('completed', 'error')

# The last one is that of all runs.
_BUCKETS = (*(str(edge / 1000) for edge in EDGES), '+Inf')


def serve(request: Request, part: str) -> Response:
    """Answer a scrape; ``?tasks=1``: run times by task.

    Raises: Refused without the extra [metrics].
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client import exposition
    except ImportError:
        raise Refused(
            404, 'metrics need prometheus-client: install '
                 'lovely.remotetask[metrics]') from None
    by_task = request.query.get('tasks', '0')
    if by_task not in ('0', '1'):
        raise UsageError(f'tasks has to be 0 or 1, not {by_task!r:.80}')
    found: Any = request.run(_look, False)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(request.base, found, by_task == '1'))
    encode, content_type = exposition.choose_encoder(
        request.headers.get('accept', ''))
    return Response(200, content_type, encode(registry),
                    {'Cache-Control': 'no-store',
                     'X-Content-Type-Options': 'nosniff'})


# Of how many queues figures are told: each is a series of its own.
_MOST_QUEUES = 100


def _look(service: TaskService) -> dict[str, Any]:
    stats, told = presenter.stats(service), kept.of(service)
    for outcome in OUTCOMES:
        # A counter that fell would be read as one that has begun anew.
        name = f'{outcome}Total'
        stats[name] = told[name] = max(stats[name], told.get(name, 0))
    queue = service.jobqueue
    return {'stats': stats,
            'lag': schedule_lag(queue, service.clock.now()),
            'groups': batch_views.count_open(queue),
            'queues': service.listQueues()[:_MOST_QUEUES],
            'barred': len(queue.barred),
            'ever': _never_less(told.setdefault('ever', {}),
                                figures.ever(queue)),
            'workers': roster.workers(service)['workers'],
            'storage': _storage(service)}


def _never_less(told: dict[str, Sums], found: dict[str, Sums]
                ) -> dict[str, Sums]:
    """The sums of each task, and none less than those that were told before.

    They may be: what a killed worker had not stored yet is gone, and what is
    not stored yet may have been estimated.
    """
    named: dict[str, Sums] = {}
    for name, sums in found.items():
        known = name in told or len(told.keys() | named) < TASKS - 1
        add_to(named, name if known else OTHER, sums)
    for name, sums in named.items():
        before = told.get(name, Sums())
        told[name] = Sums(
            max(sums.done, before.done), max(sums.failed, before.failed),
            max(sums.run, before.run), max(sums.wait, before.wait),
            max(sums.longest, before.longest),
            tuple(map(max, sums.bins, before.bins)))
    return dict(told)


def _storage(service: TaskService) -> str:
    jar: Any = getattr(service, '_p_jar', None)
    return '' if jar is None else type(jar.db().storage).__name__


class _Figures:
    """See prometheus_client.registry.Collector."""

    def __init__(self, service: str, found: dict[str, Any], by_task: bool
                 ) -> None:
        self._service = service
        self._found = found
        self._by_task = by_task

    def collect(self) -> Iterator[Any]:
        """All families, with the service as their first label."""
        from prometheus_client import core

        stats = self._found['stats']
        yield self._gauge(
            'remotetask_jobs', 'Jobs by where they are.', 'status',
            {status: stats[status] for status in _STATUSES})
        ended = core.CounterMetricFamily(
            'remotetask_jobs_ended', 'Runs that have come to their end.',
            labels=('service', 'outcome'))
        for outcome in OUTCOMES:
            ended.add_metric((self._service, outcome),
                             stats[f'{outcome}Total'])
        yield ended
        yield from self._times(core)
        yield self._gauge(
            'remotetask_oldest_queued_seconds', 'How long the oldest job has '
            'waited that could run.', value=stats['oldest'] or 0)
        yield self._gauge(
            'remotetask_schedule_lag_seconds', 'For how long a run is due '
            'that no worker has made ready.', value=self._found['lag'])
        yield self._gauge(
            'remotetask_groups_open', 'Groups of jobs that are not over, '
            'stuck ones among them.', value=self._found['groups'])
        yield from self._workers()
        yield self._gauge(
            'remotetask_queue_ready', 'Jobs that wait for a thread.', 'queue',
            {one['name']: one['ready'] for one in self._found['queues']})
        yield self._gauge(
            'remotetask_queue_paused', '1 while workers start no job of this '
            'queue.', 'queue', {one['name']: int(one['paused'])
                                for one in self._found['queues']})
        yield self._gauge(
            'remotetask_jobs_barred', 'Jobs that a limit or a rate keeps '
            'back.', value=self._found['barred'])
        yield self._gauge('remotetask_paused', '1 while workers start no '
                          'job.', value=int(stats['paused']))
        info = core.GaugeMetricFamily(
            'remotetask_info', 'Always 1.',
            labels=('service', 'version', 'storage'))
        info.add_metric(
            (self._service,
             importlib.metadata.version('lovely.remotetask'),
             self._found['storage']), 1)
        yield info

    def _times(self, core: Any) -> Iterator[Any]:
        """How long runs took and waited; those of workers."""
        ever = self._found['ever']
        whole = total_of(ever.values())
        runs = core.HistogramMetricFamily(
            'remotetask_job_run_seconds', 'How long runs took.',
            labels=('service', *(('task',) if self._by_task else ())))
        for names, sums in (
                [((name,), ever[name]) for name in sorted(ever)]
                if self._by_task else [((), whole)]):
            count, buckets = 0, []
            for edge, inside in zip(_BUCKETS, sums.bins, strict=True):
                count += inside
                buckets.append((edge, count))
            runs.add_metric((self._service, *names), buckets, sums.run / 1000)
        yield runs
        waits = core.SummaryMetricFamily(
            'remotetask_job_wait_seconds', 'How long jobs waited that could '
            'run.', labels=('service',))
        waits.add_metric((self._service,), sum(whole.bins), whole.wait / 1000)
        yield waits

    def _workers(self) -> Iterator[Any]:
        """Workers and their threads, by whether they live."""
        counts = {name: {'live': 0, 'stale': 0} for name in (
            'workers', 'threads', 'busy')}
        for one in self._found['workers']:
            state = 'live' if one['live'] else 'stale'
            counts['workers'][state] += 1
            counts['threads'][state] += len(one['slots'])
            counts['busy'][state] += len(one['jobs'])
        for name, text, key in (
                ('remotetask_workers', 'Workers.', 'workers'),
                ('remotetask_worker_threads', 'Threads of all workers.',
                 'threads'),
                ('remotetask_worker_threads_busy', 'Threads that run a job.',
                 'busy')):
            yield self._gauge(name, text, 'state', counts[key])

    def _gauge(self, name: str, text: str, label: str | None = None,
               values: Mapping[str, float] | None = None, value: float = 0
               ) -> Any:
        """A gauge: one value, or one for each value of a label."""
        from prometheus_client import core

        family = core.GaugeMetricFamily(
            name, text, labels=('service', *((label,) if label else ())))
        for one, number in (values or {}).items():
            family.add_metric((self._service, one), number)
        if values is None:
            family.add_metric((self._service,), value)
        return family
