"""Side by side with Procrastinate, a durable queue in PostgreSQL.

    python benchmarks/procrastinate_postgres.py [--jobs N] [--rounds N]
        [--json FILE] [--table FILE]

Both have a database of their own on the server that REMOTETASK_POSTGRESQL
names (see storages.py), ours by RelStorage without history.  Both workers run
in this process, one thread each, and are measured in turn, from their start
to the end of the last job; Procrastinate's also with ten jobs at once, which
its one thread runs in turn while others wait for the server.  Ratios are
medians of the rounds.

They do not promise the same.  Procrastinate notes that a job has ended in a
transaction of its own, and does not store the task's result; we store
both in the transaction of the task's own writes.
"""

import asyncio
import sys

import psycopg
from beside import Ours
from beside import medians
from beside import options_of
from beside import print_figures
from beside import ratio
from procrastinate import App
from procrastinate import PsycopgConnector
from storages import postgresql
from storages import postgresql_database

from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.bench.pace import speed

#: Jobs that Procrastinate's one thread has begun at once.
SEVERAL = 10

#: Jobs per statement where its queue is filled.
BATCH = 1000


class Theirs:
    """Procrastinate's queue; all of it runs in one event loop."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.app = App(connector=PsycopgConnector(conninfo=dsn))
        self.noop = self.app.task(name='noop')(self._noop)

    async def _noop(self):
        return tasks.RESULT

    async def make(self):
        async with self.app.open_async():
            await self.app.schema_manager.apply_schema_async()

    async def adds(self, count):
        async with self.app.open_async():
            await self.noop.defer_async()
            with Stopwatch() as watch:
                for _ in range(count):
                    await self.noop.defer_async()
        return watch.speed(count)

    async def drain(self, count, concurrency):
        async with self.app.open_async():
            for start in range(0, count, BATCH):
                await self.noop.batch_defer_async(
                    *[{}] * min(BATCH, count - start))
            with Stopwatch() as watch:
                # Without wait it ends as soon as there is no job any more.
                await self.app.run_worker_async(
                    concurrency=concurrency, wait=False,
                    install_signal_handlers=False)
        return watch.speed(count)

    def empty(self):
        """Remove all jobs; fail if one has not succeeded."""
        with psycopg.connect(self.dsn) as connection:
            rest = connection.execute(
                "SELECT count(*) FROM procrastinate_jobs "
                "WHERE status != 'succeeded'").fetchone()
            assert rest == (0,), f'{rest[0]} jobs were not run'
            connection.execute('TRUNCATE procrastinate_jobs CASCADE')


def measure(jobs, rounds):
    """Returns: name -> the Speed of each round."""
    found = {}

    def note(name, speed):
        print(f'{name}: {speed.per_second:.0f} a second', file=sys.stderr,
              flush=True)
        found.setdefault(name, []).append(speed)

    with postgresql_database() as dsn, postgresql() as (_, uri):
        theirs = Theirs(dsn)
        asyncio.run(theirs.make())
        ours = Ours(uri)
        try:
            for _ in range(rounds):
                singles = max(1, jobs // 10)
                ours.client.raw()
                note('raw', speed(ours.client.raw, singles))
                ours.add()
                note('add: ours', speed(ours.add, singles))
                note('add: Procrastinate', asyncio.run(theirs.adds(singles)))
                # The jobs that were added run here, untimed.
                ours.drain(1, 'noop')
                asyncio.run(theirs.drain(1, SEVERAL))
                theirs.empty()
                note('drain: ours', ours.drain(jobs, 'noop'))
                note('drain: ours grouped', ours.drain(jobs, 'grouped'))
                for name, concurrency in (
                        ('drain: Procrastinate', 1),
                        ('drain: Procrastinate, ten at once', SEVERAL)):
                    note(name, asyncio.run(theirs.drain(jobs, concurrency)))
                    theirs.empty()
        finally:
            ours.close()
    return found


def report(speeds):
    """The figures by name: rates, CPU, ratios."""
    found = medians(speeds)
    for one, two in (
            ('add: ours', 'add: Procrastinate'),
            ('drain: ours', 'drain: Procrastinate'),
            ('drain: ours grouped', 'drain: Procrastinate'),
            ('drain: ours grouped', 'drain: Procrastinate, ten at once'),
            ('drain: ours grouped', 'raw'),
            ('drain: Procrastinate', 'raw')):
        found[f'{one} / {two.removeprefix("drain: ").removeprefix("add: ")}'
              ] = ratio(speeds, one, two)
    return found


if __name__ == '__main__':
    options = options_of(__doc__, jobs=3000, rounds=3)
    print_figures(report(measure(options.jobs, options.rounds)), options,
                  'RelStorage', 'procrastinate')
