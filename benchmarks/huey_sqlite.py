"""Side by side with Huey on SQLite, the durable queue without a server that is
nearest to ours.

    python benchmarks/huey_sqlite.py [--jobs N] [--rounds N] [--json FILE]
        [--samples N] [--table FILE]

Both keep a job for good before they say that it was added: Huey with
``fsync=True`` (SQLite's ``synchronous=full``), we on a FileStorage in the same
directory.  Both store the task's result.  Everything is measured in turn
in one process, one worker thread each, so that a busy machine is busy for
both; ratios are medians of the rounds.

They do not promise the same.  Huey deletes a job as it hands it out, so a job
that is interrupted is forgotten; we run it again.  Huey stores the result in a
transaction of its own; we store it in the one of the task's own writes.
"""

import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from contextlib import contextmanager

from beside import DEADLINE
from beside import Ours
from beside import medians
from beside import options_of
from beside import print_figures
from beside import ratio
from huey import SqliteHuey
from huey.consumer import Consumer

from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.bench.pace import percentile
from lovely.remotetask.bench.pace import speed
from lovely.remotetask.bench.processing import loops

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


class Theirs:
    """Huey's queue, and its consumer with one thread."""

    def __init__(self, directory):
        self.huey = SqliteHuey(
            'bench', filename=os.path.join(directory, 'huey.db'), fsync=True,
            results=True)
        self.runs = tasks.Runs()
        # Not counted with the others: jobs before it may still be running.
        self.moments = tasks.Runs()
        self.started = None
        self.noop = self.huey.task()(self._noop)
        self.moment = self.huey.task()(self._moment)

    def _noop(self):
        self.runs.tick()
        return tasks.RESULT

    def _moment(self):
        self.started = time.monotonic()
        self.moments.tick()
        return self.started

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
        with ExitStack() as running, Stopwatch() as watch:
            running.enter_context(self.consumer())
            assert self.runs.enough.wait(DEADLINE)
        return watch.speed(count)

    def delay(self):
        """From enqueue's return to the start of the task (seconds)."""
        self.moments.expect(1)
        self.moment()
        sent = time.monotonic()
        assert self.moments.enough.wait(DEADLINE)
        return max(0.0, self.started - sent)


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


def measure(jobs, rounds, samples):
    """Returns: name -> the Speed of each round; the delays (ms); the CPU of
    an idle worker (percent)."""
    with tempfile.TemporaryDirectory() as directory:
        theirs = Theirs(directory)
        ours = Ours(f'file://{os.path.join(directory, "Data.fs")}')
        try:
            return in_turn(ours, theirs, jobs, rounds, samples)
        finally:
            ours.close()


def in_turn(ours, theirs, jobs, rounds, samples):
    """Returns: as ``measure``."""
    speeds = {name: [] for name in (
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
            speeds[name].append(speed(function, jobs))
        # The jobs that were enqueued run untimed, so that the drains are of
        # equal queues.
        with loops(ours.place, ours.path), theirs.consumer():
            ours.delay()
            theirs.delay()
        say('drain')
        speeds['drain: Huey'].append(theirs.drain(jobs))
        speeds['drain: ours'].append(ours.drain(jobs, 'noop'))
        speeds['drain: ours grouped'].append(ours.drain(jobs, 'grouped'))
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
    return speeds, waits, idle


def report(speeds, waits, idle):
    """The figures by name: rates, CPU, latencies, ratios."""
    found = medians(speeds)
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
        'enqueue: ours / Huey': ratio(
            speeds, 'enqueue: ours', 'enqueue: Huey'),
        'drain: ours / Huey': ratio(speeds, 'drain: ours', 'drain: Huey'),
        'drain: ours grouped / Huey': ratio(
            speeds, 'drain: ours grouped', 'drain: Huey'),
        'latency p50: Huey by default / ours': p50['default'] / own,
        'latency p50: Huey every 1 ms / ours': p50['lowest'] / own}
    for side in ('ours', 'Huey'):
        for kind in ('enqueue', 'drain'):
            found[f'{kind}: {side} / raw'] = ratio(
                speeds, f'{kind}: {side}', 'raw')
    return found


if __name__ == '__main__':
    options = options_of(__doc__, jobs=3000, rounds=3, samples=15)
    print_figures(
        report(*measure(options.jobs, options.rounds, options.samples)),
        options, 'huey')
