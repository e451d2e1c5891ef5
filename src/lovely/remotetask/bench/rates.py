"""How many jobs a second are added, claimed, finished and drained."""

import time
from contextlib import ExitStack
from functools import partial

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.pace import Side
from lovely.remotetask.bench.pace import Speed
from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.bench.pace import against_raw
from lovely.remotetask.bench.pace import speed
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.place import add_many
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.bench.tasks import RUNS
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import TaskService

# A drain in which nothing happens for so long (seconds) has failed.
_STALL = 30.0

# While a drain runs it can be stopped so often (seconds).
_NAP = 0.2


def add(bench: Bench) -> Figures:
    """Adds jobs one by one, and 1,000 in a transaction."""
    place, sizes = bench.place, bench.sizes
    batch = [None] * sizes.batch
    with Client(place, place.service('add')) as client:

        def single() -> Speed:
            return speed(lambda: client.do(
                lambda service: service.add('noop', None)), sizes.chunk)

        def bulk() -> Speed:
            with Stopwatch() as watch:
                for _ in range(sizes.batches):
                    client.do(lambda service: add_many(
                        service, 'noop', batch))
            return watch.speed(sizes.batch * sizes.batches)

        pace = against_raw(client, sizes.rounds, sizes.chunk, {
            'single': Side(single), 'bulk': Side(bulk)})
    return {
        **pace.raw_figures(),
        'single_per_second': pace.rate('single'),
        'single_of_raw': pace.of_raw('single'),
        'single_cpu_us': pace.cpu_us('single'),
        'bulk_per_second': pace.rate('bulk'),
        'bulk_times_single': pace.times('bulk', 'single'),
        'bulk_cpu_us': pace.cpu_us('bulk')}


def claim(bench: Bench) -> Figures:
    """Claims a job in one commit, and runs and finishes it in the next.

    As an application does that calls its processor job by job.
    """
    place, sizes = bench.place, bench.sizes
    path = place.service('claim')
    processor = SimpleProcessor(place.database, path)
    watches: dict[str, Stopwatch] = {}

    def claims() -> Speed:
        watches.update(claim=Stopwatch(), finish=Stopwatch())
        for _ in range(sizes.chunk):
            with watches['claim']:
                jobid = processor.claimNextJob()
            with watches['finish']:
                processor.processNext(jobid)
        return watches['claim'].speed(sizes.chunk)

    def finishes() -> Speed:
        # They have been timed with the claims before them.
        return watches['finish'].speed(sizes.chunk)

    with Client(place, path) as client:
        place.fill(path, sizes.chunk * sizes.rounds)
        pace = against_raw(client, sizes.rounds, sizes.chunk, {
            'claim': Side(claims), 'finish': Side(finishes)})
    return {
        **pace.raw_figures(),
        'claim_per_second': pace.rate('claim'),
        'claim_of_raw': pace.of_raw('claim'),
        'claim_cpu_us': pace.cpu_us('claim'),
        'finish_per_second': pace.rate('finish'),
        'finish_of_raw': pace.of_raw('finish'),
        'finish_cpu_us': pace.cpu_us('finish')}


def drain(bench: Bench) -> Figures:
    """Lets a processor's loop empty a full queue of jobs that do nothing."""
    place, sizes = bench.place, bench.sizes
    path = place.service('drain')

    with Client(place, path) as client:
        pace = against_raw(client, sizes.drains, sizes.chunk, {
            task: Side(partial(drained, bench, path, sizes.jobs),
                       partial(place.fill, path, sizes.jobs, task))
            for task in ('noop', 'grouped')})
    return {
        'jobs': sizes.jobs,
        **pace.raw_figures(),
        'per_second': pace.rate('noop'),
        'of_raw': pace.of_raw('noop'),
        'cpu_us': pace.cpu_us('noop'),
        'grouped_per_second': pace.rate('grouped'),
        'grouped_of_raw': pace.of_raw('grouped'),
        'grouped_times_ungrouped': pace.times('grouped', 'noop'),
        'grouped_cpu_us': pace.cpu_us('grouped')}


def drained(bench: Bench, path: list[str], count: int) -> Speed:
    """Let a loop run the jobs that are queued."""
    place = bench.place
    wanted = count + place.see(path, completed)
    RUNS.expect(count)
    with ExitStack() as running, Stopwatch() as watch:
        running.enter_context(loops(place, path))
        _wait_for_runs(place)
        until(lambda: place.see(path, completed) >= wanted,
              f'the drain of {count} jobs', seconds=_STALL)
    return watch.speed(count)


def _wait_for_runs(place: Place) -> None:
    """Wait until there were enough runs, or none for a long time."""
    # This thread sleeps: it must not compete with the loop for the CPU.
    left, since = RUNS.left, time.monotonic()
    while not RUNS.enough.wait(_NAP) and time.monotonic() - since < _STALL:
        place.stop.check()
        if RUNS.left != left:
            left, since = RUNS.left, time.monotonic()


def completed(service: TaskService) -> int:
    """How many jobs of a service have ended well."""
    count: int = service.stats()['completed']
    return count
