"""The chaos run: worker processes are killed, stopped and declared dead.

    python tests/chaos/run.py --storage zeo --jobs 3000 --kills 100

needs the package with its extra ``test``.  A real storage, real worker
processes, a live producer.  Workers are killed by ``kill -9`` anywhere, and
kill themselves at each named point of the protocol (chaos_points.py); living
ones are declared dead while they run jobs, and stopped for longer than it
takes others to take them for dead; some lack a task that others have.  A ZEO
server is restarted, each second time after a ``kill -9``, and the sessions of
PostgreSQL are cut.  On ``filestorage`` one process at a time has the database
open; ``mounted`` is the same with the queue in a database of its own.

Jobs fail and are retried in several threads, jobs commit by themselves, jobs
are added by jobs, schedules tick, and one job of 200 kills its process each
time it runs, until it is poison.  A process that runs a job which was killed
twice is spared by the harness, for five deaths of one job are what poison
means.  At the end every job must have had its effects exactly once.

Prints one line of JSON; the figures so far each 30 seconds on stderr.  Exit
code 0 if everything is right and the goals were reached.

lost       jobs or effects that should be there and are not
doubled    effects that are there more than once
partial    effects of jobs that did not complete, unbalanced accounts
stuck      jobs that have not ended
stale      commits of runs whose job was not theirs any more
unsound    structures that contradict themselves or the jobs
misjudged  jobs that ended in the wrong status
innocentErrors  jobs in error that neither fail nor kill by themselves
findings   what the check of the queue finds: jobs in no lane, in two claims
"""

import argparse
import json
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--storage', default='zeo',
                        choices=['filestorage', 'mounted', 'zeo',
                                 'postgresql'])
    parser.add_argument('--jobs', type=int, default=3000)
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--takeovers', type=int, default=300)
    parser.add_argument('--restarts', type=int, default=10,
                        help='of the ZEO server; cuts of PostgreSQL sessions')
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--scale', type=float, default=0.1,
                        help='of the times between signs of life')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=3600.0,
                        help='at most; then what was reached is judged')
    parser.add_argument('--keep', action='store_true',
                        help='keep the database, also if all is right')
    options = parser.parse_args()

    sys.path.insert(0, str(Path(__file__).parent))
    import chaos_harness
    import chaos_tasks

    # That the server is away is meant.
    for name in ('ZODB', 'ZEO', 'relstorage', 'txn'):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    chaos_tasks.register()
    # So that servers and databases of ours are gone, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    directory = Path(tempfile.mkdtemp(prefix='remotetask-chaos-'))
    figures = {'ok': False, 'reached': False}
    chaos = chaos_harness.Chaos(
        directory, options.jobs, options.kills, options.takeovers,
        options.restarts, options.workers, options.scale, options.seed,
        options.storage)
    try:
        figures = chaos.run(options.seconds)
    finally:
        chaos.close()
        if figures['ok'] and not options.keep:
            shutil.rmtree(directory)
        else:
            print(f'the database is in {directory}', file=sys.stderr)
    print(json.dumps(figures))
    return 0 if figures['ok'] and figures['reached'] else 1


if __name__ == '__main__':
    sys.exit(main())
