"""Workers die, are stopped and declared dead; jobs have their effects once.

A short form of the whole run (run.py says how the long one is started), and
each way to die once.
"""

import json
import signal
import time

import chaos_harness
import chaos_points
import pytest
from chaos_acts import pids
from chaos_storages import wait_until
from chaos_verdict import Verdict

from lovely.remotetask.follow import Call


def run(chaos):
    try:
        figures = chaos.run(seconds=120)
    finally:
        chaos.close()
    assert figures['ok'] and figures['reached'], json.dumps(figures, indent=1)


def test_a_short_run(tmp_path, tasks):
    run(chaos_harness.Chaos(tmp_path, jobs=60, kills=5, takeovers=4,
                            restarts=1))


@pytest.mark.parametrize('storage', ['filestorage', 'mounted'])
def test_a_very_short_run_of_one_process(tmp_path, tasks, storage):
    run(chaos_harness.Chaos(tmp_path, jobs=40, kills=3, takeovers=1,
                            storage=storage))


def test_a_very_short_run_on_postgresql(tmp_path, tasks, postgresql):
    run(chaos_harness.Chaos(tmp_path, jobs=25, kills=2, takeovers=2,
                            restarts=1, storage='postgresql'))


def judge(world, *jobs, until=lambda: True):
    """Let somebody finish everything; then all must be right."""
    last = world.start(threads=2)
    for jobid in jobs:
        world.database.wait_for(jobid, 'completed', 'error')
    wait_until(until, what='what follows')
    last.wait_for('ready')
    living = {child.pid for child in world.spawner.children
              if child.code is None}
    wait_until(lambda: living.issuperset(world.database.look(pids)),
               what='the dead are found')
    for child in world.spawner.children:
        if child.code is None:
            assert child.end(signal.SIGTERM) == 0
    assert last.code == 0
    verdict = Verdict(world.database, jobs=0)
    verdict.judge()
    assert verdict.wrong == []


# --- each point of the protocol ----------------------------------------------

# What the job does that comes to the point; elsewhere it does not matter.
_TASKS = {'checkpoint-before': 'reaches', 'checkpoint-after': 'reaches',
          'hook': 'commits', 'own-before': 'commits', 'own-after': 'commits',
          'fail-before': 'fails', 'fail-after': 'fails',
          'group-before': 'shared', 'group-after': 'shared'}
# Only a worker that ends in order while it runs a job comes to these.
_AT_THE_END = ('give-back-before', 'give-back-after', 'leave-before',
               'leave-after')


def _call(task, n):
    return Call(task, {'kind': task, 'n': n, 'a': 1, 'b': 2})


def _add_followed(service):
    call = _call('slow', 1)
    return [service.add(call.task, call.input, onSuccess=_call('transfer', 9))]


def _add_group(service):
    group = service.addGroup([_call('transfer', n) for n in range(1, 9)],
                             _call('transfer', 9))
    return service.getGroup(group)['jobs']


@pytest.mark.parametrize('point', chaos_points.POINTS)
def test_death_at(fast_world, point):
    world = fast_world
    if point in _AT_THE_END:
        stops = point.startswith('give')
        jobs = [world.hold(stops=stops)]
        worker = world.start(point=point, grace=30.0 if stops else 0.0)
        worker.wait_for('holds 1').send(signal.SIGTERM)
    elif point.startswith('retire'):
        jobs = [world.hold()]
        world.start().wait_for('holds 1').end(signal.SIGKILL)
        worker = world.start(point=point)
    elif point == 'beat':
        jobs = [world.hold()]
        worker = world.start(point=point)
    elif point.startswith(('place', 'close')):
        # A long run, of which what follows is held.
        jobs = world.database.service(
            _add_followed if point.startswith('place') else _add_group)
        worker = world.start(point=point)
    else:
        # In one transaction: a finish can take the next one along.
        task = _TASKS.get(point, 'transfer')
        jobs = world.database.service(lambda service: [
            service.add(task, {'kind': task, 'n': n, 'a': n, 'b': n + 1})
            for n in range(1, 9)])
        worker = world.start(point=point)
    assert worker.end() == -signal.SIGKILL
    assert worker.says(f'died {point}')
    world.go.touch()
    followed = point.startswith(('place', 'close'))
    judge(world, *jobs, until=lambda: not followed or world.effects(9))
    assert world.effects(9) == followed


