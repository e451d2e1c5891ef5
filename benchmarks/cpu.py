"""CPU microseconds per operation, in memory, beside a raw commit's.

    python benchmarks/cpu.py [--rounds N] [--jobs N] [--json FILE]
        [--only costs|watched|bytes|records ...] [--threads N ...]

The disk has no part in the costs: the storage is a MappingStorage, so that an
fsync neither hides a change of the Python code nor blurs it.  Each round makes
a new database and measures all operations in it, one after the other.  The
table gives the median of the rounds, and the median of each round's ratio to
its raw commit; then the least of the rounds, which other processes disturbed
least, and its ratio to the least raw commit.  Compare ratios, and only of runs
with the same ``--jobs``: on a busy machine everything takes longer, and a raw
commit, which touches little memory, suffers less than the others.

``records`` are a count, and so are the bytes of ``single`` jobs: no machine's
speed changes them.  How many ``grouped`` jobs share a commit depends on how
long they take, so on a busy machine they cost more CPU and more bytes.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
from contextlib import contextmanager

import transaction
from world import BATCH
from world import PATH
from world import world
from ZODB.FileStorage import FileStorage

from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.host import current as current_host
from lovely.remotetask.run.worker import Worker
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.workers import LOOP

#: The service is asked this often (seconds) whether jobs wait.
LOOK_EVERY = 0.01

#: Claims of one thread whose records are counted.
CLAIMS = 20


@contextmanager
def quietly():
    """A Stopwatch for the block, during which old objects are not collected.

    A storage in memory makes the heap grow with each transaction, and looks
    at all of it would be charged to the operation.
    """
    gc.collect()
    gc.freeze()
    try:
        with Stopwatch() as watch:
            yield watch
    finally:
        gc.unfreeze()


def repeated(function, count):
    """The CPU (microseconds) of one call among so many."""
    with quietly() as watch:
        for _ in range(count):
            function()
    return watch.speed(count).cpu_us


def drained(here, jobs, watched=False):
    """Drain so many jobs.  Returns: the Speed."""
    before = here.completed()
    with quietly() as watch:
        thread = here.drain(jobs)
        while watched and thread.is_alive():
            thread.join(LOOK_EVERY)
            here.has_waiting()
        thread.join()
    assert here.completed() - before == jobs
    return watch.speed(jobs)


# --- CPU --------------------------------------------------------------------

def costs(jobs):
    """One round.  Returns: operation -> microseconds of CPU."""
    found = {}
    with world() as here:
        for function in here.raw, here.add:
            repeated(function, 20)
        drained(here, 20)
        raw = repeated(here.raw, jobs)
        found['add'] = repeated(here.add, jobs)
        found['drained job'] = drained(here, jobs).cpu_us
        for _ in range(jobs):
            here.add('grouped')
        found['grouped job'] = drained(here, jobs).cpu_us
        count = BATCH * 2
        with quietly() as watch:
            here.add_many(count)
        found['bulk add'] = watch.speed(count).cpu_us
        # Before and after the others, because a machine has its moods.
        raw = (raw + repeated(here.raw, jobs)) / 2
    return {'raw commit': raw, **found}


def report_costs(options):
    rounds = []
    for _ in range(options.rounds):
        rounds.append(costs(options.jobs))
        print('.', end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f'{"CPU of one":12}  median us  of raw  least us  of raw')
    found = {}
    raw = min(one['raw commit'] for one in rounds)
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        found[name] = figures = {
            'median_us': statistics.median(values),
            'of_raw': statistics.median(
                one[name] / one['raw commit'] for one in rounds),
            'least_us': min(values),
            'least_of_raw': min(values) / raw}
        print(f'{name:12}  {figures["median_us"]:9.1f}  '
              f'{figures["of_raw"]:6.2f}  {figures["least_us"]:8.1f}  '
              f'{figures["least_of_raw"]:6.2f}')
    return found


# --- a drain that is watched ------------------------------------------------

def watched(jobs):
    """Drain a queue, alone and while a thread asks whether jobs wait.

    Returns: the speed of the watched drain divided by the other's, by wall
    time; and how much CPU it took, divided likewise.
    """
    speeds = []
    for is_watched in False, True:
        with world() as here:
            here.add()
            drained(here, 1)
            here.add_many(jobs)
            speeds.append(drained(here, jobs, is_watched))
    alone, seen = speeds
    return seen.per_second / alone.per_second, seen.cpu_us / alone.cpu_us


def report_watched(options):
    found = [watched(options.jobs * 10)
             for _ in range(max(1, options.rounds // 4))]
    speed, cpu = map(statistics.median, zip(*found, strict=True))
    print(f'watched drain: {speed:.2f} of the speed, {cpu:.2f} times the CPU')
    return {'speed': speed, 'cpu': cpu}


# --- bytes ------------------------------------------------------------------

def life(jobs, name):
    """The bytes that the life of one job appends to a FileStorage."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, 'Data.fs')
        with world(FileStorage(path)) as here:
            before = os.path.getsize(path)
            for _ in range(jobs):
                here.add(name)
            drained(here, jobs)
            return (os.path.getsize(path) - before) / jobs


