"""What a look at a very long queue takes."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import transaction

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.place import service_of
from lovely.remotetask.bench.sizes import Bench

#: Jobs on a page.
PAGE = 50

#: How often each look is repeated.
WARM, COLD = 20, 5


def listing(bench: Bench) -> Figures:
    """A page and the counts: once more, and for the first time."""
    path = bench.stock()
    looks: dict[str, Callable[[Any], object]] = {
        'page': _page, 'stats': lambda service: service.stats()}
    figures: Figures = {'queued': bench.sizes.stock}
    for name, look in looks.items():
        figures[f'{name}_warm_ms'] = _warm(bench, path, look)
        figures[f'{name}_cold_ms'] = statistics.median(
            _cold(bench, path, look) for _ in range(COLD))
    return figures


def _page(service: Any) -> object:
    jobs, _ = service.listJobs(limit=PAGE)
    # As a page shows them: an entry alone might not have been loaded.
    return [(job.id, job.task, job.status, job.created) for job in jobs]


def _warm(bench: Bench, path: list[str], look: Callable[[Any], object]
          ) -> float:
    manager = transaction.TransactionManager(explicit=True)
    connection = bench.place.database.open(manager)
    try:
        times = [_timed(manager, connection, path, look)
                 for _ in range(WARM + 1)]
    finally:
        connection.close()
    return statistics.median(times[1:])


def _cold(bench: Bench, path: list[str], look: Callable[[Any], object]
          ) -> float:
    """In a connection that knows nothing, of a client that knows nothing."""
    place = bench.place
    # A file has but one client; the cache of the system is beyond our reach.
    database = place.opener() if place.shared else place.database
    manager = transaction.TransactionManager(explicit=True)
    connection = database.open(manager)
    try:
        connection.cacheMinimize()
        return _timed(manager, connection, path, look)
    finally:
        connection.close()
        if database is not place.database:
            database.close()


def _timed(manager: Any, connection: Any, path: list[str],
           look: Callable[[Any], object]) -> float:
    begun = time.perf_counter()
    manager.begin()
    look(service_of(connection, path))
    manager.abort()
    return (time.perf_counter() - begun) * 1000
