"""No more run at once than a limit says, whatever is killed.

CHAOS_LIMITED=10000 makes it as long as the page of guarantees says: so many
jobs, in eight workers, of which one is killed at each twentieth job.
"""

import faulthandler
import os
import random
import signal
import threading
import time

import chaos_tasks
from chaos_storages import DEADLINE
from chaos_storages import wait_until

JOBS = int(os.environ.get('CHAOS_LIMITED', '160'))
WORKERS = 8
JOBS_A_KILL = 20
KEYS = 20


def test_limits_hold(fast_world):
    if JOBS > 1000:
        # pytest ends what takes more than four minutes.
        faulthandler.cancel_dump_traceback_later()
    world, rng = fast_world, random.Random(7)
    # Half of them have a key, and are limited by their task as well.
    jobs = world.database.service(lambda service: [service.add(
        'metered', {'kind': 'metered', 'seconds': rng.uniform(0.02, 0.08),
                    **({'key': f'k{n % KEYS}'} if n % 2 else {})},
        concurrencyKey=f'k{n % KEYS}' if n % 2 else None)
        for n in range(JOBS)])
    with Stall() as stall:
        seen, kills = worked(world, rng, len(jobs))
    most, of_keys, longest = judged(world.spawner.lines.seen[seen:], kills,
                                    len(jobs))
    print(f'{len(jobs)} jobs, {len(kills)} kills, at most {most} at once, of '
          f'one key {of_keys}; longest free place {longest:.2f} s, stall '
          f'{stall.longest:.2f} s')
    assert (most, of_keys) == (chaos_tasks.LIMIT, 1)
    # A dead worker's place is free once it is known to be dead; a machine that
    # is busy holds up all of that.
    assert longest < 1.0 + 2.0 + 10 * stall.longest, stall.longest
    assert world.database.look(
        lambda service: len(service.jobqueue.barred)) == 0


def worked(world, rng, total):
    """Run all jobs, and kill; from which line on, and when who was killed."""
    seen = len(world.spawner.lines.seen)
    workers = [world.start() for _ in range(WORKERS)]
    kills = []
    for count in range(JOBS_A_KILL, JOBS, JOBS_A_KILL):
        world.spawner.lines.wait_until(
            lambda count=count: sum(
                ' end ' in line for line in world.spawner.lines.seen[seen:]
                ) >= count, f'{count} ends', DEADLINE)
        victim = rng.choice(workers)
        kills.append((time.monotonic(), victim.pid))
        assert victim.end(signal.SIGKILL) == -signal.SIGKILL
        workers[workers.index(victim)] = world.start()
    wait_until(lambda: world.database.look(
        lambda service: service.stats()['completed']) == total,
        DEADLINE + JOBS / 20)
    for worker in workers:
        worker.end(signal.SIGTERM)
    return seen, kills


class Stall:
    """For how long (seconds) this machine has let a process wait that had
    something to do.
    """

    def __init__(self):
        self.longest, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        self._thread.join()

    def _watch(self):
        before = time.monotonic()
        while not self._over.wait(0.01):
            now = time.monotonic()
            self.longest = max(self.longest, now - before - 0.01)
            before = now


def judged(lines, kills, total):
    """How many ran at once, of one key, and how long a place was free while
    jobs waited that had not begun.
    """
    events = [(moment, 1, 'kill', pid, None, '') for moment, pid in kills]
    for line in lines:
        pid, what, *rest = line.split(' ')
        if what in ('begin', 'end'):
            jobid, key, moment = rest
            events.append((float(moment), 0, what, int(pid), jobid, key))
    events.sort()
    running, over, most, of_keys, longest = {}, set(), 0, 0, 0.0
    free = None
    for moment, _, what, pid, jobid, key in events:
        if what == 'begin':
            running[pid, jobid] = key
        elif what == 'end':
            running.pop((pid, jobid), None)
            over.add(jobid)
        else:
            running = {run: key for run, key in running.items()
                       if run[0] != pid}
        most = max(most, len(running))
        keys = [key for key in running.values() if key]
        of_keys = max([of_keys, *(keys.count(key) for key in keys)])
        if len(running) >= chaos_tasks.LIMIT or what == 'kill':
            free = None
        elif free is None:
            free = moment
        # Near the end only jobs of keys that run may be left.
        if free is not None and len(over) < total - 2 * KEYS:
            longest = max(longest, moment - free)
    return most, of_keys, longest
