"""What follows a job: when it comes, with what input, and when it does not."""

import itertools
import threading
from collections import Counter

import pytest
import transaction
import zope.event
from persistent import Persistent
from zope.schema import Dict
from zope.schema import TextLine

from lovely.remotetask import payload
from lovely.remotetask import settings
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.events import JobAdded
from lovely.remotetask.events import JobFinished
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store import check
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import drain


class Kept(Persistent):
    """An output that is an object of its own."""


@pytest.fixture(autouse=True)
def tasks(register):
    """``echo`` gives its input; ``bad`` fails for good, unless told not to."""
    told = []

    def echo(input):
        told.append(input)
        return input

    def bad(input):
        if bad.fails:
            raise TaskError(f'no {input}')
        return input

    bad.fails = True
    register(FunctionTask(echo), 'echo')
    register(FunctionTask(bad), 'bad')
    echo.told, echo.bad = told, bad
    return echo


@pytest.fixture(params=['worker', 'direct', 'drain'])
def run(request, application, service):
    """Run all jobs: by a worker, by process(), and by the test kit."""
    def run():
        transaction.commit()
        if request.param == 'worker':
            processor = SimpleProcessor(application.db, ['tasks'])
            for _ in range(100):
                if not processor.processNext():
                    break
            else:
                raise AssertionError('it never ends')
        elif request.param == 'direct':
            service.process()
            transaction.commit()
        else:
            drain(service)
        transaction.begin()

    return run


def followers(service, jobid):
    return [job for job in service.jobs.values() if job.follows == jobid]


def states(job):
    return {one['on']: one['state'] for one in job.followUps}


# --- when it comes -----------------------------------------------------------

def test_what_follows_a_success_gets_the_result(service, run, tasks):
    jobid = service.add('echo', 'ice', runAs=SYSTEM, priority=2, onSuccess=(
        Call('echo', {'of': [RESULT, 1]})), onFailure='echo')
    run()
    assert tasks.told == ['ice', {'of': ['ice', 1]}]
    job, = followers(service, jobid)
    assert (job.status, job.priority, job.submitter) == (
        'completed', 2, SYSTEM)
    assert service.jobs[jobid].followUps == [
        {'on': 'success', 'task': 'echo', 'state': 'added', 'id': job.id,
         'note': None, 'behind': 0},
        {'on': 'failure', 'task': 'echo', 'state': 'off', 'id': None,
         'note': None, 'behind': 0}]


def test_what_follows_a_failure_gets_the_error(service, run, tasks):
    jobid = service.add('bad', 'ice', onSuccess=Call('echo', 'never'),
                        onFailure=Call('echo', RESULT))
    run()
    assert tasks.told == [
        {'type': 'lovely.remotetask.task.TaskError', 'message': 'no ice',
         'attempt': 1}]
    assert states(service.jobs[jobid]) == {
        'success': 'stuck', 'failure': 'added'}
    note = service.jobs[jobid].followUps[0]['note']
    assert note == ('the job before it has failed: it comes when that is '
                    'retried and completes')


def test_a_retry_that_completes_is_followed_by_the_success(
        service, run, tasks):
    jobid = service.add('bad', 1, onSuccess=Call('echo', ['done', RESULT]),
                        onFailure=Call('echo', 'failed'))
    run()
    service.retryJob(jobid)
    run()
    # Each final failure is one.
    assert tasks.told == ['failed', 'failed']
    tasks.bad.fails = False
    service.retryJob(jobid)
    run()
    assert tasks.told == ['failed', 'failed', ['done', 1]]
    assert len(followers(service, jobid)) == 3


def test_a_failure_that_is_tried_again_is_followed_by_nothing_yet(
        service, application, register, tasks):
    @register
    def shaky(input):
        raise ValueError('not yet')

    jobid = service.add('shaky', onFailure='echo')
    transaction.commit()
    SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    assert service.getStatus(jobid) == 'queued'
    assert states(service.jobs[jobid]) == {'failure': 'waits'}
    assert len(service.jobs) == 1


