"""Groups of jobs, and what comes after all of them: once, and not too early.
"""

import threading

import pytest
import transaction
import zope.event

from lovely.remotetask.errors import GroupNotFound
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.events import JobAdded
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store import batches
from lovely.remotetask.store import check
from lovely.remotetask.store import copies
from lovely.remotetask.store import lost
from lovely.remotetask.store import mending
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import drain


@pytest.fixture(autouse=True)
def tasks(register):
    """``part`` gives its input, ``bad`` fails unless told not to, and ``then``
    notes what it gets."""
    class Tasks:
        fails = True

        def __init__(self):
            self.parts, self.after = [], []

    tasks = Tasks()

    def part(input):
        tasks.parts.append(input)

    def bad(input):
        if tasks.fails:
            raise TaskError('no')

    register(FunctionTask(part), 'part')
    register(FunctionTask(bad), 'bad')
    register(FunctionTask(tasks.after.append), 'then')
    return tasks


@pytest.fixture(params=['worker', 'direct', 'drain'])
def run(request, application, service):
    """Run all jobs: by a worker, by process(), and by the test kit."""
    def run(most=1000):
        transaction.commit()
        if request.param == 'worker':
            processor = SimpleProcessor(application.db, ['tasks'])
            for _ in range(most):
                if not processor.processNext():
                    break
        elif request.param == 'direct':
            for _ in range(most):
                if not service.processNext():
                    break
                transaction.commit()
        else:
            drain(service)
        transaction.begin()

    run.by = request.param
    return run


def parts(count):
    return [Call('part', number) for number in range(count)]


THEN = Call('then', RESULT)


# --- all are completed -------------------------------------------------------

def test_what_follows_comes_after_all(service, run, tasks):
    group = service.addGroup(parts(5), THEN, runAs=SYSTEM)
    shown = service.getGroup(group)
    assert (shown['state'], shown['of'], shown['open']) == ('open', 5, 5)
    assert [service.jobs[jobid].group for jobid in shown['jobs']] == (
        [group] * 5)
    run()
    assert tasks.parts == [0, 1, 2, 3, 4]
    assert tasks.after == [{
        'group': group, 'of': 5, 'jobs': shown['jobs'], 'completed': 5,
        'error': 0, 'cancelled': 0, 'gone': 0}]
    shown = service.getGroup(group)
    assert (shown['state'], shown['completed'], shown['open']) == (
        'done', 5, 0)
    then = service.jobs[shown['then']]
    assert (then.group, then.submitter, then.status) == (
        group, SYSTEM, 'completed')
    assert service.listGroups() == ([], None)


def test_it_does_not_come_before(service, application, tasks):
    service.addGroup(parts(3), THEN)
    transaction.commit()
    processor = SimpleProcessor(application.db, ['tasks'])
    for _ in range(2):
        assert processor.processNext()
    transaction.begin()
    assert len(service.jobs) == 3
    assert processor.processNext()
    transaction.begin()
    assert len(service.jobs) == 4 and not tasks.after
    assert processor.processNext() and tasks.after


def test_jobs_may_end_in_any_order(service, run, tasks):
    priorities = [0, 3, -2, 1, -4, 2]
    service.addGroup([Call('part', number, priority=number)
                      for number in priorities], THEN)
    run()
    assert tasks.parts == sorted(priorities, reverse=True)
    assert len(tasks.after) == 1


def test_jobs_may_be_of_several_tasks_and_followed_each(service, run, tasks):
    group = service.addGroup([Call('part', 1, onSuccess=Call('part', 2)),
                              'then'], Call('then', 'all'))
    run()
    # What follows one job is no job of the group.
    assert sorted(tasks.parts) == [1, 2] and tasks.after == [None, 'all']
    assert service.getGroup(group)['of'] == 2


def test_what_follows_may_be_followed(service, run, tasks):
    service.addGroup(parts(2), Call('then', 1, onSuccess=Call('then', 2)))
    run()
    assert tasks.after == [1, 2]