def report_bytes(options):
    found = {name: life(options.jobs * 4, name)
             for name in ('single', 'grouped')}
    print('bytes of a life: ' + ', '.join(
        f'{name} {value:.0f}' for name, value in found.items()))
    return found


# --- records ----------------------------------------------------------------

class Claimer:
    """A thread of a worker that claims one job after another."""

    def __init__(self, database):
        self.worker = Worker(database, PATH, current_host())
        self.worker.enroll(LOOP, 1)
        self._slot = self.worker._idle[0]
        self._cursor = ReadCursor()

    def claim(self, manager, connection):
        """Claim as the commit that finishes a job does, and commit."""
        manager.begin()
        service = self.worker.executor.service(connection)
        found = self.worker.take_ahead(service, self._slot, self._cursor)
        manager.commit()
        self._cursor.committed()
        return len(found)


def records(threads):
    """The records that one claim loads.

    Each other thread that has lanes has claimed once since the last claim of
    ours; all else is in the connection's cache.
    """
    with world() as here:
        here.add_many(64 * CLAIMS * 2)
        ours, *others = [Claimer(here.database) for _ in range(threads)]
        manager = transaction.TransactionManager(explicit=True)
        connection = here.database.open(manager)
        counts = []
        for _ in range(CLAIMS + 1):
            for other in others:
                other.claim(here.manager, here.connection)
            with counted(connection) as loaded:
                assert ours.claim(manager, connection) == 1
            counts.append(len(loaded))
        connection.close()
    # The first claim fills the cache.
    return statistics.median(counts[1:])


@contextmanager
def counted(connection):
    """The objects that the connection loads within the block."""
    loaded, load = [], connection.setstate

    def setstate(obj):
        loaded.append(obj)
        load(obj)

    connection.setstate = setstate
    try:
        yield loaded
    finally:
        del connection.setstate


def report_records(options):
    found = {threads: records(threads) for threads in options.threads}
    print('records loaded by a claim: ' + ', '.join(
        f'{value:g} with {threads} threads'
        for threads, value in found.items()))
    return found


REPORTS = {'costs': report_costs, 'watched': report_watched,
           'bytes': report_bytes, 'records': report_records}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.
        RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=21,
                        help='rounds of each cost; 21')
    parser.add_argument('--jobs', type=int, default=500,
                        help='operations of a kind in a round; 500')
    parser.add_argument('--threads', type=int, nargs='+',
                        default=[2, 10, 50, 200],
                        help='records are counted with so many enrolled '
                             'threads; 2 10 50 200')
    parser.add_argument('--only', action='append', choices=REPORTS)
    parser.add_argument('--json', metavar='FILE')
    options = parser.parse_args()
    found = {name: report(options) for name, report in REPORTS.items()
             if not options.only or name in options.only}
    if options.json:
        with open(options.json, 'w') as file:
            json.dump(found, file, indent=1)


if __name__ == '__main__':
    main()
