"""Kills the worker of one long job again and again: what is done once more?

    python tests/chaos/long_jobs.py --items 10000 --kills 20

A ZEO server, a job that has an effect for each of its items, and workers that
are killed by ``kill -9`` at random moments while they run it; each is followed
by another one.  ``--way cursor`` has a checkpoint after each of ``--every``
items, ``--way step`` a step for each.  All times are as in real life.
``--restarts`` does the same to the server, by turns in an orderly way and not;
``--storage postgresql`` cuts the sessions of the workers instead.

Prints one line of JSON.  Exit code 0 if the job has completed, each item has
had its effect once, none was begun again after its checkpoint, nothing was
charged to the job, and all was broken as often as it should be.

attempts   how often the task was called; a restart is no attempt
once       items whose effect is there exactly once
repeated   items that were begun once more, for they were not committed
undone     items that were begun once more though a checkpoint had them
"""

import argparse
import json
import logging
import random
import signal
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from contextlib import closing
from pathlib import Path


def measure(items, kills, way='cursor', every=1, seed=0, directory=None,
            restarts=0, storage='zeo'):
    """Returns: a dict, see above."""
    from chaos_processes import Database
    from chaos_processes import Spawner
    from chaos_storages import Postgres
    from chaos_storages import Server
    from chaos_storages import wait_until
    from chaos_tasks import EFFECTS

    rng = random.Random(seed)
    with ExitStack() as stack:
        if directory is None:
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory()))
        told = directory / 'told'
        told.touch()
        server = (Server if storage == 'zeo' else Postgres)(directory)
        stack.callback(server.stop)
        database = stack.enter_context(closing(Database(server.address)))
        database.make()
        spawner = stack.enter_context(closing(
            Spawner(server.address, directory)))
        jobid = database.service(lambda service: service.add('walks', {
            'items': items, 'every': every, 'way': way, 'told': str(told)}))
        done = {'kill': 0, 'restart': 0}
        worker = spawner.start()
        blows = ['kill'] * kills + ['restart'] * restarts
        rng.shuffle(blows)
        for number, blow in enumerate(blows):
            # At a random place of the part that is its own, so that the last
            # of them is before the end of the job.
            size = told.stat().st_size
            wait_until(lambda size=size: told.stat().st_size > size or
                       _is_over(database, jobid), what='the job goes on')
            place = rng.uniform(number, number + 1) * items / (len(blows) + 1)
            wait_until(lambda place=place: _reached(told) >= place or
                       _is_over(database, jobid), 300, what='its place')
            if _is_over(database, jobid):
                break
            done[blow] += 1
            if blow == 'restart':
                server.restart(done[blow])
            else:
                worker.end(signal.SIGKILL)
                worker = spawner.start()
        database.wait_for(jobid, 'completed', 'error', 'cancelled',
                          deadline=300)
        with database.root() as root:
            effects = Counter(
                root['effects'][n % EFFECTS].get(n, 0) for n in range(items))
        status, attempts, failures = database.look(lambda service: [
            getattr(service.jobs[jobid], name)
            for name in ('status', 'attempts', 'failures')])
        return {'status': status, 'kills': done['kill'],
                'restarts': done['restart'], 'attempts': attempts,
                'failures': failures, 'once': effects.pop(1, 0),
                'wrong': sum(effects.values()), **_told(told)}


def _is_over(database, jobid):
    return database.status(jobid) != 'processing' and database.look(
        lambda service: service.jobs[jobid].completedAt is not None)


def _reached(told):
    with open(told, 'rb') as file:
        file.seek(max(0, told.stat().st_size - 64))
        last = [line for line in file.read().split(b'\n')
                if line.startswith(b'begun ')]
    return int(last[-1].split()[1]) if last else 0


def _told(told):
    begun, repeated, undone, stored = set(), 0, 0, 0
    for line in told.read_text().splitlines():
        word, number = line.split()
        if word == 'stored':
            stored = max(stored, int(number))
            continue
        repeated += int(number) in begun
        undone += int(number) < stored
        begun.add(int(number))
    return {'repeated': repeated, 'undone': undone}


def is_right(figures, items, kills, every, restarts=0):
    """Is all as the program's exit code says?"""
    return (figures['status'] == 'completed' and figures['once'] == items
            and figures['wrong'] == figures['undone'] == 0
            and figures['failures'] == 0
            and (figures['kills'], figures['restarts']) == (kills, restarts)
            and figures['repeated'] <= (kills + restarts) * every)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--items', type=int, default=10000)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--restarts', type=int, default=0)
    parser.add_argument('--storage', choices=['zeo', 'postgresql'],
                        default='zeo')
    parser.add_argument('--every', type=int, default=1)
    parser.add_argument('--way', choices=['cursor', 'step'], default='cursor')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    import chaos_tasks

    for name in ('ZODB', 'ZEO', 'txn'):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    chaos_tasks.register()
    figures = measure(options.items, options.kills, options.way,
                      options.every, options.seed, None, options.restarts,
                      options.storage)
    print(json.dumps(figures))
    return 0 if is_right(figures, options.items, options.kills,
                         options.every, options.restarts) else 1


if __name__ == '__main__':
    sys.exit(main())