def test_a_group_without_jobs_is_over_at_once(service, run, tasks):
    group = service.addGroup([], THEN)
    assert service.getGroup(group)['state'] == 'done'
    run()
    assert [one['of'] for one in tasks.after] == [0]


def test_nothing_need_follow(service, run, tasks):
    group = service.addGroup(parts(2))
    run()
    shown = service.getGroup(group)
    assert (shown['state'], shown['task'], shown['then']) == (
        'done', None, None)


def test_many_jobs_take_several_looks(service, run, tasks, monkeypatch):
    monkeypatch.setattr('lovely.remotetask.store.batches.AHEAD', 3)
    service.addGroup([Call('part', number, priority=number % 8 - 4)
                      for number in range(100)], THEN)
    run()
    assert len(tasks.after) == 1 and len(tasks.parts) == 100


# --- some fail ---------------------------------------------------------------

def test_one_that_fails_stops_what_follows_until_it_completes(
        service, run, tasks):
    group = service.addGroup([*parts(2), 'bad', *parts(2)], THEN)
    run()
    shown = service.getGroup(group)
    assert (shown['state'], shown['error'], shown['completed']) == (
        'stuck', 1, 4)
    assert shown['note'] == (
        'one of its jobs has failed or was cancelled: what follows comes when '
        'that is retried and completes')
    assert not tasks.after
    tasks.fails = False
    service.retryJob(shown['jobs'][2])
    run()
    assert [one['completed'] for one in tasks.after] == [5]


def test_one_that_fails_counts_where_the_group_goes_on(service, run, tasks):
    group = service.addGroup([*parts(2), 'bad', 'bad', *parts(2)], THEN,
                             policy='continue')
    service.cancel(service.getGroup(group)['jobs'][0])
    run()
    after, = tasks.after
    assert (after['completed'], after['error'], after['cancelled']) == (
        3, 2, 1)


def test_the_last_one_may_be_cancelled(service, run, tasks):
    """By a web request: no thread ends a job of the group after that."""
    group = service.addGroup(parts(3), THEN, policy='continue')
    run(0) if run.by != 'drain' else transaction.commit()
    for jobid in service.getGroup(group)['jobs']:
        service.cancel(jobid)
    run()
    assert [one['cancelled'] for one in tasks.after] == [3]


def test_a_job_that_was_cancelled_may_be_retried(service, run, tasks):
    group = service.addGroup(parts(3), THEN)
    jobid = service.getGroup(group)['jobs'][1]
    service.cancel(jobid)
    run()
    assert service.getGroup(group)['state'] == 'stuck' and not tasks.after
    service.retryJob(jobid)
    run()
    assert len(tasks.after) == 1


def test_a_result_that_fits_no_input_is_told(service, run, tasks, monkeypatch):
    group = service.addGroup(parts(3), Call('then', [RESULT] * 20))
    transaction.commit()
    monkeypatch.setattr('lovely.remotetask.settings.PAYLOAD_BYTES', 1000)
    run()
    shown = service.getGroup(group)
    assert shown['state'] == 'stuck' and 'longer than 1000' in shown['note']
    assert shown['completed'] == 3 and not tasks.after


# --- some are deleted --------------------------------------------------------

def test_what_is_cleaned_counts_as_it_ended(service, run, tasks):
    group = service.addGroup([*parts(4), Call('bad', delay=3600)], THEN,
                             policy='continue')
    run()
    service.clean()
    assert len(service.jobs) == 1
    assert service.getGroup(group)['completed'] == 4
    service.startNow(service.getGroup(group)['jobs'][-1])
    run()
    after, = tasks.after
    assert (after['completed'], after['error']) == (4, 1)


def test_all_may_be_cleaned_but_the_last(service, run, tasks):
    group = service.addGroup([*parts(4), Call('part', delay=3600)], THEN)
    run()
    service.clean()
    service.startNow(service.getGroup(group)['jobs'][-1])
    run()
    assert [one['completed'] for one in tasks.after] == [5]
    # With its last job the group is forgotten.
    service.clean()
    with pytest.raises(GroupNotFound, match=str(group)):
        service.getGroup(group)
    assert not len(service.jobqueue.batches.all)