def test_a_cancelled_job_is_followed_by_nothing(service, run, register, tasks):
    @register
    def stops(input):
        raise CancelJob

    waiting = service.add('echo', onSuccess='echo', onFailure='echo')
    running = service.add('stops', onSuccess='echo', onFailure='echo')
    service.cancel(waiting)
    run()
    assert not tasks.told and len(service.jobs) == 2
    assert states(service.jobs[running]) == {
        'success': 'stuck', 'failure': 'off'}


def test_each_job_of_addMany_is_followed(service, run, tasks):
    service.addMany('echo', [1, 2, 3], onSuccess=Call('echo', [RESULT]))
    run()
    assert tasks.told == [1, 2, 3, [1], [2], [3]]


def test_a_call_may_wait_and_have_its_own_priority(service, run, clock, tasks):
    jobid = service.add('echo', priority=1, onSuccess=Call(
        'echo', priority=-2, delay=60))
    run()
    job, = followers(service, jobid)
    assert (job.status, job.priority) == ('delayed', -2)
    clock.advance(61)
    run()
    assert service.getStatus(job.id) == 'completed'


def test_a_call_has_the_queue_and_key_of_its_own_or_its_task(
        service, register):
    register(FunctionTask(lambda input: input, queue='heavy'), 'big')
    first = service.addChain([
        Call('echo', queue='slow', concurrencyKey='one'),
        Call('big', concurrencyKey='two', retry=2, timeout=7),
        Call('big', queue='default'), 'echo'])
    service.process()
    found, job = [], service.jobs[first]
    while job is not None:
        found.append((job.queue, job.concurrencyKey, job.retry, job.timeout))
        job = next(iter(followers(service, job.id)), None)
    assert found == [
        ('slow', 'one', None, None), ('heavy', 'two', 2, 7),
        (None, None, None, None), (None, None, None, None)]


def test_jobs_that_follow_pass_the_gates_of_limits(world, register):
    """With one key they run one after another, as added ones do."""
    running, most = [], []

    def work(input):
        key = currentJob().service.jobs[currentJob().id].concurrencyKey
        running.append(key)
        most.append(running.count('one'))
        # Others get the processor.
        pause.wait(0.002)
        running.remove(key)

    pause = threading.Event()
    register(FunctionTask(work), 'work')
    world.do(lambda service: service.addMany(
        'work', range(20), onSuccess=Call('work', concurrencyKey='one')))
    world.start(factory=MultiProcessor, maxThreads=4)
    world.until(lambda service: service.stats()['completed'] == 40)
    keys = world.see(lambda service: [
        job.concurrencyKey for job in service.jobs.values()])
    assert sorted(map(str, keys)) == ['None'] * 20 + ['one'] * 20
    assert max(most) == 1


def test_poison_is_followed_as_a_failure(world, register):
    told = []
    register(FunctionTask(lambda input: None), 'kill')
    register(FunctionTask(told.append), 'tell')
    jobid = world.add('kill', onFailure=Call('tell', RESULT))
    for _ in range(settings.POISON):
        worker = world.processor().worker
        worker.enroll()
        assert worker.claim().jobid == jobid
        world.dies(worker)
    assert world.status(jobid) == 'error'
    world.drain()
    assert [one['type'] for one in told] == ['Poison']


# --- chains ------------------------------------------------------------------

def test_a_chain_hands_each_result_on(service, run, tasks):
    first = service.addChain([
        Call('echo', 1), Call('echo', [RESULT]), 'echo',
        Call('echo', {'last': RESULT})])
    job = service.jobs[first]
    assert job.followUps[0]['behind'] == 2
    run()
    assert tasks.told == [1, [1], None, {'last': None}]
    while followers(service, job.id):
        job, = followers(service, job.id)
    assert job.input == {'last': None} and not job.followUps


def test_a_chain_stops_and_goes_on_with_a_retry(service, run, tasks):
    first = service.addChain([
        Call('echo', 1), Call('bad', RESULT), Call('echo', ['after', RESULT]),
        Call('echo', RESULT)])
    run()
    failed, = followers(service, first)
    assert tasks.told == [1] and states(failed) == {'success': 'stuck'}
    assert failed.followUps[0]['behind'] == 1
    tasks.bad.fails = False
    service.retryJob(failed.id)
    run()
    assert tasks.told == [1, ['after', 1], ['after', 1]]


