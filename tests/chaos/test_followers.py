"""A group is followed once, and each of its jobs, whatever is killed.

CHAOS_GROUP=1000 makes it as large as the page of guarantees says.
"""

import os
import random
import signal

import chaos_points
import chaos_tasks
from chaos_storages import DEADLINE
from chaos_storages import wait_until

from lovely.remotetask.follow import Call

JOBS = int(os.environ.get('CHAOS_GROUP', '60'))
KILLS = JOBS // 20
WORKERS = 4

#: The number of what comes after the group.
AFTER = 2 * chaos_tasks.FOLLOW

#: Short jobs, such as share a commit, long ones, and such as fail at first.
TASKS = ('transfer', 'shared', 'slow', 'again')


def call(task, n, **options):
    return Call(task, {'kind': task, 'n': n, 'a': n % 39 + 1, 'b': 0},
                **options)


def test_a_group_is_followed_once(fast_world):
    world, rng = fast_world, random.Random(6)
    group = world.database.service(lambda service: service.addGroup(
        [call(rng.choice(TASKS), n, onSuccess=call(
            'transfer', n + chaos_tasks.FOLLOW)) for n in range(JOBS)],
        call('transfer', AFTER)))

    def start():
        point = rng.choice((None, None, *chaos_points.POINTS,
                            'place-before', 'place-after', 'close-before'))
        return world.start(rng.choice('ab'), rng.choice((1, 3)), point,
                           rng.randint(1, 3), spares=True)

    workers = [start() for _ in range(WORKERS)]
    kills, points = 0, []

    def bury():
        nonlocal kills
        for child in list(workers):
            if child.code is not None:
                assert child.code == -signal.SIGKILL, child.code
                kills += 1
                if child.point and child.says(f'died {child.point}'):
                    points.append(child.point)
                workers[workers.index(child)] = start()

    while kills < KILLS:
        # Kills meet jobs at all times of the group.
        wait_until(lambda: bury() or kills >= KILLS or ended(world) >= (
            JOBS * 2 * kills / KILLS), DEADLINE)
        victims = [child for child in workers
                   if not child.spares and child.code is None]
        if kills < KILLS and victims:
            assert rng.choice(victims).end(signal.SIGKILL) < 0
        bury()
    wait_until(lambda: bury() or ended(world) == JOBS * 2 + 1,
               DEADLINE + JOBS / 5)
    wait_until(lambda: bury() or is_idle(world), DEADLINE)
    for child in workers:
        child.end(signal.SIGTERM)
    numbers = [*range(JOBS), *range(chaos_tasks.FOLLOW,
                                    chaos_tasks.FOLLOW + JOBS), AFTER]
    effects = {n: world.effects(n) for n in numbers}
    shown = world.database.look(lambda service: service.getGroup(group))
    count = world.database.look(lambda service: len(service.jobs))
    print(f'{JOBS} jobs, {kills} kills, {len(points)} of them at points: '
          f'{sorted(set(points))}; after the group: {effects[AFTER]}, '
          f'{count} jobs')
    assert {n: times for n, times in effects.items() if times != 1} == {}
    assert (shown['state'], shown['completed']) == ('done', JOBS)
    assert count == JOBS * 2 + 1
    assert kills >= KILLS


def ended(world):
    return world.database.look(lambda service: service.stats()['completed'])


def is_idle(world):
    stats = world.database.look(lambda service: service.stats())
    return not (stats['queued'] or stats['processing'])
