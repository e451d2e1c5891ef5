"""What becomes of checkpoints and steps: retries, ends, bounds, misuse."""

import threading

import pytest
import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component import provideUtility

from lovely.remotetask import settings
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import JobTimeout
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors import WorkerStopping
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.payload import INLINE_BYTES
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run import checkpoints
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


class Fruit(Persistent):
    """A class that no plain data has."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f'Fruit({self.name!r})'


@pytest.fixture
def task(components):
    """Registers ``function(context, input)`` as a task that is tried again at
    once; its options."""
    again = RetryPolicy(9, base=0)

    def task(function, name='works', retry=again, **options):
        provideUtility(FunctionTask(
            lambda service, jobid, input: function(currentJob(), input),
            retry=retry, **options), ITask, name)
        return function

    return task


def cursor_of(world, jobid):
    def look(service):
        record = service.jobs[jobid].checkpoint
        return None if record is None else record.cursor()

    return world.see(look)


def job_of(world, jobid, *names):
    return world.see(lambda service: tuple(
        getattr(service.jobs[jobid], name) for name in names))


def error_of(world, jobid):
    return world.see(lambda service: service.getError(jobid))


# -- where the next attempt begins --------------------------------------------

def test_an_attempt_after_an_exception_goes_on_from_the_cursor(world, task):
    seen = []

    @task
    def works(job, input):
        seen.append((job.attempt, job.cursor))
        for item in range(job.cursor or 0, 3):
            world.effect(job.service, item)
            job.checkpoint(item + 1)
            if job.attempt == 1:
                world.effect(job.service, 'lost')
                raise ValueError(item)

    jobid = world.add('works')
    world.drain()
    assert seen == [(1, None), (2, 1)]
    assert world.effects() == {0: 1, 1: 1, 2: 1}
    assert job_of(world, jobid, 'status', 'checkpoint') == ('completed', None)


def test_a_failed_job_keeps_its_cursor_and_begins_anew_on_demand(world, task):
    seen = []

    @task
    def works(job, input):
        seen.append((job.cursor, job.step('one', str, len(seen))))
        job.checkpoint('here')
        raise TaskError('no')

    jobid = world.add('works')
    world.drain()
    for anew in (False, True):
        assert cursor_of(world, jobid) == 'here'
        world.do(lambda service: service.retryJob(
            jobid, anew=anew))  # noqa: B023
        assert cursor_of(world, jobid) == (None if anew else 'here')
        world.drain()
    assert seen == [(None, '0'), ('here', '0'), (None, '2')]


@pytest.mark.parametrize('anew', ['yes', 1, None])
def test_anew_is_true_or_false(world, task, anew):
    @task
    def works(job, input):
        raise TaskError('no')

    jobid = world.add('works')
    world.drain()
    with pytest.raises(UsageError, match='anew is .*; give True or False'):
        world.do(lambda service: service.retryJob(jobid, anew=anew))
    assert world.status(jobid) == 'error'


def test_the_next_run_of_a_schedule_begins_at_the_beginning(
        world, task, clock):
    seen, fails = [], [False, True, False]

    @task
    def works(job, input):
        seen.append(job.cursor)
        job.checkpoint(len(seen))
        if fails[len(seen) - 1:][:1] == [True]:
            raise TaskError('no')

    jobid = world.do(lambda service: service.addCronJob('works', minute=(0,)))
    for runs in range(1, 4):
        clock.advance(3600)
        world.drain()
        assert len(seen) == runs
        # A run that failed can be retried, and goes on then.
        assert cursor_of(world, jobid) == (2 if runs == 2 else None)
    assert seen == [None, None, None]


def test_a_failed_run_of_a_schedule_goes_on_by_a_retry(world, task, clock):
    seen = []

    @task
    def works(job, input):
        seen.append(job.cursor)
        job.checkpoint('here')
        if len(seen) == 1:
            raise TaskError('no')

    jobid = world.do(lambda service: service.addCronJob('works', minute=(0,)))
    clock.advance(3600)
    world.drain()
    world.do(lambda service: service.retryJob(jobid))
    world.drain()
    assert seen == [None, 'here']
    assert cursor_of(world, jobid) is None


def test_a_stopping_worker_gives_the_job_back_at_its_next_checkpoint(
        world, task):
    """Nothing is lost, and nothing is charged."""
    begun, raised = [], []
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)

    @task
    def works(job, input):
        for item in range(job.cursor or 0, 3):
            begun.append(item)
            world.effect(job.service, item)
            if item == 1 and len(begun) == 2:
                worker.stopping.set()
            try:
                job.checkpoint(item + 1)
            except WorkerStopping as error:
                raised.append(error)
                raise

    jobid = world.add('works')
    worker.run(worker.claim())
    assert len(raised) == 1
    assert job_of(world, jobid, 'status', 'failures', 'interruptions') == (
        'queued', 0, 0)
    assert cursor_of(world, jobid) == 2
    world.drain()
    assert begun == [0, 1, 2] and world.effects() == {0: 1, 1: 1, 2: 1}


def test_a_stopping_worker_gives_the_job_back_after_a_step(world, task):
    calls = []
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)

    def step(name):
        calls.append(name)
        worker.stopping.set()
        return name

    @task
    def works(job, input):
        return [job.step('a', step, 'a'), job.step('b', step, 'b')]

    jobid = world.add('works')
    worker.run(worker.claim())
    assert (calls, world.status(jobid)) == (['a'], 'queued')
    world.drain()
    assert calls == ['a', 'b']
    assert world.see(lambda service: service.getResult(jobid)) == ['a', 'b']


def test_a_run_over_its_limit_keeps_what_its_checkpoint_has_committed(
        world, task, monkeypatch):
    @task
    def works(job, input):
        world.effect(job.service, 'stored')
        job._until = 0.0            # the time limit passes
        job.checkpoint('here')
        raise AssertionError('not reached')

    task(works, retry=None)
    jobid = world.add('works')
    world.drain()
    assert error_of(world, jobid).startswith(JobTimeout.__name__) or (
        'longer than its limit' in error_of(world, jobid))
    assert job_of(world, jobid, 'status') == ('error',)
    assert world.effects() == {'stored': 1}
    assert cursor_of(world, jobid) == 'here'


# -- interruptions ------------------------------------------------------------

def killed(world, jobid, times):
    """Run the job by a worker that dies after each time; the deaths that it
    took until the job was over."""
    for count in range(1, times + 1):
        worker = world.processor().worker
        worker.enroll(PROCESSOR, 1)
        claim = worker.claim()
        assert claim.jobid == jobid
        killed.worker = worker
        worker.run(claim)
        if world.status(jobid) in ('completed', 'error'):
            return count
    return None


def test_deaths_with_a_checkpoint_between_are_taken_back(world, task):
    most = 4 * settings.POISON

    @task
    def works(job, input):
        for item in range(job.cursor or 0, most):
            world.effect(job.service, item)
            job.checkpoint(item + 1)
            world.dies(killed.worker)

    jobid = world.add('works')
    # The one that finds nothing left to do ends it.
    assert killed(world, jobid, most + 1) == most + 1
    assert world.status(jobid) == 'completed'
    assert world.effects() == dict.fromkeys(range(most), 1)


def test_deaths_without_a_checkpoint_between_end_the_job_as_poison(
        world, task):
    @task
    def works(job, input):
        if job.cursor is None:
            job.checkpoint(1)
        world.dies(killed.worker)

    jobid = world.add('works')
    assert killed(world, jobid, 50) == settings.POISON
    assert error_of(world, jobid).startswith('poison: ')


def test_a_job_that_kills_its_worker_after_each_checkpoint_ends_as_poison(
        world, task, monkeypatch):
    """It makes progress; but it would kill 10,000 workers."""
    monkeypatch.setattr(settings, 'POISON', 2)

    @task
    def works(job, input):
        job.checkpoint((job.cursor or 0) + 1)
        world.dies(killed.worker)

    jobid = world.add('works')
    # Ten times as many are taken back.
    assert killed(world, jobid, 100) == 2 * 10 + 2
    assert error_of(world, jobid).startswith('poison: ')


# -- what is stored -----------------------------------------------------------

LARGE = 'x' * (INLINE_BYTES + 1)


VALUES = {
    'plain': lambda: {'rows': [1, 2]}, 'large': lambda: [1, LARGE],
    'persistent': lambda: [Fruit('plum')], 'bytes': lambda: b'bytes',
    'tuple': lambda: ('a', None, 1.5, b'bytes', True), 'set': lambda: {1, 2}}


@pytest.mark.parametrize('kind', VALUES)
@pytest.mark.parametrize('way', ['cursor', 'step'])
def test_what_a_task_does_to_a_value_later_is_not_stored(
        world, task, kind, way):
    """Neither by the next checkpoint, nor in the cache of the connection."""
    seen, value = [], VALUES[kind]()

    def change(found):
        if isinstance(found, list):
            found.append('changed')
        elif isinstance(found, dict):
            found['rows'].append('changed')
        elif isinstance(found, set):
            found.add('changed')

    @task
    def works(job, input):
        if way == 'cursor':
            if job.cursor is None:
                job.checkpoint(value)
            change(value)
            change(job.cursor)
            found = job.cursor
        else:
            change(job.step('it', lambda: value))
            job.step('other', int)
            found = job.step('it', lambda: 1 / 0)
        seen.append(repr(found))
        if len(seen) == 1:
            raise ValueError('once more')
        if len(seen) == 2:
            raise TransientError('a conflict, on the same connection')

    before = repr(VALUES[kind]())
    world.add('works')
    world.drain()
    assert seen == [before] * 3


def test_a_large_cursor_keeps_one_record(world, task):
    oids = []

    @task
    def works(job, input):
        for item in range(3):
            job.checkpoint([item, LARGE])
            oids.append(job._job.checkpoint._cursor._p_oid)
            assert job.cursor == [item, LARGE]
        job.checkpoint('short')
        assert job.cursor == 'short'

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert len(set(oids)) == 1 and oids[0] is not None


@pytest.mark.parametrize('way', ['cursor', 'step'])
@pytest.mark.parametrize('value, reason', [
    (threading.Lock(), 'cannot be pickled'),
    ('x' * 3000, 'longer than 2500 bytes')], ids=['lock', 'long'])
def test_what_cannot_be_stored_ends_the_job_and_stores_nothing(
        world, task, monkeypatch, way, value, reason):
    monkeypatch.setattr(settings, 'PAYLOAD_BYTES', 2500)

    @task
    def works(job, input):
        world.effect(job.service, 'lost')
        if way == 'cursor':
            job.checkpoint(value)
        else:
            job.step('it', lambda: value)

    jobid = world.add('works')
    assert world.drain() == 1       # another attempt would meet it again
    subject = {'cursor': 'the cursor', 'step': "the result of step 'it'"}[way]
    assert f'{subject} cannot be stored: {reason}' in error_of(world, jobid)
    assert world.effects() == {} and cursor_of(world, jobid) is None


def test_a_cursor_whose_class_is_gone_leaves_the_job_to_others(
        world, task, monkeypatch):
    seen = []

    @task
    def works(job, input):
        seen.append(1)
        if len(seen) == 1:
            job.checkpoint(Plum())
            raise ValueError('once more')
        seen.append(job.cursor.name)

    jobid = world.add('works')
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    worker.run(worker.claim())
    monkeypatch.delattr(f'{__name__}.Plum')
    world.db.cacheMinimize()
    assert world.drain() >= 1
    assert job_of(world, jobid, 'status', 'failures') == ('queued', 1)


class Plum:
    name = 'plum'


def test_a_lost_checkpoint_ends_the_job_until_it_begins_anew(
        world, task, lose_record):
    seen = []

    @task
    def works(job, input):
        seen.append(job.cursor)
        job.checkpoint('here')
        if len(seen) == 1:
            raise TaskError('once more')

    jobid = world.add('works')
    world.drain()
    oid = world.see(lambda service: service.jobs[jobid].checkpoint._p_oid)
    lose_record(world.db.storage, oid)
    world.db.cacheMinimize()
    world.do(lambda service: service.retryJob(jobid))
    world.drain()
    assert 'cannot load the cursor: POSKeyError' in error_of(world, jobid)
    world.do(lambda service: service.retryJob(jobid, anew=True))
    world.drain()
    assert (world.status(jobid), seen) == ('completed', [None, None])


# -- steps --------------------------------------------------------------------

def test_a_step_that_fails_leaves_nothing_also_where_its_task_goes_on(
        world, task):
    def fails(service):
        world.effect(service, 'lost')
        raise KeyError('no')

    @task
    def works(job, input):
        world.effect(job.service, 'before')
        with pytest.raises(KeyError):
            job.step('bad', fails, job.service)
        job.step('good', world.effect, job.service, 'good')
        with pytest.raises(KeyError):
            # There is no result of it.
            job.step('bad', fails, job.service)

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert world.effects() == {'before': 1, 'good': 1}


def test_a_step_that_cannot_be_undone_lets_nothing_more_be_committed(
        world, task, without_savepoints):
    def fails(service):
        world.effect(service, 'lost')
        raise KeyError('no')

    @task
    def works(job, input):
        transaction.get().join(without_savepoints())
        with pytest.raises(KeyError):
            job.step('bad', fails, job.service)
        job.step('good', int)

    task(works, retry=RetryPolicy(0))
    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'error'
    assert world.effects() == {} and cursor_of(world, jobid) is None


@pytest.mark.parametrize('inner', ['checkpoint', 'step', 'commit'])
def test_a_step_is_one_commit(world, task, inner):
    raised = []

    def within(job):
        world.effect(job.service, 'lost')
        try:
            if inner == 'checkpoint':
                job.checkpoint(1)
            elif inner == 'step':
                job.step('inner', int)
            else:
                transaction.commit()
        except UsageError as error:
            raised.append(str(error))
            raise

    @task
    def works(job, input):
        job.step('outer', within, job)

    task(works, retry=RetryPolicy(0))
    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'error'
    assert len(raised) == 1 and "step 'outer'" in raised[0]
    assert world.effects() == {}


def test_a_name_that_was_used_gives_its_result_again(world, task):
    @task
    def works(job, input):
        return [job.step('it', str, 1), job.step('it', str, 2),
                job.step('named', dict, name='a', function='b')]

    jobid = world.add('works')
    world.drain()
    assert world.see(lambda service: service.getResult(jobid)) == [
        '1', '1', {'name': 'a', 'function': 'b'}]


def test_a_step_that_gives_none_is_not_called_again(world, task):
    calls = []

    @task
    def works(job, input):
        job.step('it', lambda: calls.append(1))
        if job.attempt == 1:
            raise ValueError('once more')

    world.add('works')
    world.drain()
    assert calls == [1]


@pytest.mark.parametrize('name', ['', 'x' * 201, None, 5, b'it'], ids=repr)
def test_the_name_of_a_step_is_a_text(world, task, name):
    calls = []

    @task
    def works(job, input):
        with pytest.raises(UsageError, match='1 to 200 characters'):
            job.step(name, calls.append, 1)

    jobid = world.add('works')
    world.drain()
    assert (world.status(jobid), calls) == ('completed', [])


def test_a_step_is_a_function(world, task):
    @task
    def works(job, input):
        with pytest.raises(UsageError, match="function of step 'it' is 5"):
            job.step('it', 5)

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed'


def test_a_job_has_no_more_steps_than_can_be(world, task, monkeypatch):
    monkeypatch.setattr(checkpoints, 'MOST_STEPS', 3)
    calls = []

    @task
    def works(job, input):
        for name in '123':
            job.step(name, calls.append, name)
        with pytest.raises(UsageError, match='has 3 steps, and'):
            job.step('4', calls.append, '4')
        job.step('3', calls.append, 'not again')

    jobid = world.add('works')
    world.drain()
    assert (world.status(jobid), calls) == ('completed', ['1', '2', '3'])


# -- transactions -------------------------------------------------------------

def test_the_task_sees_what_others_have_committed_after_a_checkpoint(
        world, task):
    seen = []

    @task
    def works(job, input):
        effects = job.service._p_jar.root()[world.path[0]]['effects']
        seen.append(dict(effects))
        world.do(lambda service: world.effect(service, 'other'))
        seen.append(dict(effects))
        job.checkpoint(1)
        seen.append(dict(effects))

    world.add('works')
    world.drain()
    assert seen == [{}, {}, {'other': 1}]


@pytest.mark.parametrize('end', [transaction.commit, transaction.abort])
def test_a_checkpoint_after_the_task_has_ended_its_transaction(
        world, task, end):
    @task
    def works(job, input):
        world.effect(job.service, 'one')
        end()
        world.effect(job.service, 'two')
        job.checkpoint(1)
        assert job.cursor == 1

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert world.effects() == {
        'two': 1, **({'one': 1} if end is transaction.commit else {})}


def test_a_task_that_swallows_a_failed_checkpoint_does_not_complete(
        world, task):
    """Half of its effects are gone; the rest must not be stored."""
    class Refuses:
        transaction_manager = transaction.manager

        def sortKey(self):
            return 'refuses'

        def abort(self, txn):
            pass

        def tpc_vote(self, txn):
            raise RuntimeError('refused')

        tpc_begin = commit = tpc_finish = tpc_abort = abort

    raised = []

    @task
    def works(job, input):
        world.effect(job.service, 'lost')
        transaction.get().join(Refuses())
        for call in (lambda: job.checkpoint(1), lambda: job.checkpoint(2),
                     lambda: job.step('it', int)):
            with pytest.raises(RuntimeError) as info:
                call()
            raised.append(info.value)
        transaction.abort()
        world.effect(job.service, 'after')

    task(works, retry=RetryPolicy(0))
    jobid = world.add('works')
    world.drain()
    assert len({id(error) for error in raised}) == 1 and len(raised) == 3
    assert 'refused' in error_of(world, jobid)
    assert world.effects() == {} and cursor_of(world, jobid) is None


def test_an_error_behind_a_conflict_that_was_swallowed_is_not_charged(
        world, task):
    """The effects of the checkpoint are gone, and so the task fails."""
    runs = []

    @task
    def works(job, input):
        runs.append(job.attempt)
        world.effect(job.service, 'mine')
        if len(runs) == 1:
            world.do(lambda service: world.effect(service, 'mine'))
            with pytest.raises(ConflictError):
                job.checkpoint('here')
            raise KeyError('mine')

    task(works, retry=NO_RETRY)
    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert runs == [1, 1] and world.effects() == {'mine': 2}


def test_a_task_that_cancels_its_job_commits_that_and_gets_no_further(
        world, task):
    raised = []

    @task
    def works(job, input):
        world.effect(job.service, 'stored')
        job.service.cancel(job.id)
        job.checkpoint(1)
        world.effect(job.service, 'lost')
        with pytest.raises(LeaseLost) as info:
            job.checkpoint(2)
        raised.append(info.value)

    jobid = world.add('works')
    world.drain()
    assert len(raised) == 1
    assert world.status(jobid) == 'cancelled'
    assert world.effects() == {'stored': 1}


def test_a_deleted_job_has_no_checkpoint(world, task):
    raised = []

    @task
    def works(job, input):
        def delete(service):
            del service.jobs[job.id]

        world.do(delete)
        job.checkpoint(1)       # its snapshot does not show it yet
        with pytest.raises(LeaseLost, match='was deleted') as info:
            job.checkpoint(2)
        raised.append(info.value)

    world.add('works')
    world.drain()
    assert len(raised) == 1


def test_only_the_thread_of_the_run_may_ask(world, task):
    errors = []

    @task
    def works(job, input):
        def other():
            for call in (lambda: job.cursor, lambda: job.checkpoint(1),
                         lambda: job.step('it', int)):
                try:
                    call()
                except UsageError as error:
                    errors.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(DEADLINE)

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed'
    assert len(errors) == 3
    assert all('runs in another thread' in text for text in errors)
    assert cursor_of(world, jobid) is None


def test_a_context_that_a_task_keeps_commits_nothing_after_the_run(
        world, task):
    kept = []

    @task
    def works(job, input):
        kept.append(job)

    world.add('works')
    world.drain()
    for call in (lambda: kept[0].checkpoint(1),
                 lambda: kept[0].step('it', int)):
        with pytest.raises(UsageError, match='the run of this job is over'):
            call()


def test_a_hook_sees_the_cursor_of_a_failed_run_and_writes_none(
        world, task):
    seen = []

    def on_error(context, error):
        seen.append(context.cursor)
        with pytest.raises(UsageError, match='is over'):
            context.checkpoint('hook')

    @task
    def works(job, input):
        job.checkpoint('here')
        raise TaskError('no')

    task(works, on_error=on_error)
    jobid = world.add('works')
    world.drain()
    assert seen == ['here'] and cursor_of(world, jobid) == 'here'


# -- jobs that share a commit -------------------------------------------------

@pytest.mark.parametrize('swallows', [False, True])
@pytest.mark.parametrize('way', ['checkpoint', 'step'])
def test_a_groupable_job_with_checkpoints_runs_alone(
        world, task, patient, way, swallows):
    """And a step of it is called once, also while it is found out."""
    calls = []

    def act(job, number):
        if way == 'checkpoint':
            job.checkpoint(number)
        else:
            job.step('it', calls.append, number)

    @task
    def works(job, number):
        world.effect(job.service, number)
        try:
            act(job, number)
        except Exception:
            if not swallows:
                raise

    task(works, groupable=True)
    jobs = [world.add('works', number) for number in range(5)]
    world.drain()
    assert [world.status(jobid) for jobid in jobs] == ['completed'] * 5
    assert world.effects() == dict.fromkeys(range(5), 1)
    assert sorted(calls) == ([] if way == 'checkpoint' else [*range(5)])


# -- what follows, limits -----------------------------------------------------

def test_what_follows_a_job_comes_once_and_after_its_last_attempt(
        world, task, ran):
    """Also what is asked for while the job is between two checkpoints."""
    @task
    def works(job, input):
        for item in range(job.cursor or 0, 3):
            world.effect(job.service, item)
            job.checkpoint(item + 1)
            if item == 1:
                raise ValueError('once more')

    jobid = world.do(lambda service: service.add(
        'works', onSuccess='note', retry=RetryPolicy(3, base=0)))
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert len(ran) == 1
    assert world.effects() == {0: 1, 1: 1, 2: 1}


def test_a_limit_holds_while_a_job_has_checkpoints(world, task):
    seen = []

    @task
    def works(job, input):
        for item in range(3):
            job.checkpoint(item)
            seen.append(world.see(
                lambda service: service.stats()['processing']))

    task(works, limit=1)
    jobs = [world.add('works') for _ in range(3)]
    world.start()
    world.start()
    assert world.until_over(*jobs) == ['completed'] * 3
    assert seen == [1] * 9


# -- direct processing --------------------------------------------------------

@pytest.fixture
def here(world):
    """The service on a connection of this thread."""
    connection = world.db.open()
    yield world.service(connection)
    transaction.abort()
    connection.close()


def test_a_direct_run_commits_nothing(world, task, here):
    seen = []

    @task
    def works(job, input):
        world.effect(job.service, 'one')
        job.checkpoint('here')
        seen.append((job.cursor, job.step('it', str, 5), job.step('it', int),
                     world.effects()))
        raise TaskError('no')

    jobid = here.add('works')
    transaction.commit()
    here.process()
    assert seen == [('here', '5', '5', {})]
    # The run has failed: all that it did is undone.
    assert here.jobs[jobid].checkpoint is None
    transaction.abort()
    assert here.getStatus(jobid) == 'queued'


def test_a_direct_run_goes_on_from_what_a_worker_has_committed(
        world, task, here):
    seen = []

    @task
    def works(job, input):
        seen.append((job.cursor, job.step('it', str, len(seen))))
        job.checkpoint('here')
        if len(seen) == 1:
            raise ValueError('no')

    jobid = world.add('works')
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 1)
    worker.run(worker.claim())
    transaction.begin()
    here.processNext(jobid=jobid, force=True)
    transaction.commit()
    assert seen == [(None, '0'), ('here', '0')]
    assert here.jobs[jobid].checkpoint is None


def test_a_job_that_is_run_by_a_task_commits_nothing(world, task):
    """That would store half of what the outer run does."""
    seen = []

    @task
    def inner(job, input):
        job.checkpoint('inner')
        job.step('it', int)
        seen.append(world.effects())

    task(inner, name='inner')

    @task
    def works(job, input):
        world.effect(job.service, 'outer')
        inner_id = job.service.add('inner')
        job.service.processNext(jobid=inner_id)
        job.checkpoint('outer')

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert seen == [{}]


def test_the_records_of_an_ended_job_are_left_to_a_pack(world, task):
    """Nothing refers to them, and the job's record stays as short."""
    @task
    def works(job, input):
        if input:
            job.checkpoint([LARGE])
            job.step('it', lambda: LARGE)

    plain, long = world.add('works', False), world.add('works', True)
    world.drain()

    def size(service, jobid):
        return len(service._p_jar.db().storage.load(
            service.jobs[jobid]._p_oid)[0])

    sizes = world.see(lambda service: (
        size(service, plain), size(service, long)))
    assert abs(sizes[0] - sizes[1]) < 5


def test_a_persistent_object_of_a_cursor_is_that_of_the_connection(
        world, task):
    @task
    def works(job, input):
        root = job.service._p_jar.root()
        folder = root['folder'] = PersistentMapping()
        job.checkpoint([folder])
        assert job.cursor[0] is folder
        folder['a'] = 1
        job.checkpoint([folder])

    jobid = world.add('works')
    world.drain()
    assert world.status(jobid) == 'completed', error_of(world, jobid)
    assert world.see(lambda service: service._p_jar.root()['folder']['a']) == 1