def test_a_chain_that_goes_on_does_so_once(service, run, tasks):
    first = service.addChain(
        [Call('echo', 1), Call('bad', RESULT), Call('echo', ['after', RESULT])
         ], policy='continue')
    run()
    assert tasks.told == [1, ['after', None]]
    failed, = followers(service, first)
    tasks.bad.fails = False
    service.retryJob(failed.id)
    run()
    assert service.getStatus(failed.id) == 'completed'
    assert tasks.told == [1, ['after', None]]


def test_a_call_says_what_the_chain_does_not(service, run, tasks):
    service.addChain([Call('bad', 1, policy='stop'), Call('echo', 'never')],
                     policy='continue')
    service.addChain([Call('bad', 1, policy='continue'),
                      Call('echo', 'comes')])
    run()
    assert tasks.told == ['comes']


def test_the_last_call_of_a_chain_may_have_a_policy(service, run, tasks):
    service.addChain([Call('bad', 1, policy='continue'),
                      Call('echo', 2, policy='continue')])
    run()
    assert tasks.told == [2]


def test_a_long_chain_is_stored_once(service, tasks):
    service.addChain([Call('echo', 'x' * 100)] * 2 + [
        Call('echo', RESULT) for _ in range(998)])
    transaction.commit()
    for _ in range(5):
        service.processNext()
    transaction.commit()
    records = {id(job.edges[0]) for job in service.jobs.values()}
    assert len(records) == 1 and len(service.jobs) == 6


# --- what is given -----------------------------------------------------------

def test_the_input_is_no_part_of_the_output(service, register, tasks):
    """In one connection both would be one list."""
    register(FunctionTask(lambda input: [1]), 'gives')

    @register
    def changes(input):
        input['list'].append(2)

    jobid = service.add('gives', onSuccess=Call('changes', {'list': RESULT}))
    service.process()
    assert service.getResult(jobid) == [1]


def test_a_call_that_is_changed_later_is_as_it_was(service, tasks):
    input = {'a': [1]}
    service.add('echo', onSuccess=Call('echo', input))
    input['a'].append(2)
    service.process()
    assert tasks.told == [None, {'a': [1]}]


def test_a_persistent_result_stays_one_object(service, run, register, tasks):
    @register
    def makes(input):
        return Kept()

    jobid = service.add('makes', onSuccess=Call('echo', {'kept': RESULT}))
    run()
    job, = followers(service, jobid)
    assert job.input['kept']._p_oid == service.getResult(jobid)._p_oid


def test_a_large_result_has_a_record_in_each_job(service, run, tasks):
    jobid = service.add('echo', 'x' * 5000, onSuccess=Call('echo', [RESULT]))
    run()
    job, = followers(service, jobid)
    assert job.input == ['x' * 5000]


def test_a_result_that_fits_no_input_is_told(
        service, run, monkeypatch, log, tasks):
    jobid = service.add('echo', 'x' * 900, onSuccess=Call(
        'echo', [RESULT, RESULT]), onFailure='echo')
    transaction.commit()
    monkeypatch.setattr(settings, 'PAYLOAD_BYTES', 1000)
    run()
    job = service.jobs[jobid]
    assert job.status == 'completed' and len(service.jobs) == 1
    row = job.followUps[0]
    assert row['state'] == 'stuck' and row['note'].startswith(
        "task 'echo' cannot follow: its input, which holds the result, longer "
        "than 1000 bytes when pickled")
    assert len([one for one in log if one.startswith('ERROR') and (
        'what follows it is stuck' in one)]) == 1


def test_a_result_is_checked_by_the_schema_when_it_is_there(
        service, run, register, tasks):
    task = FunctionTask(tasks)
    task.inputSchema = Dict(key_type=TextLine(), value_type=TextLine())
    register(task, 'strict')
    good = service.add('echo', 'ice', onSuccess=Call('strict', {'a': RESULT}))
    bad = service.add('echo', 7, onSuccess=Call('strict', {'a': RESULT}))
    run()
    assert followers(service, good)[0].status == 'completed'
    job, = followers(service, bad)
    assert job.status == 'error' and str(job.error).startswith(
        f'the input, which holds the result of job {bad}, does not fit the '
        f'task: ')


