"""Some jobs kill their process each time they run: how much it delays others.

    python tests/chaos/killers.py

1,000 jobs of 50 ms on a ZEO server, with 4 worker processes of 5 threads that
are started again as soon as they die, once with 3 killers among the jobs and
once without.  All times are as in real life.

Prints one line of JSON: how the jobs have ended in the run with killers,
and, with and without, when the last innocent one ended, and how long they
waited on average until they ran (seconds).  Exit code 0 if the killers are
poison, all others are completed, and the last one ended at most 10 % later.
"""

import argparse
import json
import logging
import signal
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from contextlib import closing
from pathlib import Path
from statistics import mean


def measure(jobs, killers, seconds, workers, threads):
    """Returns: how the jobs ended, and the times of the innocent ones."""
    from chaos_processes import Database
    from chaos_processes import Spawner
    from chaos_storages import Server
    from chaos_storages import is_away
    from chaos_storages import wait_until

    def add(service):
        # The same number of innocent jobs in both runs.
        numbers = {jobs * (2 * k + 1) // (2 * killers) for k in range(killers)
                   } if killers else set()
        for n in range(jobs - killers):
            if n in numbers:
                service.add('kills', {'n': n, 'a': 1, 'b': 2})
            service.add('sleeps', {'seconds': seconds})

    def live():
        for child in [child for child in alive if child.code is not None]:
            alive.remove(child)
        while len(alive) < workers:
            alive.append(spawner.start(threads=threads))

    def over():
        live()
        try:
            found = database.look(lambda service: service.stats())
        except Exception as error:
            if not is_away(error):
                raise
            return False
        return found['completed'] + found['error'] == jobs

    def times(service):
        found = [job for job in service.jobs.values() if job.task == 'sleeps']
        added = min(job.createdAt for job in found)
        return {
            'last': max((job.completedAt - added).total_seconds()
                        for job in found),
            'wait': mean((job.startedAt - added).total_seconds()
                         for job in found)}

    def ends(service):
        return dict(Counter(
            'poison' if str(job.error).startswith('poison')
            else f'{job.task} {job.status}' for job in service.jobs.values()))

    alive = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Server(directory)
        stack.callback(server.stop)
        database = stack.enter_context(closing(Database(server.address)))
        database.make()
        spawner = stack.enter_context(closing(
            Spawner(server.address, directory)))
        live()
        for child in alive:
            child.wait_for('ready')
        database.service(add)
        wait_until(over, 600)
        kills = sum(child.code == -signal.SIGKILL
                    for child in spawner.children)
        return database.look(ends), database.look(times), kills


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', type=int, default=1000)
    parser.add_argument('--killers', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=0.05)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--threads', type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    import chaos_tasks

    for name in ('ZODB', 'ZEO', 'txn'):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    chaos_tasks.register()
    innocent = options.jobs - options.killers
    common = options.seconds, options.workers, options.threads
    _, without, _ = measure(innocent, 0, *common)
    ends, with_, kills = measure(options.jobs, options.killers, *common)
    later = {name: round(with_[name] / without[name], 3) for name in with_}
    print(json.dumps({'ends': ends, 'kills': kills, 'without': without,
                      'with': with_, 'ratio': later}))
    return 0 if (ends == {'sleeps completed': innocent,
                          'poison': options.killers}
                 and later['last'] <= 1.1) else 1


if __name__ == '__main__':
    sys.exit(main())
