"""Workers that lack the task of a job, a class of its input, or its user."""

import sys
import types

import pytest
import transaction
import zope.component
from zope.component import provideUtility

from lovely.remotetask import settings
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.lacking import _ASIDE_JOBS
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.task import FunctionTask


class Elsewhere(PlainHost):
    """A host of another release of the application: it has no ``work``."""

    def task(self, service, interface, name):
        return None if name == 'work' else super().task(
            service, interface, name)


@pytest.fixture(autouse=True)
def numbers(monkeypatch):
    """Not the defaults, so that code which keeps to those fails."""
    for name in ('MISSING_FIRST', 'MISSING_LAST', 'MISSING_GIVE_UP'):
        monkeypatch.setattr(settings, name, getattr(settings, name) / 3)


@pytest.fixture(autouse=True)
def tasks(ran, register):
    """Two tasks that note their inputs as ``note`` does."""
    register(ran.append, 'work')
    register(ran.append, 'other')


def lacking(world, role=LOOP):
    """A worker that lacks the task ``work``."""
    worker = world.processor().worker
    worker.executor.host = Elsewhere()
    worker.enroll(role, 1)
    return worker


def capable(world):
    worker = world.processor().worker
    worker.enroll(LOOP, 1)
    return worker


def drain(worker):
    runs = 0
    while claims := worker.claim_some():
        runs += len(claims)
        worker.work(claims, lambda: False)
    return runs


def records(world):
    """What is stored of each job: nothing was written where it is equal."""
    return world.see(lambda service: {
        job.id: job._p_serial for job in service.jobs.values()
        if job._p_activate() is None})


def test_a_worker_leaves_to_others_what_it_lacks(world, ran, log):
    jobs = [world.add('work', number) for number in range(12)]
    mixed = world.add('other', 'mixed')
    worker = lacking(world)
    before = records(world)
    assert drain(worker) == 1 and ran == ['mixed']
    assert world.status(mixed) == 'completed'
    after = records(world)
    assert {jobid: after[jobid] for jobid in jobs} == {
        jobid: before[jobid] for jobid in jobs}
    assert drain(worker) == 0
    # In the words of 0.5.2, and once.
    assert log == ['ERROR Task "work" not found!']
    (row,) = world.see(lambda service: service.listWorkers())
    assert row['lacks'] == ['work']
    assert drain(capable(world)) == 12
    assert world.see(lambda service: service.stats()['completed']) == 13
    assert sorted(ran[1:]) == list(range(12))


def test_many_jobs_that_no_worker_can_run_hold_up_no_other(world, ran):
    """Not even for MISSING_FIRST: a claim does not look behind them."""
    jobs = [world.add('work', number) for number in range(3 * _ASIDE_JOBS)]
    other = world.add('other', 'behind')
    worker = lacking(world)
    for _ in range(4):
        drain(worker)
    assert world.status(other) == 'completed'
    assert drain(capable(world)) == len(jobs)


def test_many_jobs_are_left_to_a_worker_that_has_their_task(world, ran):
    for number in range(2 * _ASIDE_JOBS):
        world.add('work', number)
    worker, _ = lacking(world), capable(world)
    before = records(world)
    assert drain(worker) == 0
    assert records(world) == before
    # The other one may say soon that it lacks the task as well.
    assert worker.waits_for <= 1.0


def test_its_lanes_are_owned_by_those_that_have_the_task(world, ran):
    worker, other = lacking(world), capable(world)
    jobs = [world.add('work', number) for number in range(64)]
    assert drain(worker) == 0
    # Without a wait: the lanes of other threads are taken later.
    assert drain(other) == len(jobs)
    # One that comes back takes part in all lanes again.
    worker.enroll(LOOP)
    slots = world.see(lambda service: [
        slot.guest for slot in service.jobqueue.slots.values()])
    assert slots.count(True) == 1


def test_two_that_lack_different_tasks_take_from_all_lanes(world, ran):
    class Lacks(PlainHost):
        def task(self, service, interface, name):
            return None if name == 'other' else super().task(
                service, interface, name)

    workers = [lacking(world), capable(world)]
    workers[1].executor.host = Lacks()
    for number in range(20):
        world.add('work', number)
        world.add('other', number)
    runs = [drain(worker) for worker in workers]
    assert runs[0] <= 20
    while sum(runs) < 40:
        more = [drain(worker) for worker in workers]
        assert sum(more)
        runs = [sum(pair) for pair in zip(runs, more, strict=True)]
    assert runs == [20, 20]
    assert world.see(lambda service: service.stats()['completed']) == 40


