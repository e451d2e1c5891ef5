"""What one job's life writes: commits and bytes."""

import threading

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Commits
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.rates import drained
from lovely.remotetask.bench.sizes import Bench

#: So long (seconds) after a job's end its worker has nothing to do.
SETTLE = 0.005


def life(bench: Bench) -> Figures:
    """Jobs that are added one by one and run, by commits and by bytes."""
    ungrouped = _backlog(bench, 'noop')
    grouped = _backlog(bench, 'grouped')
    return {
        'commits': ungrouped[0],
        'commits_grouped': grouped[0],
        'commits_idle_queue': _idle_queue(bench),
        'bytes': ungrouped[1],
        'bytes_grouped': grouped[1]}


def _backlog(bench: Bench, task: str) -> tuple[float, float | None]:
    """The commits and the bytes per job, under backlog."""
    place, count = bench.place, bench.sizes.lives
    path = place.service(f'life-{task}')
    before = place.size()
    with Client(place, path) as client, Commits() as commits:
        for _ in range(count):
            client.do(lambda service: service.add(task, None))
        drained(bench, path, count)
    after = place.size()
    grown = (None if before is None or after is None
             else (after - before) / count)
    return commits.count / count, grown


def _idle_queue(bench: Bench) -> float:
    """The commits per job, where each is added to an idle worker."""
    place, count = bench.place, bench.sizes.samples
    path = place.service('life-idle')
    pause = threading.Event()
    with Client(place, path) as client, loops(place, path):

        def one() -> None:
            jobid = client.do(lambda service: service.add('noop', None))
            until(lambda: client.see(lambda service: service.getStatus(
                jobid)) == 'completed', 'a job of an idle worker')
            pause.wait(SETTLE)

        one()   # from here on the worker is known to the service
        with Commits() as commits:
            for _ in range(count):
                one()
    return commits.count / count
