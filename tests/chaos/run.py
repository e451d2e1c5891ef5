"""The chaos run: worker processes are killed, stopped and declared dead.

    python tests/chaos/run.py --jobs 3000 --kills 100 --takeovers 300

needs the package with its extra ``test``.  A real ZEO server, real worker
processes, a live producer.  Workers are killed by ``kill -9`` anywhere, and
kill themselves at each named point of the protocol (chaos_points.py); living
ones are declared dead while they run jobs, and stopped for longer than it
takes others to take them for dead; the server is restarted, once after a
``kill -9``.  At the end every job must have had its effects exactly once.

Prints one line of JSON.  Exit code 0 if everything is right.

lost       jobs or effects that should be there and are not
doubled    effects that are there more than once
partial    effects of jobs that did not complete, unbalanced accounts
stuck      jobs that have not ended
stale      commits of runs whose job was not theirs any more
unsound    structures that contradict themselves or the jobs
misjudged  jobs that ended in the wrong status
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', type=int, default=3000)
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--takeovers', type=int, default=300)
    parser.add_argument('--restarts', type=int, default=2,
                        help='of the ZEO server')
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--deadline', type=float, default=1200.0,
                        help='seconds until the run counts as hanging')
    parser.add_argument('--keep', action='store_true',
                        help='keep the database, also if all is right')
    options = parser.parse_args()

    sys.path.insert(0, str(Path(__file__).parent))
    import chaos_harness
    import chaos_tasks

    # That the server is away is meant.
    logging.getLogger('ZODB').setLevel(logging.CRITICAL)
    chaos_tasks.register()
    directory = Path(tempfile.mkdtemp(prefix='remotetask-chaos-'))
    figures = {'ok': False}
    chaos = chaos_harness.Chaos(
        directory, options.jobs, options.kills, options.takeovers,
        options.restarts, options.workers, seed=options.seed)
    try:
        figures = chaos.run(options.deadline)
    finally:
        chaos.close()
        if figures['ok'] and not options.keep:
            shutil.rmtree(directory)
        else:
            print(f'the database is in {directory}', file=sys.stderr)
    print(json.dumps(figures))
    return 0 if figures['ok'] else 1


if __name__ == '__main__':
    sys.exit(main())
