"""How many jobs a second are added, claimed, finished and drained."""

import time
from functools import partial

from lovely.remotetask.bench.pace import Figures
from lovely.remotetask.bench.pace import Side
from lovely.remotetask.bench.pace import against_raw
from lovely.remotetask.bench.pace import per_second
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import add_many
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.processing import until
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.bench.tasks import RUNS
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import TaskService

#: A drain in which nothing happens for so long (seconds) has failed.
STALL = 30.0


def add(bench: Bench) -> Figures:
    """Single durable adds, and 1,000 in a transaction."""
    place, sizes = bench.place, bench.sizes
    batch = [None] * sizes.batch
    with Client(place, place.service('add')) as client:

        def single() -> float:
            return per_second(lambda: client.do(
                lambda service: service.add('noop', None)), sizes.chunk)

        def bulk() -> float:
            return sizes.batch * per_second(lambda: client.do(
                lambda service: add_many(service, 'noop', batch)),
                sizes.batches)

        pace = against_raw(client, sizes.rounds, sizes.chunk, {
            'single': Side(single), 'bulk': Side(bulk)})
    return {
        'raw_per_second': pace.raw_rate,
        'single_per_second': pace.rate('single'),
        'single_of_raw': pace.of_raw('single'),
        'bulk_per_second': pace.rate('bulk'),
        'bulk_times_single': pace.times('bulk', 'single')}


def claim(bench: Bench) -> Figures:
    """Claims and finishes in commits of their own, as a direct call does."""
    place, sizes = bench.place, bench.sizes
    path = place.service('claim')
    spent: dict[str, float] = {}
    processor = SimpleProcessor(place.database, path)

    def run() -> None:
        spent['claim'] = spent['finish'] = 0.0
        for _ in range(sizes.chunk):
            begun = time.perf_counter()
            jobid = processor.claimNextJob()
            claimed = time.perf_counter()
            processor.processNext(jobid)
            spent['claim'] += claimed - begun
            spent['finish'] += time.perf_counter() - claimed

    def claims() -> float:
        run()
        return sizes.chunk / spent['claim']

    def finishes() -> float:
        return sizes.chunk / spent['finish']

    with Client(place, path) as client:
        place.fill(path, sizes.chunk * sizes.rounds)
        pace = against_raw(client, sizes.rounds, sizes.chunk, {
            # The second one has been timed with the first.
            'claim': Side(claims), 'finish': Side(finishes)})
    return {
        'claim_per_second': pace.rate('claim'),
        'claim_of_raw': pace.of_raw('claim'),
        'finish_per_second': pace.rate('finish'),
        'finish_of_raw': pace.of_raw('finish')}


def drain(bench: Bench) -> Figures:
    """A processor's loop empties a full queue of jobs that do nothing."""
    place, sizes = bench.place, bench.sizes
    path = place.service('drain')

    with Client(place, path) as client:
        pace = against_raw(client, sizes.drains, sizes.chunk, {
            task: Side(partial(drained, bench, path, sizes.jobs),
                       partial(place.fill, path, sizes.jobs, task))
            for task in ('noop', 'grouped')})
    return {
        'jobs': sizes.jobs,
        'raw_per_second': pace.raw_rate,
        'per_second': pace.rate('noop'),
        'of_raw': pace.of_raw('noop'),
        'grouped_per_second': pace.rate('grouped'),
        'grouped_of_raw': pace.of_raw('grouped'),
        'grouped_times_ungrouped': pace.times('grouped', 'noop')}


def drained(bench: Bench, path: list[str], count: int) -> float:
    """Let a loop run the jobs that are queued.  Returns: jobs a second."""
    place = bench.place
    wanted = count + place.see(path, completed)
    RUNS.expect(count)
    begun = time.perf_counter()
    with loops(place, path):
        # Asleep meanwhile: this thread shall not compete with the loop.
        before = -1
        while not RUNS.enough.wait(STALL):
            done = place.see(path, completed)
            if done == before:
                break
            before = done
        until(lambda: place.see(path, completed) >= wanted,
              f'the drain of {count} jobs', seconds=STALL)
        seconds = time.perf_counter() - begun
    return count / seconds


def completed(service: TaskService) -> int:
    count: int = service.stats()['completed']
    return count