def test_where_no_worker_has_it_the_job_tells_so(world, ran, clock, log):
    jobid = world.add('work')
    workers = [lacking(world), lacking(world)]
    for worker in workers:
        assert worker.claim() is None
    assert str(world.see(lambda service: service.jobs[jobid].error)) == 'None'
    clock.advance(settings.MISSING_FIRST)
    for worker in workers:
        assert worker.claim() is None
    assert world.see(lambda service: service.getError(jobid)) == (
        'Task "work" not found! No worker of this service has it: it runs '
        'once one has')
    assert world.status(jobid) == 'queued'
    assert len(log) == len(workers)
    # Looks go on, and write nothing.
    before = records(world)
    clock.advance(settings.MISSING_LAST * 2)
    for worker in workers:
        assert worker.claim() is None
        assert 0 < worker.waits_for <= settings.MISSING_LAST
    assert records(world) == before
    assert world.see(lambda service: (
        service.stats()['queued'],
        [job.id for job in service.listJobs('queued')[0]])) == (1, [jobid])
    # A worker that has it takes it when it comes.
    assert capable(world).claim().jobid == jobid


def test_what_is_set_aside_counts_as_waiting(world, ran, clock):
    jobid = world.add('work')
    worker = lacking(world)
    assert worker.claim() is None
    clock.advance(settings.MISSING_FIRST)
    assert worker.claim() is None
    assert world.see(lambda service: service.jobs[jobid].position[0]
                     ) == 'missing'
    clock.advance(100)
    oldest = world.see(lambda service: service.stats()['oldest'])
    assert 100 <= oldest < 200
    # It waits for a worker, and no attempt of it has failed.
    assert world.see(lambda service: service.jobs[jobid].errors) == []


def test_while_another_may_have_it_the_job_stays(world, ran, clock):
    """As where all its threads are at work for long."""
    jobid = world.add('work')
    worker, other = lacking(world, PROCESSOR), capable(world)
    assert worker.claim() is None
    clock.advance(settings.MISSING_FIRST * 100)
    assert worker.claim() is None
    assert worker.waits_for == settings.MISSING_FIRST
    assert world.see(lambda service: (
        service.jobs[jobid].position[0], service.jobs[jobid].error)) == (
        'ready', None)
    other.leave()
    assert worker.claim() is None
    assert world.see(lambda service: service.jobs[jobid].position[0]) == (
        'missing')


def test_at_last_it_fails(world, ran, clock, log):
    jobid = world.add('work')
    worker, began = lacking(world), clock.now()
    for _ in range(1000):
        claims = worker.claim_some()
        if claims:
            break
        clock.advance(settings.MISSING_FIRST * 10)
    assert settings.MISSING_GIVE_UP <= clock.now() - began <= (
        settings.MISSING_GIVE_UP + settings.MISSING_LAST * 2)
    worker.work(claims, lambda: False)
    assert world.status(jobid) == 'error'
    first, last = log
    assert first == 'ERROR Task "work" not found!'
    assert last.startswith(f'{first} Job {jobid} ')
    assert last.endswith('; this is final')


def test_a_task_that_comes_later_is_found(world, ran, log):
    jobid = world.add('work')
    utility = zope.component.getUtility(ITask, 'work')
    registry = zope.component.getGlobalSiteManager()
    registry.unregisterUtility(utility, ITask, 'work')
    worker = capable(world)
    assert worker.claim() is None
    provideUtility(utility, ITask, 'work')
    assert drain(worker) == 1
    # And when it goes while jobs of it are claimed.
    again = world.add('work')
    claims = worker.claim_some()
    assert [claim.jobid for claim in claims] == [again]
    registry.unregisterUtility(utility, ITask, 'work')
    worker.work(claims, lambda: False)
    assert world.status(again) == 'queued' and worker.claim() is None
    provideUtility(utility, ITask, 'work')
    assert drain(worker) == 1
    assert world.status(jobid) == world.status(again) == 'completed'
    assert log == ['ERROR Task "work" not found!'] * 2


@pytest.mark.parametrize('error', [
    RetryLater(settings.MISSING_GIVE_UP, reason='not yet'),
    OSError('no route')])
def test_once_it_has_run_its_task_was_there(
        world, ran, clock, register, error):
    """What lacked is told no more, and counts from the next time on."""
    def rest(input):
        raise error

    register(FunctionTask(rest, retry=RetryPolicy(
        base=settings.MISSING_GIVE_UP, cap=settings.MISSING_GIVE_UP)), 'work')
    jobid = world.add('work')
    worker = lacking(world)
    assert worker.claim_some() == []
    clock.advance(settings.MISSING_FIRST * 1.1)
    worker.claim_some()
    assert world.see(lambda service: service.jobs[jobid].error.type) == (
        'TaskMissing')
    able = capable(world)
    assert drain(able) == 1
    able.leave()
    told = None if isinstance(error, RetryLater) else str(error)
    assert world.see(lambda service: (found := service.jobs[jobid].error)
                     and str(found)) == told
    # The release before is back for a moment.
    clock.advance(settings.MISSING_GIVE_UP * 1.1)
    assert not any(worker.claim_some() for _ in range(2))
    assert world.status(jobid) == 'queued'