def test_parameters_are_checked_then_too(service, run, register):
    def takes(first, second=2):
        return first + second

    register(FunctionTask(takes), 'takes')
    right = service.add('echo', 1, onSuccess=Call('takes', {'first': RESULT}))
    wrong = service.add('echo', {'third': 3}, onSuccess=Call('takes', RESULT))
    run()
    assert followers(service, right)[0].output == 3
    job, = followers(service, wrong)
    assert job.status == 'error' and 'third' in str(job.error)


def test_what_follows_may_be_lost_and_the_job_ends(
        application, service, lose_record, tasks):
    jobid = service.add('echo', 1, onSuccess=Call('echo', 'x' * 5000),
                        onFailure=Call('echo', 'y' * 5000))
    transaction.commit()
    record = payload.unwrap(service.jobs[jobid].edges[0])[0][1]
    lose_record(application.db.storage, record._p_oid)
    application.db.cacheMinimize()
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    job = service.jobs[jobid]
    assert job.status == 'completed' and len(service.jobs) == 1
    row = job.followUps[0]
    assert row['state'] == 'stuck'
    assert row['note'].startswith('what follows cannot be read: POSKeyError')


# --- schedules ---------------------------------------------------------------

def test_each_run_of_a_schedule_is_followed(service, run, clock, tasks):
    jobid = service.addCronJob('echo', 'x', every=3600,
                               onSuccess=Call('echo', [RESULT]))
    for count in (1, 2):
        clock.advance(3601)
        run()
        assert Counter(map(str, tasks.told)) == {
            'x': count, "['x']": count}
    job = service.jobs[jobid]
    assert job.status == 'cronjob'
    latest = max(followers(service, jobid), key=lambda job: job.createdAt)
    assert job.followUps[0]['id'] == latest.id


def test_a_run_beside_another_is_followed_too(service, runs, clock, register):
    told = []
    register(FunctionTask(told.append), 'tell')
    jobid = service.addCronJob('work', every=60, overlap='allow',
                               onSuccess=Call('tell', 1))
    transaction.commit()
    clock.advance(61)
    runs.during = [lambda: clock.advance(61), service.process]
    service.process()
    assert len(runs) == 2 and len(told) == 2
    assert {job.schedule for job in service.jobs.values()} == {None, jobid}


def test_an_update_changes_what_follows(service, clock, tasks):
    def schedule(**options):
        return service.addCronJob('echo', 'x', every=60, key='k',
                                  onDuplicate='update', **options)

    jobid = schedule(onSuccess=Call('echo', {'big': 'y' * 3000}))
    transaction.commit()
    before = service.jobs[jobid]._p_serial
    assert schedule(onSuccess=Call('echo', {'big': 'y' * 3000})) == jobid
    transaction.commit()
    assert service.jobs[jobid]._p_serial == before
    schedule(onSuccess=Call('echo', 'other'))
    clock.advance(61)
    service.process()
    assert tasks.told == ['x', 'other']
    schedule()
    assert service.jobs[jobid].followUps == []


# --- in one commit -----------------------------------------------------------

def test_it_is_part_of_the_transaction_of_the_add(service, tasks):
    service.add('echo', onSuccess=Call('echo', Kept()))
    transaction.abort()
    assert not len(service.jobs)
    service.add('echo', 1)
    savepoint = transaction.savepoint()
    service.add('echo', 2, onSuccess='echo')
    savepoint.rollback()
    service.process()
    assert tasks.told == [1]


def test_it_is_part_of_the_commit_that_ends_the_job(
        application, service, tasks):
    """Who sees one as completed sees the other one."""
    jobid = service.add('echo', onSuccess='echo')
    transaction.commit()
    SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    job, = followers(service, jobid)
    assert job._p_serial == service.jobs[jobid]._p_serial
    assert job.status == 'queued'


