"""The time of a look at a very long list of jobs."""

import statistics
import time
from functools import partial

import transaction

from lovely.remotetask.bench.place import service_of

#: How often each look is repeated: by a connection that has looked before,
#: and by a new one.
WARM, COLD = 15, 5

#: Jobs in a transaction, and on the largest page there is.
BATCH = 1000


def listing(bench):
    """Pages and the counts: once more, and for the first time.

    Half of the jobs are queued, half have ended.
    """
    place, jobs = bench.place, bench.sizes.backlog
    path = place.service('listing')
    for start in range(0, jobs // 2, BATCH):
        count = min(BATCH, jobs // 2 - start)
        place.fill(path, count)
        place.do(path, partial(end, count=count))
    middle = place.see(path, partial(cursor, behind=jobs // 4))
    looks = {
        'page': lambda service: page(service),
        'completed': lambda service: page(service, status='completed'),
        'middle': lambda service: page(service, status='completed',
                                       start=middle),
        'task': lambda service: page(service, status='queued', task='noop'),
        'stats': lambda service: service.stats()}
    warm, cold = (1, 1) if bench.sizes.smoke else (WARM, COLD)
    figures = {'jobs': jobs}
    for name, look in looks.items():
        figures[f'{name}_warm_ms'] = statistics.median(
            look_warm(place, path, look, warm))
        looked = [look_cold(place, path, look) for _ in range(cold)]
        figures[f'{name}_cold_ms'] = statistics.median(
            ms for ms, _ in looked)
        figures[f'{name}_loads'] = looked[-1][1]
    return figures


def end(service, count):
    """Add jobs and end them as finishes do, without the runs."""
    queue, now = service.jobqueue, time.time()
    for jobid in service.addMany('noop', [None] * count, startLater=True):
        job = service.jobs[jobid]
        queue.enqueue(job)
        queue.start(job, ('none', 1), now)
        queue.finish(job, None, 0, now)


def cursor(service, behind):
    """The cursor of the page that begins behind so many ended jobs."""
    found = None
    for start in range(0, behind, BATCH):
        _, found = service.listJobs('completed', start=found,
                                    limit=min(BATCH, behind - start))
    return found


def page(service, **options):
    jobs, _ = service.listJobs(limit=50, **options)
    # As a page shows them: an entry alone might not load the job.
    return [(job.id, job.task, job.status, job.created) for job in jobs]


def look_warm(place, path, look, count):
    """Look so often by one connection.

    Returns: the milliseconds of each look but the first.
    """
    manager = transaction.TransactionManager(explicit=True)
    connection = place.database.open(manager)
    try:
        return [timed(manager, connection, path, look)
                for _ in range(count + 1)][1:]
    finally:
        connection.close()


def look_cold(place, path, look):
    """Look by a connection and a client that have nothing in their caches.

    Returns: milliseconds, and how many objects were loaded.
    """
    # A file has but one client; the cache of the system is beyond our reach.
    database = place.opener() if place.shared else place.database
    manager = transaction.TransactionManager(explicit=True)
    connection = database.open(manager)
    try:
        connection.cacheMinimize()
        connection.getTransferCounts(clear=True)
        took = timed(manager, connection, path, look)
        return took, connection.getTransferCounts()[0]
    finally:
        connection.close()
        if database is not place.database:
            database.close()


def timed(manager, connection, path, look):
    begun = time.perf_counter()
    manager.begin()
    look(service_of(connection, path))
    manager.abort()
    return (time.perf_counter() - begun) * 1000
