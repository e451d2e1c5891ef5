"""What Prometheus scrapes: collected from the database at each scrape, so that
all processes of a service tell the same.

No label names a job or a worker: each new one would be a series for ever.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.web import kept
from lovely.remotetask.web import presenter
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_STATUSES = ('queued', 'processing', 'scheduled', 'start later', 'completed',
             'error', 'cancelled')

#: How a run may end.
OUTCOMES = ('completed', 'error')


def serve(request: Request, part: str) -> Response:
    """Answer a scrape.  Raises: Refused without the extra [metrics]."""
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client import exposition
    except ImportError:
        raise Refused(
            404, 'metrics need prometheus-client: install '
                 'lovely.remotetask[metrics]') from None
    found: Any = request.run(_look, False)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(request.base, found))
    encode, content_type = exposition.choose_encoder(
        request.headers.get('accept', ''))
    return Response(200, content_type, encode(registry),
                    {'Cache-Control': 'no-store',
                     'X-Content-Type-Options': 'nosniff'})


def _look(service: TaskService) -> dict[str, Any]:
    stats, told = presenter.stats(service), kept.of(service)
    for outcome in OUTCOMES:
        # A counter that fell would be read as one that has begun anew.
        name = f'{outcome}Total'
        stats[name] = told[name] = max(stats[name], told.get(name, 0))
    return {'stats': stats,
            'workers': presenter.workers(service)['workers'],
            'storage': _storage(service)}


def _storage(service: TaskService) -> str:
    jar: Any = getattr(service, '_p_jar', None)
    return '' if jar is None else type(jar.db().storage).__name__


class _Figures:
    """See prometheus_client.registry.Collector."""

    def __init__(self, service: str, found: dict[str, Any]) -> None:
        self._service = service
        self._found = found

    def collect(self) -> Iterator[Any]:
        """All families, with the service as their first label."""
        from prometheus_client import core

        stats, workers = self._found['stats'], self._found['workers']
        family = core.GaugeMetricFamily(
            'remotetask_jobs', 'Jobs by where they are.',
            labels=('service', 'status'))
        for status in _STATUSES:
            family.add_metric((self._service, status), stats[status])
        yield family
        ended = core.CounterMetricFamily(
            'remotetask_jobs_ended', 'Runs that have come to their end.',
            labels=('service', 'outcome'))
        for outcome in OUTCOMES:
            ended.add_metric((self._service, outcome),
                             stats[f'{outcome}Total'])
        yield ended
        yield self._gauge(
            'remotetask_oldest_queued_seconds', 'How long the oldest job has '
            'waited that could run.', stats['oldest'] or 0)
        yield self._gauge('remotetask_workers', 'Workers.', len(workers))
        yield self._gauge(
            'remotetask_worker_threads', 'Threads of all workers.',
            sum(len(one['slots']) for one in workers))
        yield self._gauge(
            'remotetask_worker_threads_busy', 'Threads that run a job.',
            sum(len(one['jobs']) for one in workers))
        yield self._gauge('remotetask_paused', '1 while workers start no '
                          'job.', int(stats['paused']))
        info = core.GaugeMetricFamily(
            'remotetask_info', 'Always 1.',
            labels=('service', 'version', 'storage'))
        info.add_metric(
            (self._service,
             importlib.metadata.version('lovely.remotetask'),
             self._found['storage']), 1)
        yield info

    def _gauge(self, name: str, text: str, value: float) -> Any:
        from prometheus_client import core

        family = core.GaugeMetricFamily(name, text, labels=('service',))
        family.add_metric((self._service,), value)
        return family