def test_many_are_set_aside_in_few_commits_and_lines(
        world, ran, clock, log):
    count = 2 * _ASIDE_JOBS + 10
    world.do(lambda service: service.addMany('work', [None] * count))
    world.add('other', 'behind them')
    worker = lacking(world)
    assert drain(worker) == 0      # it looks past some jobs, not past all
    clock.advance(settings.MISSING_FIRST)
    commits = 0
    while not (claims := worker.claim_some()):
        commits += 1
        assert commits <= 3
    worker.work(claims, lambda: False)
    assert ran == ['behind them']
    assert worker.claim() is None
    counts = world.see(lambda service: service.jobqueue.counts())
    assert (counts['missing'], counts['ready']) == (count, 0)
    assert len(log) == 1
    # From now on they hold up none that can run, nor do new ones.
    world.add('work')
    world.add('other', 'at once')
    assert drain(worker) == 1 and ran[-1] == 'at once'
    # All come back to a worker that has the task.
    assert drain(capable(world)) == count + 1


# -- what is found out by a claim ---------------------------------------------

@pytest.fixture
def module():
    """A module with a class of inputs, here; ``gone()`` takes it away."""
    class Module(types.ModuleType):
        def gone(self):
            sys.modules.pop(self.__name__, None)

        def back(self):
            sys.modules[self.__name__] = self

    module = Module('gone_one_day')
    module.Point = type('Point', (), {'__module__': 'gone_one_day'})
    module.back()
    yield module
    module.gone()


def test_an_input_of_an_unknown_class_is_left_to_others(
        world, register, module, clock, log):
    done = []

    @register
    def work(input):
        done.append(type(input).__name__)

    jobid = world.add('work', module.Point())
    sound = world.add('work', 'sound')
    world.db.cacheMinimize()
    module.gone()
    worker = capable(world)
    assert drain(worker) == 2
    assert (world.status(jobid), world.status(sound)) == (
        'queued', 'completed')
    assert drain(worker) == 0
    assert len(log) == 1 and 'no class gone_one_day.Point' in log[0]
    # To try it was no attempt: the task was not called.
    job = world.see(lambda service: (
        service.jobs[jobid].attempts, service.jobs[jobid].startedAt))
    assert job == (0, None)
    # After a while it tells so, and is tried again later.
    clock.advance(settings.MISSING_FIRST)
    assert worker.claim() is None
    assert 'no class gone_one_day.Point' in world.see(
        lambda service: service.getError(jobid))
    world.db.cacheMinimize()
    module.back()
    clock.advance(settings.MISSING_FIRST)
    assert drain(worker) == 1
    assert world.status(jobid) == 'completed'
    assert done == ['str', 'Point']
    assert world.see(lambda service: service.jobs[jobid].attempts) == 1


def test_its_place_is_kept_for_a_worker_that_has_the_class(
        world, register, module):
    done = []

    @register
    def work(input):
        done.append(type(input).__name__)

    world.add('work', module.Point())
    worker = capable(world)
    world.add('work', 'later')
    world.db.cacheMinimize()
    module.gone()
    claims = worker.claim_some()
    worker.work(claims, lambda: False)
    world.db.cacheMinimize()
    module.back()
    worker.leave()
    assert drain(capable(world)) == 2
    assert done == ['Point', 'str']


def test_direct_processing_waits_for_no_other_worker(world, module, register):
    @register
    def work(input):
        raise AssertionError('it must not run')

    jobid = world.add('work', module.Point())
    world.db.cacheMinimize()
    module.gone()
    world.do(lambda service: service.process())
    assert world.status(jobid) == 'error'
    transaction.abort()


def test_a_suspect_is_left_to_others_like_any_job(world, ran, clock, log):
    jobid = world.add('work', 'suspect')
    dead = capable(world)
    assert dead.claim().jobid == jobid
    world.dies(dead)
    worker = lacking(world)
    world.add('other', 'beside')
    before = records(world)
    assert drain(worker) == 1 and ran == ['beside']
    assert worker.claim() is None
    assert records(world)[jobid] == before[jobid]
    clock.advance(settings.MISSING_FIRST)
    assert worker.claim() is None
    assert 'No worker of this service has it' in world.see(
        lambda service: service.getError(jobid))
    claim = capable(world).claim()
    assert claim.jobid == jobid and claim.suspect
    assert log == ['ERROR Task "work" not found!']