def test_a_finish_that_fails_leaves_nothing(application, service, tasks):
    def fail(event):
        if isinstance(event, JobFinished):
            raise TaskError('by a subscriber')

    jobid = service.add('echo', onSuccess='echo', onFailure=Call('echo', 'f'))
    transaction.commit()
    zope.event.subscribers.append(fail)
    try:
        SimpleProcessor(application.db, ['tasks']).processNext()
    finally:
        zope.event.subscribers.remove(fail)
    transaction.begin()
    job, = followers(service, jobid)
    assert service.getStatus(jobid) == 'error' and job.input == 'f'


def test_subscribers_hear_of_it_as_of_an_add(service, run, tasks):
    heard = []

    def hear(event):
        if isinstance(event, JobAdded):
            heard.append((event.job.id, event.job.follows))

    jobid = service.add('echo', onSuccess='echo')
    zope.event.subscribers.append(hear)
    try:
        run()
    finally:
        zope.event.subscribers.remove(hear)
    job, = followers(service, jobid)
    assert heard == [(job.id, jobid)]


# --- after a long run --------------------------------------------------------

@pytest.fixture
def long_runs(monkeypatch):
    """Each run counts as a long one, with an old snapshot."""
    monkeypatch.setattr('lovely.remotetask.run.executor._CHAIN_SECONDS', 0.0)


def test_a_long_run_is_followed(service, long_runs, clock, tasks):
    service.addChain([Call('echo', 1), Call('echo', [RESULT]),
                      Call('echo', [RESULT], delay=60), 'echo'])
    transaction.commit()
    drain(service)
    assert tasks.told == [1, [1]]
    drain(service, until=clock.now() + 61)
    assert tasks.told == [1, [1], [[1]], None]
    assert not any(slot.claims.held
                   for slot in service.jobqueue.slots.values())


def test_a_long_run_is_not_undone_by_other_adds(
        application, service, long_runs, register, tasks):
    """Lanes that have split since its snapshot conflict with each write."""
    calls = []

    @register
    def long(input):
        calls.append(input)
        manager = transaction.TransactionManager()
        connection = application.db.open(manager)
        other = connection.get(service._p_oid)
        for _ in range(12):
            # Each lane gets more than a bucket holds.
            other.addMany('echo', [0] * 1000)
            manager.commit()
        connection.close()

    jobid = service.add('long', priority=3, onSuccess=Call('echo', 'after'))
    transaction.commit()
    assert SimpleProcessor(application.db, ['tasks']).processNext()
    transaction.begin()
    assert service.getStatus(jobid) == 'completed' and len(calls) == 1
    job, = followers(service, jobid)
    assert service.jobqueue.ready.holds(job.position[1], job.id)


@pytest.fixture
def never_placed(monkeypatch, long_runs):
    """The process is killed behind the commit that ends a long run."""
    monkeypatch.setattr(
        'lovely.remotetask.run.followers.Followers.place',
        lambda self, slot: None)


def test_one_that_a_killed_worker_held_comes(world, never_placed, register):
    told = []
    register(FunctionTask(told.append), 'tell')
    jobid = world.add('tell', 1, onSuccess=Call('tell', 2))
    worker = world.processor().worker
    worker.enroll()
    worker.run(worker.claim())
    follower = world.see(lambda service: service.jobs[jobid].followed[0])
    assert world.status(follower) == 'queued'
    # It stands in no lane; that is no fault, and is not mended.
    assert world.see(lambda service: check.verdict(
        service.jobqueue, follower, service.clock.now())) is None
    world.dies(worker)
    world.drain()
    assert told == [1, 2] and world.status(follower) == 'completed'


def test_the_next_claim_places_it_too(world, never_placed, register):
    told = []
    register(FunctionTask(told.append), 'tell')
    world.add('tell', 1, onSuccess=Call('tell', 2))
    processor = world.processor()
    assert processor.processNext()
    # There is no other job to claim.
    assert processor.processNext() and told == [1, 2]