def test_a_failed_one_that_is_cleaned_breaks_the_group(
        service, run, tasks, log):
    group = service.addGroup(['bad', *parts(2), Call('part', delay=3600)],
                             THEN)
    run()
    assert service.getGroup(group)['state'] == 'stuck'
    service.clean(['error'])
    # No retry can mend it any more, although a job is open.
    shown = service.getGroup(group)
    assert (shown['state'], shown['open']) == ('broken', 1)
    assert 'never comes' in shown['note']
    service.startNow(service.getGroup(group)['jobs'][-1])
    run()
    shown = service.getGroup(group)
    assert (shown['state'], shown['error'], shown['completed']) == (
        'broken', 1, 3)
    assert not tasks.after and service.listGroups() == ([], None)
    assert [one for one in log if one.startswith('ERROR group')] == [
        f'ERROR group {group}: a job that had not completed is deleted; what '
        f'was to follow never comes']


@pytest.mark.parametrize('policy', ['stop', 'continue'])
def test_one_that_is_gone_without_a_word_never_counts_as_completed(
        service, run, tasks, policy):
    """As 0.5.2's applications do."""
    group = service.addGroup(parts(3), THEN, policy=policy)
    del service.jobs[service.getGroup(group)['jobs'][0]]
    run()
    shown = service.getGroup(group)
    assert (shown['gone'], shown['completed']) == (1, 2)
    if policy == 'stop':
        assert shown['state'] == 'broken' and not tasks.after
    else:
        assert shown['state'] == 'done'
        assert [one['gone'] for one in tasks.after] == [1]


def test_an_id_that_is_given_once_more_is_another_job(service, run, tasks):
    group = service.addGroup(parts(2), THEN)
    jobid = service.getGroup(group)['jobs'][0]
    other = service.add('part')
    job = service.jobs.pop(other)
    service.jobs[jobid] = job
    job.put(id=jobid)
    assert service.getGroup(group)['gone'] == 1
    run()
    assert service.getGroup(group)['state'] == 'broken' and not tasks.after


# --- in transactions ---------------------------------------------------------

def test_a_group_is_part_of_the_transaction_that_adds_it(service, tasks):
    service.addGroup(parts(3), THEN)
    transaction.abort()
    savepoint = transaction.savepoint()
    service.addGroup(parts(3), THEN)
    savepoint.rollback()
    service.process()
    assert not tasks.parts and service.listGroups() == ([], None)


def test_direct_runs_that_are_undone_do_not_count(service, tasks):
    group = service.addGroup(parts(3), THEN)
    transaction.commit()
    savepoint = transaction.savepoint()
    service.process()
    assert len(tasks.after) == 1
    savepoint.rollback()
    assert service.getGroup(group)['state'] == 'open'
    service.processNext()
    assert service.getGroup(group)['completed'] == 1
    assert len(service.jobs) == 3
    service.process()
    assert len(tasks.after) == 2


def test_the_end_of_a_job_writes_nothing_of_the_group(
        application, service, tasks):
    group = service.addGroup(parts(5), THEN)
    transaction.commit()
    batch = batches.batch_of(service.jobqueue, group)
    batch._p_activate()
    before = batch._p_serial
    processor = SimpleProcessor(application.db, ['tasks'])
    for _ in range(4):
        assert processor.processNext()
    transaction.begin()
    batch._p_activate()
    assert batch._p_serial == before