# --- single stories ----------------------------------------------------------

def test_a_killed_workers_job_runs_again_within_two_seconds(world):
    jobid = world.hold()
    first = world.start().wait_for('holds 1')
    sibling = world.start().wait_for('ready')
    # It looks for the dead when it starts, too; that is not what we measure.
    idle = world.database.add('transfer', 2)
    world.database.wait_for(idle, 'completed')
    killed = time.monotonic()
    first.end(signal.SIGKILL)
    sibling.wait_for('holds 1')
    took = time.monotonic() - killed
    assert took <= 2.0
    assert world.job(jobid, 'attempts', 'interruptions') == (2, 1)
    world.go.touch()
    judge(world, jobid)
    assert world.effects(1) == 1


def test_six_sigterms_during_one_long_job(world):
    jobid = world.hold()
    for attempt in range(1, 7):
        worker = world.start(grace=0.0).wait_for('holds 1')
        assert worker.end(signal.SIGTERM) == 0
        # Given back: nobody has to find out that its worker is gone, and
        # nobody holds it against the job.
        assert world.job(jobid, 'status', 'attempts', 'interruptions',
                         'failures') == ('queued', attempt, 0, 0)
        assert world.effects(1) == 0
    world.go.touch()
    judge(world, jobid)
    assert world.job(jobid, 'status', 'attempts', 'interruptions') == (
        'completed', 7, 0)
    assert world.effects(1) == 1


def test_a_job_that_kills_its_workers_is_poison(world):
    jobid = world.hold()
    for _ in range(5):
        worker = world.start(point='held')
        assert worker.end() == -signal.SIGKILL
    healthy = world.start()
    world.database.wait_for(jobid, 'error')
    error, interruptions = world.job(jobid, 'error', 'interruptions')
    assert str(error).startswith('poison: its worker died 5 times')
    assert interruptions == 5
    assert world.effects(1) == 0
    # The workers live on, and so may the job once its cause is mended.
    world.go.touch()
    world.database.service(lambda service: service.retryJob(jobid))
    world.database.wait_for(jobid, 'completed')
    assert healthy.code is None
    assert world.effects(1) == 1
    judge(world, jobid)


def test_stopped_for_longer_than_it_takes_to_count_as_dead(fast_world):
    world = fast_world
    jobid = world.hold()
    stopped = world.start('a').wait_for('holds 1')
    stopped.send(signal.SIGSTOP)
    # On another host: there only the beats tell.
    other = world.start('b')
    other.wait_for('holds 1')
    world.go.touch()
    world.database.wait_for(jobid, 'completed')
    assert world.effects(1) == 1
    other.end(signal.SIGTERM)
    stopped.send(signal.SIGCONT)
    # It drops what it ran, and goes on under another name.
    second = world.database.add('transfer', 2)
    world.database.wait_for(second, 'completed')
    assert stopped.code is None
    judge(world, jobid, second)
    assert world.job(jobid, 'attempts') == (2,)


def take_over(world, jobid):
    """Declare the living worker dead that runs the job."""
    def take(service):
        name = service.jobs[jobid].claim[0]
        return service.jobqueue.retire(name, service.clock.now(),
                                       charged=False)
    assert world.database.service(take) == [jobid]


def test_a_run_that_has_committed_by_itself_is_taken_over(fast_world):
    world = fast_world
    jobid = world.hold(task='holds_commits')
    # The commit of its own is behind it; what follows is in a transaction
    # that nobody has begun.
    worker = world.start().wait_for('holds 1')
    take_over(world, jobid)
    world.go.touch()
    worker.wait_for_start('refused 1 ')
    judge(world, jobid)
    assert world.effects(1) == 1


def test_taken_over_while_it_commits(fast_world):
    world = fast_world
    jobid = world.hold()
    worker = world.start().wait_for('holds 1')
    take_over(world, jobid)
    world.go.touch()
    judge(world, jobid)
    assert worker.code == 0
    assert world.effects(1) == 1
    assert world.job(jobid, 'attempts', 'interruptions') == (2, 0)
