"""Each time of a schedule is run once, whatever is killed.

CHAOS_TICKS=1000 makes it as long as the page of guarantees says.
"""

import calendar
import os
import random
import signal
import time

import chaos_tasks
from chaos_storages import DEADLINE
from chaos_storages import wait_until

from lovely.remotetask import TaskService

TICKS = int(os.environ.get('CHAOS_TICKS', '30'))

#: How many minutes the workers' clocks show in a second.
MINUTES_A_SECOND = 6

WORKERS = 4


def test_each_tick_is_run_once(fast_world, monkeypatch):
    world, rng = fast_world, random.Random(5)
    shown = float(calendar.timegm((2027, 3, 28, 0, 0, 30)))
    fast = (time.time(), shown, 60.0 * MINUTES_A_SECOND)

    monkeypatch.setattr(TaskService, 'clock', chaos_tasks.Fast(*fast))
    world.database.service(lambda service: service.addCronJob(
        'dues', {'kind': 'dues', 'n': 1}, cron='* * * * *',
        timezone='Europe/Vienna', missed='all', overlap='queue'))
    first = int(shown // 60) + 1
    workers = [world.start(fast=fast) for _ in range(WORKERS)]
    kills = 0
    for tick in range(first + 10, first + TICKS, 10):
        world.spawner.lines.wait_for(
            lambda line, tick=tick: line.endswith(f' due {tick}'))
        victim = rng.choice(workers)
        assert victim.end(signal.SIGKILL) == -signal.SIGKILL
        kills += 1
        workers[workers.index(victim)] = world.start(fast=fast)
    wait_until(lambda: max(dues(world), default=0) >= first + TICKS - 1,
               DEADLINE + TICKS)
    for worker in workers:
        worker.end(signal.SIGTERM)
    found = dues(world)
    missing = [tick for tick in range(first, first + TICKS)
               if tick not in found]
    doubled = {tick: count for tick, count in found.items() if count != 1}
    print(f'{len(found)} ticks, {kills} kills, {len(missing)} missing, '
          f'{len(doubled)} doubled')
    assert (missing, doubled) == ([], {})
    assert min(found) == first and kills >= TICKS // 10 - 1


def dues(world):
    with world.database.root() as root:
        return dict(root['dues'])
