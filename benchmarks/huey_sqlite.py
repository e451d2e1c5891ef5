"""Side by side with Huey on SQLite: the durable queue nearest to ours that
needs no server.

    python benchmarks/huey_sqlite.py [--jobs N] [--rounds N] [--json FILE]
        [--table FILE]

Both keep a job for good before they say that it was added: Huey with
``fsync=True`` (SQLite's ``synchronous=full``), we on a FileStorage in the same
directory.  Everything is measured in turn in one process, one worker thread
each, so that a busy machine is busy for both; ratios are medians of the
rounds.

They do not promise the same.  Huey deletes a job as it hands it out: one that
is interrupted is forgotten, and what a job was and gave is not kept.  We keep
all of that, in the transaction of the task's own writes.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version

from huey import SqliteHuey
from huey.consumer import Consumer

from lovely.remotetask import task
from lovely.remotetask.bench import machine
from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.processing import loops
from lovely.remotetask.bench.rates import drained
from lovely.remotetask.bench.run_times import per_second
from lovely.remotetask.bench.run_times import percentile
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.bench.sizes import Sizes
from lovely.remotetask.bench.targets import number
from lovely.remotetask.cli import databases

DEADLINE = 120

#: How Huey's consumer looks for jobs: as it does by itself, and as often as
#: one may ask it to without giving it a CPU of its own.
POLLING = {
    'default': {},
    'lowest': {'initial_delay': 0.001, 'max_delay': 0.001, 'backoff': 1.0},
}

#: A worker is idle for so long (seconds) before the next job comes.
SHORTEST, LONGEST = 0.1, 0.5

#: How long (seconds) the CPU of an idle worker is watched.
IDLE = 3.0

#: Figure -> the least that will do.
TARGETS = {
    'drain: ours / Huey': 0.85,
    'drain: ours grouped / Huey': 3.0,
    'latency p50: Huey by default / ours': 20.0,
}


class Theirs:
    """Huey's queue, and its consumer with one thread."""

    def __init__(self, directory):
        self.huey = SqliteHuey(
            'bench', filename=os.path.join(directory, 'huey.db'), fsync=True)
        self.runs = tasks.Runs()
        self.started = None
        self.noop = self.huey.task()(self._noop)
        self.moment = self.huey.task()(self._moment)

    def _noop(self):
        self.runs.tick()

    def _moment(self):
        self.started = time.monotonic()
        self.runs.tick()

    @contextmanager
    def consumer(self, **options):
        # start() takes the signals of the process.
        handlers = {number: signal.getsignal(number) for number in (
            signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        consumer = Consumer(self.huey, workers=1, periodic=False, **options)
        consumer.start()
        try:
            yield
        finally:
            consumer.stop(graceful=True)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def drain(self, count):
        for _ in range(count):
            self.noop()
        self.runs.expect(count)
        begun = time.perf_counter()
        with self.consumer():
            assert self.runs.enough.wait(DEADLINE)
            return count / (time.perf_counter() - begun)

    def delay(self):
        """From enqueue's return to the start of the task (seconds)."""
        self.runs.expect(1)
        self.moment()
        sent = time.monotonic()
        assert self.runs.enough.wait(DEADLINE)
        return max(0.0, self.started - sent)


class Ours:
    """A FileStorage in the same directory."""

    def __init__(self, directory):
        task.scan(tasks)
        uri = f'file://{os.path.join(directory, "Data.fs")}'
        self.place = Place(lambda: databases.open_uri(uri), uri)
        self.path = self.place.service('tasks')
        self.client = Client(self.place, self.path)

    def close(self):
        self.client.connection.close()
        self.place.close()

    def add(self):
        return self.client.do(lambda service: service.add('noop', None))

    def drain(self, count, name):
        self.place.fill(self.path, count, name)
        return drained(Bench(self.place, Sizes()), self.path, count)

    def delay(self):
        jobid = self.client.do(lambda service: service.add('moment', None))
        sent = time.monotonic()
        pause = threading.Event()
        deadline = sent + DEADLINE
        pause.wait(0.005)
        while self.client.see(
                lambda service: service.getStatus(jobid)) != 'completed':
            assert time.monotonic() < deadline
            pause.wait(0.001)
        started = self.client.see(lambda service: service.getResult(jobid))
        return max(0.0, started - sent)


def delays(queue, count):
    """So many latencies, each of an idle worker (ms)."""
    found = []
    pause = threading.Event()
    for _ in range(count):
        pause.wait(random.uniform(SHORTEST, LONGEST))
        found.append(queue.delay() * 1000)
    return found


def idle_percent():
    """The CPU that this process uses while it has nothing to do."""
    begun, used = time.monotonic(), time.process_time()
    threading.Event().wait(IDLE)
    return 100 * (time.process_time() - used) / (time.monotonic() - begun)


def measure(jobs, rounds, samples, directory):
    ours, theirs = Ours(directory), Theirs(directory)
    rates = {name: [] for name in (
        'raw', 'enqueue: ours', 'enqueue: Huey', 'drain: ours',
        'drain: ours grouped', 'drain: Huey')}
    waits = {name: [] for name in ('ours', *POLLING)}
    idle = {name: [] for name in waits}

    def say(text):
        print(text, '...', file=sys.stderr, flush=True)

    for turn in range(rounds):
        say(f'round {turn + 1} of {rounds}: enqueue')
        for name, function in (
                ('raw', ours.client.raw), ('enqueue: ours', ours.add),
                ('enqueue: Huey', theirs.noop)):
            function()
            rates[name].append(per_second(function, jobs))
        # What was enqueued runs untimed, so that the drains are of equal
        # queues.
        with loops(ours.place, ours.path), theirs.consumer():
            ours.delay()
            theirs.delay()
        say('drain')
        rates['drain: Huey'].append(theirs.drain(jobs))
        rates['drain: ours'].append(ours.drain(jobs, 'noop'))
        rates['drain: ours grouped'].append(ours.drain(jobs, 'grouped'))
        say('latency')
        with loops(ours.place, ours.path):
            ours.delay()
            waits['ours'] += delays(ours, samples)
            idle['ours'].append(idle_percent())
        for name, options in POLLING.items():
            with theirs.consumer(**options):
                theirs.delay()
                waits[name] += delays(theirs, samples)
                idle[name].append(idle_percent())
    ours.close()
    return rates, waits, idle


def report(rates, waits, idle):
    """What was found, by name: rates, latencies, ratios."""
    def ratio(one, two):
        return statistics.median(
            first / second for first, second in zip(
                rates[one], rates[two], strict=True))

    found = {f'{name} (1/s)': round(statistics.median(values))
             for name, values in rates.items()}
    names = {'ours': 'ours', 'default': 'Huey by default',
             'lowest': 'Huey every 1 ms'}
    for name, values in waits.items():
        found[f'latency p50: {names[name]} (ms)'] = percentile(values, 0.5)
        found[f'latency p99: {names[name]} (ms)'] = percentile(values, 0.99)
        found[f'idle CPU: {names[name]} (%)'] = statistics.median(idle[name])
    p50 = {name: percentile(values, 0.5) for name, values in waits.items()}
    # A start before commit() has returned counts as no time at all.
    own = max(p50['ours'], 0.001)
    found |= {
        'enqueue: ours / Huey': ratio('enqueue: ours', 'enqueue: Huey'),
        'drain: ours / Huey': ratio('drain: ours', 'drain: Huey'),
        'drain: ours grouped / Huey': ratio('drain: ours grouped',
                                            'drain: Huey'),
        'latency p50: Huey by default / ours': p50['default'] / own,
        'latency p50: Huey every 1 ms / ours': p50['lowest'] / own}
    for side in ('ours', 'Huey'):
        found[f'enqueue: {side} / raw'] = ratio(f'enqueue: {side}', 'raw')
        found[f'drain: {side} / raw'] = ratio(f'drain: {side}', 'raw')
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.
        RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', type=int, default=3000,
                        help='enqueued and drained in each round; 3000')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--samples', type=int, default=15,
                        help='latencies of each kind in a round; 15')
    parser.add_argument('--directory', help='where both files are; default: '
                                            'a temporary one')
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--table', metavar='FILE')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        found = report(*measure(options.jobs, options.rounds,
                                options.samples, directory))
    lines = [f'{machine.cpu()}, {os.cpu_count()} cores, '
             f'Python {sys.version.split()[0]}, '
             + ', '.join(f'{name} {version(name)}' for name in (
                 'lovely.remotetask', 'ZODB', 'huey')), '']
    width = max(map(len, found))
    for name, value in found.items():
        target = TARGETS.get(name)
        verdict = '' if target is None else (
            f'  >= {target:g}  {"ok" if value >= target else "missed"}')
        lines.append(f'{name:{width}}  {number(value):>8}{verdict}')
    text = '\n'.join(lines) + '\n'
    print(text, end='')
    if options.table:
        with open(options.table, 'w') as file:
            file.write(text)
    if options.json:
        with open(options.json, 'w') as file:
            json.dump({'figures': found, 'targets': TARGETS}, file, indent=1)


if __name__ == '__main__':
    main()
