"""Side by side with Oban for Python, a durable queue in PostgreSQL.

    python benchmarks/oban_postgres.py [--jobs N] [--rounds N] [--json FILE]
        [--table FILE]

Needs Python 3.12.  Both have a database of their own on the server that
REMOTETASK_POSTGRESQL names (see storages.py), ours by RelStorage without
history.  Both workers run in this process and are measured in turn, from
their start to the end of the last job: ours in one thread, Oban's in one event
loop with one job at once (``limit=1``), and with ten, its default.  Ratios are
medians of the rounds.

They do not promise the same.  Oban notes that a job has ended, and its result
(``Record``), after the task, and those of several jobs together; we store both
in the transaction of the task's own writes.
"""

import asyncio
import sys

import psycopg
from beside import DEADLINE
from beside import Ours
from beside import medians
from beside import options_of
from beside import print_figures
from beside import ratio
from oban import Oban
from oban import Record
from oban import worker
from oban.schema import install
from storages import postgresql
from storages import postgresql_database

from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.bench.pace import speed

#: Jobs that Oban has begun at once, by default.
SEVERAL = 10

#: Jobs per statement where its queue is filled.
BATCH = 1000


@worker(queue='bench')
class Noop:

    async def process(self, job):
        return Record(tasks.RESULT)


class Theirs:
    """Oban's queue; all of it runs in one event loop."""

    def __init__(self, dsn):
        self.dsn = dsn

    async def make(self):
        pool = await Oban.create_pool(self.dsn)
        await install(pool)
        await pool.close()

    async def adds(self, count):
        pool = await Oban.create_pool(self.dsn)
        oban = Oban(pool=pool)
        await oban.enqueue(Noop.new())
        with Stopwatch() as watch:
            for _ in range(count):
                await oban.enqueue(Noop.new())
        await pool.close()
        return watch.speed(count)

    async def drain(self, count, limit):
        pool = await Oban.create_pool(self.dsn)
        client = Oban(pool=pool)
        for start in range(0, count, BATCH):
            await client.enqueue_many(
                Noop.new() for _ in range(min(BATCH, count - start)))
        with Stopwatch() as watch:
            async with asyncio.timeout(DEADLINE):
                async with Oban(pool=pool, queues={'bench': limit}):
                    while await self.waiting(pool):
                        await asyncio.sleep(0.01)
        await pool.close()
        return watch.speed(count)

    async def waiting(self, pool):
        """Is there a job that has not ended?"""
        async with pool.connection() as connection:
            found = await connection.execute(
                "SELECT EXISTS (SELECT FROM oban_jobs "
                "WHERE state IN ('available', 'executing'))")
            return (await found.fetchone())[0]

    def empty(self):
        """Remove all jobs; fail if one has not succeeded."""
        with psycopg.connect(self.dsn) as connection:
            rest = connection.execute(
                "SELECT count(*) FROM oban_jobs "
                "WHERE state != 'completed'").fetchone()
            assert rest == (0,), f'{rest[0]} jobs were not run'
            connection.execute('TRUNCATE oban_jobs')


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
                note('add: Oban', asyncio.run(theirs.adds(singles)))
                # The jobs that were added run here, untimed.
                ours.drain(1, 'noop')
                asyncio.run(theirs.drain(1, SEVERAL))
                theirs.empty()
                note('drain: ours', ours.drain(jobs, 'noop'))
                note('drain: ours grouped', ours.drain(jobs, 'grouped'))
                for name, limit in (('drain: Oban', 1),
                                    ('drain: Oban, ten at once', SEVERAL)):
                    note(name, asyncio.run(theirs.drain(jobs, limit)))
                    theirs.empty()
        finally:
            ours.close()
    return found


def report(speeds):
    """The figures by name: rates, CPU, ratios."""
    found = medians(speeds)
    for one, two in (
            ('add: ours', 'add: Oban'),
            ('drain: ours', 'drain: Oban'),
            ('drain: ours grouped', 'drain: Oban'),
            ('drain: ours grouped', 'drain: Oban, ten at once')):
        found[f'{one} / {two.removeprefix("drain: ").removeprefix("add: ")}'
              ] = ratio(speeds, one, two)
    return found


if __name__ == '__main__':
    options = options_of(__doc__, jobs=2000, rounds=3)
    print_figures(report(measure(options.jobs, options.rounds)), options,
                  'RelStorage', 'oban')