def test_two_that_look_at_once_add_one(application, service, tasks):
    """Both see that all are over, and both close the group."""
    group = service.addGroup(parts(2), THEN)
    transaction.commit()
    processors = [SimpleProcessor(application.db, ['tasks'])
                  for _ in range(2)]
    for one in processors:
        # As if they were killed before their looks.
        one.worker.executor.followers.look = lambda idle: None
        assert one.processNext()
    barrier, closing = threading.Barrier(2), batches.close
    found, seen = [], set()

    def close(queue, number, before, now):
        left, added = closing(queue, number, before, now)
        thread = threading.get_ident()
        if thread not in seen:
            # Neither has committed yet; a repetition does not wait.
            seen.add(thread)
            barrier.wait(5)
        found.append(len(added))
        return left, added

    batches.close = close
    try:
        threads = [threading.Thread(
            target=one.worker.executor.followers.look_at, args=([group],))
            for one in processors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    finally:
        batches.close = closing
    transaction.begin()
    assert sorted(found) == [0, 1, 1]
    assert len(service.jobs) == 3
    service.process()
    assert len(tasks.after) == 1


def test_the_monitor_finds_what_a_killed_thread_has_not_looked_at(
        application, service, tasks):
    groups = [service.addGroup(parts(1), THEN) for _ in range(25)]
    transaction.commit()
    dead = SimpleProcessor(application.db, ['tasks'])
    dead.worker.executor.followers.look = lambda idle: None
    while dead.processNext():
        pass
    followers = SimpleProcessor(
        application.db, ['tasks']).worker.executor.followers
    transaction.begin()
    assert len(service.jobs) == 25
    for _ in range(3):
        # Each round looks at ten of them.
        followers.look_at(followers.over(service.jobqueue))
    transaction.begin()
    assert {service.getGroup(group)['state'] for group in groups} == {'done'}


def test_a_running_worker_does_it_by_itself(world, register, monkeypatch):
    monkeypatch.setattr(
        'lovely.remotetask.run.monitor._LOOK_ALONE_SECONDS', 0.05)
    monkeypatch.setattr(
        'lovely.remotetask.run.followers.Followers.look',
        lambda self, idle: None)
    over = threading.Event()
    register(FunctionTask(lambda input: None), 'part')
    register(FunctionTask(lambda input: over.set()), 'then')
    world.do(lambda service: service.addGroup(parts(3), THEN))
    world.start()
    assert over.wait(20)


def test_a_group_that_cannot_be_read_keeps_no_other_open(
        application, service, tasks, log, monkeypatch):
    bad, good = (service.addGroup(parts(1), THEN) for _ in range(2))
    transaction.commit()
    awaited = batches.is_awaited

    def fails(queue, batch, before):
        if batch.id == bad:
            raise RuntimeError('a record is lost')
        return awaited(queue, batch, before)

    monkeypatch.setattr(batches, 'is_awaited', fails)
    processor = SimpleProcessor(application.db, ['tasks'])
    while processor.processNext():
        pass
    transaction.begin()
    followers = processor.worker.executor.followers
    followers.look_at([bad, bad])
    assert service.getGroup(good)['state'] == 'done'
    assert len([one for one in log if one.startswith(
        f'ERROR group {bad} cannot be looked at')]) == 1
    monkeypatch.setattr(batches, 'is_awaited', awaited)
    followers.look_at([bad])
    transaction.begin()
    assert service.getGroup(bad)['state'] == 'done'


def test_a_subscriber_that_fails_keeps_no_group_open(
        application, service, tasks, log):
    def fails(event):
        if isinstance(event, JobAdded) and event.job.afterGroup is not None:
            raise RuntimeError('by a subscriber')

    group = service.addGroup(parts(1), THEN)
    transaction.commit()
    zope.event.subscribers.append(fails)
    try:
        processor = SimpleProcessor(application.db, ['tasks'])
        while processor.processNext():
            pass
        transaction.begin()
        assert service.getGroup(group)['state'] == 'open'
        processor.worker.executor.followers.look_at([group])
    finally:
        zope.event.subscribers.remove(fails)
    transaction.begin()
    assert service.getGroup(group)['state'] == 'done'


def test_a_stuck_group_costs_an_idle_worker_no_transaction(
        application, service, tasks, monkeypatch):
    group = service.addGroup(['bad', *parts(3)], THEN)
    transaction.commit()
    processor = SimpleProcessor(application.db, ['tasks'])
    while processor.processNext():
        pass
    transaction.begin()
    followers = processor.worker.executor.followers
    assert service.getGroup(group)['state'] == 'stuck'
    assert followers.over(service.jobqueue) == []
    tasks.fails = False
    service.retryJob(service.getGroup(group)['jobs'][0])
    service.processNext()
    assert service.getGroup(group)['state'] == 'done'


@pytest.mark.parametrize('part', ['batch', 'all', 'open'])
def test_a_lost_record_of_a_group_stops_no_job(
        application, service, tasks, lose_record, log, part):
    """Its jobs run, directly and by workers, and are cleaned."""
    group = service.addGroup(parts(3), THEN)
    other = service.add('part', 'other')
    transaction.commit()
    found = {'batch': batches.batch_of(service.jobqueue, group),
             'all': service.jobqueue.batches.all._tree,
             'open': service.jobqueue.batches.open}[part]
    lose_record(application.db.storage, found._p_oid)
    application.db.cacheMinimize()
    transaction.begin()
    service.processNext(jobid=service.jobs[other].id)
    assert service.processNext()
    transaction.commit()
    if part == 'open':
        # Also the last one, in a caller's transaction.
        savepoint = transaction.savepoint()
        service.process()
        assert len(tasks.parts) == 4
        savepoint.rollback()
        del tasks.parts[2:]
    processor = SimpleProcessor(application.db, ['tasks'])
    while processor.processNext():
        pass
    transaction.begin()
    assert len(tasks.parts) == 4
    followers = processor.worker.executor.followers
    for _ in range(2):
        assert followers.over(service.jobqueue) == []
    if part == 'open':
        assert len([one for one in log if one.startswith(
            'ERROR groups cannot be looked at')]) == 1
    else:
        with pytest.raises(GroupNotFound):
            service.getGroup(group)
    transaction.begin()
    service.clean()
    transaction.commit()
    kinds = {one.kind for one in all_findings(service)}
    assert kinds == {'lost'}
    mending.mend(service.jobqueue, all_findings(service), service.clock.now())
    transaction.commit()
    assert not all_findings(service)
    assert lost.part_of(service, found._p_oid) in (None, 'groups')
    group = service.addGroup(parts(1), THEN)
    service.process()
    assert service.getGroup(group)['state'] == 'done'


def all_findings(service):
    found, start = [], None
    while True:
        some, start = check.step(service.jobqueue, start, 100,
                                 service.clock.now())
        found += some
        if start is None:
            return found


# --- cancel, copy, list ------------------------------------------------------

def test_to_cancel_a_group_cancels_what_is_open(service, run, tasks):
    group = service.addGroup([*parts(3), Call('part', delay=60)], THEN)
    first = service.getGroup(group)['jobs'][0]
    service.processNext(jobid=first)
    assert service.cancelGroup(group) == 3
    run()
    shown = service.getGroup(group)
    assert (shown['state'], shown['completed'], shown['cancelled']) == (
        'cancelled', 1, 3)
    assert not tasks.after and len(service.jobs) == 4
    assert service.cancelGroup(group) == 0


def test_to_cancel_a_group_cancels_what_follows(service, tasks):
    group = service.addGroup(parts(1), Call('then', RESULT))
    assert service.processNext()
    assert len(service.jobs) == 2
    assert service.cancelGroup(group) == 1
    service.process()
    assert not tasks.after


def test_a_cancelled_group_stays_so_where_its_jobs_are_retried(
        service, run, tasks):
    group = service.addGroup(parts(2), THEN)
    service.cancelGroup(group)
    for jobid in service.getGroup(group)['jobs']:
        service.retryJob(jobid)
    run()
    assert len(tasks.parts) == 2 and not tasks.after


def test_in_a_copy_nothing_follows(service, run, tasks):
    """The original's is followed: each effect would come twice."""
    group = service.addGroup(parts(2), THEN, policy='continue')
    copies.settle(service.jobqueue, service.clock.now())
    service.resume()
    run()
    assert service.getGroup(group)['state'] == 'cancelled'
    assert not tasks.after


def test_groups_are_listed_newest_first_in_pages(service, clock):
    groups = []
    for _ in range(5):
        groups.append(service.addGroup(parts(30), THEN))
        clock.advance(1)
    found, start = [], None
    while True:
        page, start = service.listGroups(start, 2)
        found += page
        if start is None:
            break
    assert [one['id'] for one in found] == groups[::-1]
    assert {(one['of'], one['open'], one['looked']) for one in found} == {
        (30, 20, 20)}
    assert 'jobs' not in found[0]


@pytest.mark.parametrize('call, error', [
    (lambda service: service.listGroups('x'), InvalidCursor),
    (lambda service: service.listGroups(limit=0), UsageError),
    (lambda service: service.getGroup(1), GroupNotFound),
    (lambda service: service.getGroup('x'), GroupNotFound),
    (lambda service: service.cancelGroup(None), GroupNotFound),
])
def test_what_is_no_group_is_told(service, call, error):
    with pytest.raises(error):
        call(service)
    service.addGroup(parts(1))
    with pytest.raises(error):
        call(service)


# --- what is refused ---------------------------------------------------------

@pytest.mark.parametrize('calls, then, error, text', [
    (['part'] * 10_001, None, UsageError, 'a group has at most 10000 jobs'),
    (['part', 'nothing'], None, ValueError, 'Task does not exist'),
    (['part'], 'nothing', ValueError, 'Task does not exist'),
    (['part', 7], None, UsageError, 'calls[1] is 7'),
    ('part', None, UsageError, "calls is 'part'; give a list"),
    (Call('part'), None, UsageError, 'give a list'),
    (5, None, UsageError, 'calls is 5; give a list'),
    (['part'], ['tell'], UsageError, "then is ['tell']"),
    ([Call('part', lambda: 1)], None, ValueError, 'cannot be pickled'),
    ([Call('part', priority=7)], None, UsageError, 'priority is 7'),
    ([Call('part', policy='continue')], None, UsageError, 'policy says what'),
])
def test_what_cannot_be_a_group_is_refused(service, calls, then, error, text):
    with pytest.raises(error) as refused:
        service.addGroup(calls, then)
    assert text in str(refused.value)
    transaction.commit()
    assert not len(service.jobs) and service.listGroups() == ([], None)


def test_an_endless_list_is_refused(service):
    def endless():
        while True:
            yield 'part'

    with pytest.raises(UsageError, match='at most 10000'):
        service.addGroup(endless())


def test_the_error_names_the_job(service):
    with pytest.raises(ValueError) as refused:
        service.addGroup(['part', Call('nothing')])
    assert refused.value.__notes__ == ["this is about calls[1], task "
                                       "'nothing'"]


def test_the_largest_group_is_added_and_ends(service, tasks):
    group = service.addGroup(['part'] * 10_000, THEN)
    transaction.commit()
    for jobid in service.getGroup(group)['jobs'][:-1]:
        service.jobs[jobid].put(status='completed')
    assert service.getGroup(group)['looked'] == 1000
    service.processNext(jobid=service.getGroup(group)['jobs'][-1])
    assert service.getGroup(group)['completed'] == 10_000


def test_an_add_amid_a_look_breaks_nothing(application, service, tasks):
    """A thread may be held up between its read of the set and its add."""
    groups = [service.addGroup(parts(1), THEN) for _ in range(3)]
    transaction.commit()
    processor = SimpleProcessor(application.db, ['tasks'])
    followers = processor.worker.executor.followers
    looking, look_at = followers.look, followers._look_at
    followers.look = lambda idle: None
    while processor.processNext():
        pass
    transaction.begin()
    first, *others = [service.jobs[service.getGroup(group)['jobs'][0]]
                      for group in groups]
    followers._ended.clear()
    # As the other thread has read it, before the first one goes on.
    add = followers._ended.add

    def look_at_one(number):
        while others:
            add(others.pop().groupPlace[0])
        look_at(number)

    followers._look_at = look_at_one
    followers.ended(first)
    looking(True)
    transaction.begin()
    assert {service.getGroup(group)['state'] for group in groups} == {'done'}