@pytest.mark.parametrize('do, ends', [
    (lambda service, jobid: service.cancel(jobid), 'cancelled'),
    (lambda service, jobid: service.processNext(jobid=jobid, force=True),
     'completed'),
    (lambda service, jobid: service.startNow(jobid), 'completed'),
    (lambda service, jobid: service.jobs.pop(jobid), None),
])
def test_what_happens_to_it_before_it_is_placed_counts(
        world, never_placed, register, do, ends):
    told = []
    register(FunctionTask(told.append), 'tell')
    jobid = world.add('tell', 1, onSuccess=Call('tell', 2))
    processor = world.processor()
    assert processor.processNext()
    follower = world.see(lambda service: service.jobs[jobid].followed[0])
    world.do(lambda service: do(service, follower))
    world.drain()
    assert told == ([1, 2] if ends == 'completed' else [1])
    if ends:
        assert world.status(follower) == ends


# --- what is refused ---------------------------------------------------------

def cycle():
    first = Call('echo')
    second = Call('echo', onFailure=first)
    object.__setattr__(first, 'onSuccess', second)
    return first


def long_chain(length):
    call = Call('echo')
    for _ in range(length - 1):
        call = Call('echo', onSuccess=call)
    return call


@pytest.mark.parametrize('follows, error, text', [
    ('nothing', ValueError, 'Task does not exist'),
    (7, UsageError, "onSuccess is 7; give a Call, the name of a task or a "
                    "decorated function"),
    (Call('echo', onFailure=['echo']), UsageError,
     "onSuccess.onFailure is ['echo']; give a Call"),
    (cycle(), UsageError, "<Call 'echo'> follows itself"),
    (long_chain(1001), UsageError, 'more than 1000 calls follow one job'),
    (Call('echo', lambda: 1), InputRejected, "the input for task 'echo' "
                                             "cannot be pickled"),
    (Call('echo', {RESULT: 1}), InputRejected, 'contains RESULT where'),
    (Call('echo', [RESULT, lambda: 1]), InputRejected, 'cannot be pickled'),
    (Call('echo', priority=9), UsageError, 'priority is 9'),
    (Call('echo', delay=-1), Exception, 'delay'),
    (Call('echo', policy='go'), UsageError, "policy is 'go'; one of 'stop', "
                                            "'continue'"),
    (Call('echo', policy='continue'), UsageError, 'policy says what'),
])
def test_what_cannot_follow_is_refused(service, follows, error, text):
    with pytest.raises(error) as refused:
        service.add('echo', onSuccess=follows)
    assert text in str(refused.value)
    transaction.commit()
    assert not len(service.jobs)


def test_the_error_names_the_call(service):
    with pytest.raises(ValueError) as refused:
        service.add('echo', onSuccess=Call('echo', onFailure='nothing'))
    assert refused.value.__notes__ == [
        "this is about onSuccess.onFailure, task 'nothing'"]
    with pytest.raises(ValueError) as refused:
        service.addChain([*['echo'] * 500, 'nothing'])
    assert refused.value.__notes__ == [
        "this is about calls[500], task 'nothing'"]


def test_the_longest_chain_is_added(service):
    service.add('echo', onSuccess=long_chain(1000))
    service.process()
    assert service.stats()['completed'] == 1001


@pytest.mark.parametrize('calls, text', [
    ([], 'calls is empty'),
    ('echo', "calls is 'echo'; give a list"),
    ([Call('echo', onSuccess='echo'), 'echo'], 'calls[0] has an onSuccess'),
    (['echo', 3], 'calls[1] is 3'),
    (5, 'calls is 5; give a list'),
    ({'echo': 1}, 'give a list'),
    (itertools.repeat('echo'), 'a chain has at most 1001 calls'),
])
def test_what_is_no_chain_is_refused(service, calls, text):
    with pytest.raises(UsageError) as refused:
        service.addChain(calls)
    assert text in str(refused.value) and not len(service.jobs)


def test_a_result_has_no_place_in_a_first_job(service):
    for add in (lambda: service.add('echo', [RESULT]),
                lambda: service.addMany('echo', [1, RESULT]),
                lambda: service.addChain([Call('echo', RESULT)]),
                lambda: service.addGroup([Call('echo', RESULT)])):
        with pytest.raises(InputRejected, match='contains RESULT'):
            add()
    assert not len(service.jobs)
