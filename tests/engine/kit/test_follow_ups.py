"""What follows a job is in the commit that ends it; a group is closed once."""

import threading

import pytest

from lovely.remotetask.errors import TaskError
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


@pytest.fixture(autouse=True)
def tasks(world, components):
    """``work`` leaves an effect named by its input; ``bad`` fails."""
    import zope.component

    def work(service, jobid, input):
        world.effect(service, str(input))
        return input

    def bad(service, jobid, input):
        raise TaskError('no')

    for name, function, options in (
            ('work', work, {}), ('short', work, {'groupable': True}),
            ('bad', bad, {})):
        zope.component.provideUtility(
            FunctionTask(function, **options), ITask, name)


def all_over(service):
    stats = service.stats()
    return not (stats['queued'] or stats['processing'] or stats['scheduled'])


@pytest.fixture(params=['short', 'long'])
def runs(request, monkeypatch):
    """Each run counts as short, or as long: with an old snapshot."""
    monkeypatch.setattr('lovely.remotetask.run.executor._CHAIN_SECONDS',
                        600.0 if request.param == 'short' else 0.0)


@pytest.mark.parametrize('task', ['work', 'short'])
def test_a_chain_runs_to_its_end(world, runs, task):
    world.do(lambda service: service.addChain([
        Call(task, 'a'), Call(task, [RESULT]), Call(task, {'b': RESULT})]))
    world.start()
    world.until(lambda service: service.stats()['completed'] == 3)
    assert world.effects() == {'a': 1, "['a']": 1, "{'b': ['a']}": 1}


@pytest.mark.parametrize('task', ['work', 'short'])
def test_many_jobs_that_are_followed_all_are(world, runs, task):
    """Each finish adds a job, in several threads."""
    world.do(lambda service: service.addMany(
        task, range(40), onSuccess=Call(task, [RESULT])))
    threads = [world.start(world.other(), MultiProcessor, maxThreads=2)
               for _ in range(2)]
    world.until(all_over)
    assert world.effects() == {
        **{str(number): 1 for number in range(40)},
        **{f'[{number}]': 1 for number in range(40)}}
    assert len(threads) == 2


def test_what_follows_is_in_the_commit_of_the_end(world):
    success = world.add('work', 'a', onSuccess=Call('work', 'b'))
    failure = world.add('bad', 'a', onFailure=Call('work', 'c'))
    world.drain(2)
    for jobid, which in ((success, 0), (failure, 1)):
        def serials(service, jobid=jobid, which=which):
            job = service.jobs[jobid]
            return {_loaded(one)._p_serial for one in (
                job, service.jobs[job.followed[which]])}

        assert len(world.see(serials)) == 1


def _loaded(job):
    job._p_activate()
    return job


def test_a_run_that_was_taken_over_is_followed_once(world, held):
    """The false takeover: the first run ends, and may commit nothing."""
    jobid = world.add('hold', onSuccess=Call('work', 'after'))
    first, second = world.processor(), world.processor()
    running = threading.Thread(target=first.processNext)
    running.start()
    held.wait()
    world.do(lambda service: service.jobqueue.retire(
        first.worker.identity.id, service.clock.now(), charged=True))
    held.go.set()
    running.join(DEADLINE)
    assert not running.is_alive()
    assert world.status(jobid) == 'queued'
    assert world.see(lambda service: len(service.jobs)) == 1
    while second.processNext():
        pass
    assert world.effects() == {'after': 1}
    assert world.see(lambda service: len(service.jobs)) == 2


@pytest.mark.parametrize('task', ['work', 'short'])
def test_a_group_is_followed_once(world, task):
    world.do(lambda service: service.addGroup(
        [Call(task, number) for number in range(60)],
        Call('work', 'after')))
    for _ in range(2):
        world.start(world.other(), MultiProcessor, maxThreads=2)
    world.until(lambda service: not service.listGroups()[0]
                and all_over(service))
    effects = world.effects()
    assert effects.pop('after') == 1
    assert effects == {str(number): 1 for number in range(60)}


def test_groups_that_are_added_at_once_all_end(world):
    """Two connections add the first groups of a service at the same time."""
    barrier = threading.Barrier(2)

    def add(database, name):
        barrier.wait(DEADLINE)
        for number in range(3):
            world.do(lambda service, number=number: service.addGroup(
                [Call('work', f'{name}{number}')] * 3,
                Call('work', f'after {name}{number}')), database)

    threads = [threading.Thread(target=add, args=(world.other(), name))
               for name in 'ab']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    world.start()
    world.until(lambda service: service.stats()['completed'] == 24)
    assert world.effects() == {
        **{f'{name}{number}': 3 for name in 'ab' for number in range(3)},
        **{f'after {name}{number}': 1
           for name in 'ab' for number in range(3)}}
