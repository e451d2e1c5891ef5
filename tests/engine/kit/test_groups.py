"""Short jobs that share a commit, and what is claimed ahead of its run."""

import itertools
import threading
from collections import Counter
from contextlib import contextmanager

import pytest
import transaction
from zope.component import provideUtility

from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import FunctionTask

DEADLINE = 30

#: An effect that all jobs share; ids of jobs are never so small.
HOT = -1

#: What is said of a task that cannot be grouped.
ENDS = 'is groupable, and ends its transaction by itself'


pytestmark = pytest.mark.usefixtures('patient')


@pytest.fixture
def calls():
    """How often the task was called, by its job's input."""
    return Counter()


@pytest.fixture
def short(world, calls):
    """Registers a groupable task; each of its jobs leaves an effect.

    ``do(service, jobid, input)`` is what it does besides.
    """
    def short(do=lambda service, jobid, input: input, name='short',
              **options):
        def run(service, jobid, input):
            calls[input] += 1
            world.effect(service, jobid)
            return do(service, jobid, input)

        options.setdefault('groupable', True)
        provideUtility(FunctionTask(run, **options), ITask, name)

    return short


@pytest.fixture
def hold(world):
    """Holds a job up until ``go``; ``running`` says that it has begun."""
    class Hold:
        def __init__(self):
            self.running, self.go = threading.Event(), threading.Event()

        def __call__(self, *arguments):
            self.running.set()
            assert self.go.wait(DEADLINE)

        def wait(self):
            assert self.running.wait(DEADLINE), 'the job does not begin'

    hold = Hold()
    yield hold
    hold.go.set()


def add(world, count, name='short', start=0):
    """Add jobs with the inputs 0, 1, ... in one transaction."""
    return world.do(lambda service: [
        service.add(name, number) for number in range(start, start + count)])


def enrolled(world, threads=1, known='short'):
    """A worker that knows this task for a short one."""
    worker = world.processor().worker
    worker.enroll(LOOP, threads)
    if known:
        worker.executor.run_times.learn(known, 0.0)
    return worker


def work(worker):
    """Run in this thread what there is."""
    while claims := worker.claim_some():
        worker.work(claims, lambda: True)


@contextmanager
def working(worker):
    """The same in another thread, from its first claims on."""
    claims = worker.claim_some()
    thread = threading.Thread(target=worker.work, args=(claims, lambda: True))
    thread.start()
    yield [claim.jobid for claim in claims]
    thread.join(DEADLINE)
    assert not thread.is_alive()


def commits(world, jobs):
    """How many of these jobs each commit has ended, in their order."""
    def serials(service):
        found = []
        for jobid in jobs:
            job = service.jobs[jobid]
            job._p_activate()
            found.append(job._p_serial)
        return found

    return [len(list(group))
            for _, group in itertools.groupby(world.see(serials))]


def entries(world):
    """The ids in the ready lanes, traces of claims included."""
    return world.see(lambda service: [
        jobid for _, jobid in service.jobqueue.ready.entries()])


def statuses(world, jobs):
    return [world.status(jobid) for jobid in jobs]


def listed(world, status='queued'):
    return sorted(world.see(lambda service: [
        job.id for job in service.listJobs(status)[0]]))


def queued(world):
    return world.see(lambda service: service.stats()['queued'])


# -- groups -------------------------------------------------------------------

def test_the_first_runs_alone_and_128_at_once_follow(world, short, calls):
    short()
    jobs = add(world, 136)
    work(enrolled(world, known=None))
    assert commits(world, jobs) == [1, 128, 7]
    assert world.effects() == dict.fromkeys(jobs, 1)
    assert list(calls.items()) == [(number, 1) for number in range(136)]
    assert world.see(lambda service: [
        service.getResult(jobid) for jobid in jobs]) == list(range(136))
    stats = world.see(lambda service: service.stats())
    assert (stats['completed'], stats['queued'], stats['processing']) == (
        136, 0, 0)
    assert world.see(lambda service: [
        job.id for job in service.listJobs('completed', limit=200)[0]
    ]) == jobs[::-1]


def test_a_processor_groups(world, short, calls):
    short()
    jobs = add(world, 40)
    world.start()
    assert world.until_over(*jobs) == ['completed'] * 40
    assert len(commits(world, jobs)) < 20
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_no_more_than_fit_into_the_time(world, short, monkeypatch):
    short()
    jobs = add(world, 6)
    monkeypatch.setattr('lovely.remotetask.settings.GROUP_SECONDS', 0.05)
    worker = enrolled(world, known=None)
    worker.executor.run_times.learn('short', 0.02)
    assert [claim.jobid for claim in worker.claim_some()] == jobs[:2]


def test_only_neighbours_that_are_groupable_share_a_commit(world, short):
    short()
    short(name='also')
    short(name='plain', groupable=False)
    jobs = world.do(lambda service: [
        service.add(name, number) for number, name in enumerate(
            ['short', 'also', 'plain', 'plain', 'short'])])
    worker = enrolled(world)
    worker.executor.run_times.learn('also', 0.0)
    worker.executor.run_times.learn('plain', 0.0)
    work(worker)
    assert commits(world, jobs) == [2, 1, 1, 1]
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_an_error_takes_back_what_its_own_job_did(world, short):
    ends = {2: ValueError('try again'), 3: TaskError('never again'),
            5: RetryLater(delay=60), 6: CancelJob('not needed')}
    short(name='follows', do=print)

    def fail(service, jobid, input):
        service.add('follows', startLater=True)
        if input in ends:
            raise ends[input]

    short(fail)
    jobs = add(world, 8)
    worker = enrolled(world)
    claims = worker.claim_some()
    assert len(claims) == 8
    worker.work(claims, lambda: True)
    fine = [jobs[number] for number in (0, 1, 4, 7)]
    assert world.effects() == dict.fromkeys(fine, 1)
    assert commits(world, fine) == [4]
    assert statuses(world, jobs) == [
        'completed', 'completed', 'queued', 'error', 'completed', 'queued',
        'cancelled', 'completed']
    assert world.see(lambda service: [
        (job.failures, str(service.getError(job.id)))
        for job in (service.jobs[jobs[2]], service.jobs[jobs[3]])
    ])[0][0] == 1
    assert 'never again' in world.see(
        lambda service: service.getError(jobs[3]))
    # What the failed ones had added went with them.
    stats = world.see(lambda service: service.stats())
    assert (stats['start later'], stats['completed'], stats['queued'],
            stats['error'], stats['cancelled']) == (4, 4, 2, 1, 1)


def test_the_first_of_a_group_may_fail(world, short):
    def fail(service, jobid, input):
        if input == 0:
            raise TaskError('no')

    short(fail)
    jobs = add(world, 4)
    work(enrolled(world))
    assert statuses(world, jobs) == ['error'] + ['completed'] * 3
    assert world.effects() == dict.fromkeys(jobs[1:], 1)


def test_after_a_conflict_each_runs_alone(world, short, calls):
    def meet(service, jobid, input):
        world.effect(service, HOT)
        if calls[input] == 1 and input == 3:
            world.do(lambda service: world.effect(service, HOT))

    short(meet)
    world.do(lambda service: world.effect(service, HOT))
    jobs = add(world, 6)
    work(enrolled(world))
    assert statuses(world, jobs) == ['completed'] * 6
    assert commits(world, jobs) == [1] * 6
    assert calls == dict.fromkeys(range(6), 2)
    assert world.effects() == {**dict.fromkeys(jobs, 1), HOT: 8}
    # It is nobody's fault.
    assert world.see(lambda service: {
        service.jobs[jobid].failures for jobid in jobs}) <= {0, None}


def test_an_error_that_cannot_be_taken_back_separates_them(
        world, short, calls, without_savepoints):
    def mail(service, jobid, input):
        transaction.get().join(without_savepoints())
        if input == 2:
            raise TaskError('no')

    short(mail)
    jobs = add(world, 5)
    work(enrolled(world))
    assert statuses(world, jobs) == (
        ['completed'] * 2 + ['error'] + ['completed'] * 2)
    assert world.effects() == {
        jobid: 1 for jobid in jobs if jobid != jobs[2]}


def _commit():
    transaction.commit()


def _abort():
    transaction.abort()


def _commit_and_catch():
    try:
        transaction.commit()
    except Exception:
        transaction.abort()


@pytest.mark.parametrize('end', [_commit, _abort, _commit_and_catch])
def test_a_task_that_ends_the_transaction_runs_alone(
        world, short, calls, log, end):
    def work_on(service, jobid, input):
        end()
        world.effect(service, -jobid)

    short(work_on)
    jobs = add(world, 12)
    worker = enrolled(world)
    work(worker)
    assert statuses(world, jobs) == ['completed'] * 12
    effects = {-jobid: 1 for jobid in jobs}
    if end is not _abort:
        effects.update(dict.fromkeys(jobs, 1))
    assert world.effects() == effects
    said = [record for record in log if ENDS in record]
    assert len(said) == 1
    assert said[0].startswith('WARNING Task "short"')
    # From now on, and not once more each.
    more = add(world, 3, start=100)
    work(worker)
    assert statuses(world, more) == ['completed'] * 3
    assert [calls[number] for number in (100, 101, 102)] == [1] * 3
    assert len([record for record in log if ENDS in record]) == 1


def test_once_it_is_found_out_none_is_called_in_vain(world, short, calls):
    def work_on(service, jobid, input):
        transaction.commit()

    short(work_on)
    add(world, 6)
    work(enrolled(world))
    # The one that was caught has to be run again, nothing else has.
    assert calls == {0: 2, **dict.fromkeys(range(1, 6), 1)}


def test_what_was_interrupted_takes_nobody_along(world, short):
    short()
    jobs = add(world, 5)
    dead = enrolled(world)
    claims = dead.claim_some()
    assert len(claims) == 5
    for claim in claims[2:]:
        assert dead.give_back(claim)
    world.dies(dead)
    work(enrolled(world))
    assert commits(world, jobs) == [1, 1, 3]
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_what_waits_behind_a_long_job_is_handed_over(
        world, short, hold, calls, monkeypatch):
    short(lambda service, jobid, input: None if input else hold())
    jobs = add(world, 5)
    worker = enrolled(world)
    with working(worker) as claimed:
        assert claimed == jobs
        hold.wait()
        worker.hand_over()
        assert statuses(world, jobs) == ['processing'] * 5
        monkeypatch.setattr(
            'lovely.remotetask.run.worker._GROUP_PATIENCE', 0.0)
        worker.hand_over()
        assert statuses(world, jobs) == ['processing'] + ['queued'] * 4
        assert (listed(world), queued(world)) == (jobs[1:], 4)
        assert world.drain() == 4
        assert statuses(world, jobs) == ['processing'] + ['completed'] * 4
        hold.go.set()
    assert statuses(world, jobs) == ['completed'] * 5
    assert world.effects() == dict.fromkeys(jobs, 1)
    assert calls == dict.fromkeys(range(5), 1)
    assert (entries(world), queued(world)) == ([], 0)


@contextmanager
def started(world):
    """A processor that knows the task; it begins when the block ends."""
    world.do(lambda service: service.pause())
    thread = world.start()
    thread.processor.worker.executor.run_times.learn('short', 0.0)
    yield thread
    world.do(lambda service: service.resume())


def test_the_monitor_hands_over(world, short, hold, monkeypatch):
    for name in ('settings.LOOK_SECONDS', 'run.monitor._LOOK_ALONE_SECONDS',
                 'run.worker._GROUP_PATIENCE'):
        monkeypatch.setattr(f'lovely.remotetask.{name}', 0.02)
    short(lambda service, jobid, input: None if input else hold())
    with started(world):
        jobs = add(world, 4)
    hold.wait()
    world.until(lambda service: [
        service.getStatus(jobid) for jobid in jobs[1:]] == ['queued'] * 3)
    assert world.status(jobs[0]) == 'processing'
    hold.go.set()
    assert world.until_over(*jobs) == ['completed'] * 4
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_members_can_be_cancelled(world, short, hold):
    short(lambda service, jobid, input: None if input != 1 else hold())
    jobs = add(world, 5)
    with working(enrolled(world)) as claimed:
        assert claimed == jobs
        hold.wait()
        # One that has run, one that runs and one that waits.
        for number in (0, 1, 3):
            world.do(lambda service, number=number: service.cancel(
                jobs[number]))
        hold.go.set()
    assert statuses(world, jobs) == [
        'cancelled', 'cancelled', 'completed', 'cancelled', 'completed']
    assert world.effects() == {jobs[2]: 1, jobs[4]: 1}


def test_one_that_waits_and_is_cancelled_disturbs_nobody(
        world, short, hold, calls):
    short(lambda service, jobid, input: None if input else hold())
    jobs = add(world, 4)
    with working(enrolled(world)):
        hold.wait()
        world.do(lambda service: service.cancel(jobs[2]))
        hold.go.set()
    assert statuses(world, jobs) == [
        'completed', 'completed', 'cancelled', 'completed']
    assert world.effects() == {
        jobid: 1 for jobid in jobs if jobid != jobs[2]}


def test_a_stop_gives_back_what_has_not_begun(world, short, hold, calls):
    short(lambda service, jobid, input: None if input else hold())
    with started(world) as thread:
        jobs = add(world, 5)
    hold.wait()
    assert statuses(world, jobs) == ['processing'] * 5
    tell_to_stop(thread)
    hold.go.set()
    world.stop()
    assert statuses(world, jobs) == ['completed'] + ['queued'] * 4
    assert world.see(lambda service: [
        (service.jobs[jobid].interruptions, service.jobs[jobid].failures)
        for jobid in jobs[1:]]) == [(0, 0)] * 4
    assert world.see(lambda service: service.listWorkers()) == []
    work(enrolled(world))
    assert statuses(world, jobs) == ['completed'] * 5
    assert world.effects() == dict.fromkeys(jobs, 1)
    assert calls == dict.fromkeys(range(5), 1)


def test_a_dead_workers_group_runs_again_one_by_one(world, short, hold):
    short(lambda service, jobid, input: None if input != 1 else hold())
    jobs = add(world, 4)
    worker = enrolled(world)
    with working(worker):
        hold.wait()
        world.do(lambda service: service.jobqueue.retire(
            worker.identity.id, service.clock.now(), charged=True))
        assert statuses(world, jobs) == ['queued'] * 4
        hold.go.set()
    # It was not dead, and has committed nothing.
    assert world.effects() == {}
    work(enrolled(world))
    assert statuses(world, jobs) == ['completed'] * 4
    assert commits(world, jobs) == [1] * 4
    assert world.effects() == dict.fromkeys(jobs, 1)


# -- claimed ahead ------------------------------------------------------------

@pytest.fixture(params=[False, True], ids=['alone', 'grouped'])
def chained(request, world, short, hold):
    """``chained(count)``: that many jobs have run, and another one runs.

    Gives their ids and, last, the one that is held; what they were claimed
    by stands in the lanes still.  ``act`` is called in each run.
    """
    from contextlib import ExitStack

    class Chained:
        def __init__(self):
            self.stack = ExitStack()
            self.act = lambda service, jobid, input: None

        def __call__(self, count):
            def do(service, jobid, input):
                if input == count:
                    hold()
                return self.act(service, jobid, input)

            short(do, groupable=request.param)
            jobs = add(world, count + 1)
            # Not known: the first runs alone, and a chain follows it.
            self.worker = enrolled(world, known=None)
            self.stack.enter_context(working(self.worker))
            hold.wait()
            assert len(entries(world)) > 0, 'nothing was claimed ahead'
            return jobs

        def end(self):
            hold.go.set()
            self.stack.close()

    chained = Chained()
    yield chained
    chained.end()


def test_traces_of_claims_are_not_shown(world, chained):
    def look(service):
        view = service._queue
        return (service.hasJobsWaiting(), service.stats()['queued'],
                service.stats()['oldest'],
                [job.id for job in service.listJobs('queued')[0]],
                len(view), bool(view), list(view))

    chained(5)
    assert world.see(look) == (False, 0, None, [], 0, False, [])
    new = add(world, 1)
    waiting, count, oldest, ids, length, some, _ = world.see(look)
    assert (waiting, count, ids, length, some) == (True, 1, new, 1, True)
    assert oldest < DEADLINE
    assert world.see(lambda service: (
        [job.id for job in service._queue], service._queue[0].id,
        service._queue[-1].id)) == (new, new[0], new[0])
    assert world.processor().claimNextJob() == new[0]
    chained.end()


def test_each_job_is_listed_once(world, chained):
    jobs = chained(5)
    found, cursor = world.see(lambda service: service.listJobs(limit=2))
    ids = [job.id for job in found]
    while cursor is not None:
        ids += world.see(lambda service, cursor=cursor: [
            job.id for job in service.listJobs(start=cursor, limit=2)[0]])
        cursor = world.see(lambda service, cursor=cursor: service.listJobs(
            start=cursor, limit=2)[1])
    assert sorted(ids) == jobs


def test_what_failed_in_a_chain_is_listed_once(
        world, short, hold, monkeypatch):
    monkeypatch.setattr('lovely.remotetask.settings.GROUP_JOBS', 3)

    def do(service, jobid, input):
        if input == 2:
            raise RetryLater(delay=3600)
        if input == 5:
            hold()

    short(do)
    jobs = add(world, 6)
    # It is one of the second group, whose commit claims the third.
    with working(enrolled(world, known=None)):
        hold.wait()
        assert entries(world).count(jobs[2]) == 1
        assert (listed(world), queued(world)) == ([jobs[2]], 1)
        assert world.see(lambda service: [
            job.id for job in service._queue]) == [jobs[2]]
        hold.go.set()
    assert (listed(world), queued(world), entries(world)) == (
        [jobs[2]], 1, [])


def test_nothing_is_left_in_the_lanes(world, chained):
    jobs = chained(40)
    chained.end()
    assert statuses(world, jobs) == ['completed'] * 41
    assert entries(world) == []
    assert queued(world) == 0
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_many_traces_are_removed_in_between(world, short, hold, monkeypatch):
    monkeypatch.setattr('lovely.remotetask.run.worker._SPENT_JOBS', 4)
    short(lambda service, jobid, input: input == 30 and hold(),
          groupable=False)
    jobs = add(world, 31)
    with working(enrolled(world)):
        hold.wait()
        assert 0 < len(entries(world)) <= 4
        hold.go.set()
    assert entries(world) == []
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_a_requeued_job_stands_beside_its_trace(world, chained, calls):
    jobs = chained(5)
    worker = chained.worker
    (claim,) = [claim for claim in worker.active.values()
                if claim.jobid == jobs[-1]]
    assert worker.give_back(claim)
    assert entries(world).count(jobs[-1]) == 2
    assert (listed(world), queued(world)) == ([jobs[-1]], 1)
    assert world.see(lambda service: [
        job.id for job in service._queue]) == [jobs[-1]]
    # Removing the trace leaves the other one.
    chained.end()
    assert (listed(world), queued(world)) == ([jobs[-1]], 1)
    assert entries(world) == [jobs[-1]]
    assert world.drain() == 1
    assert world.effects() == dict.fromkeys(jobs, 1)
    assert queued(world) == 0


def test_who_dies_leaves_traces_that_others_drop(world, chained, calls):
    jobs = chained(5)
    dead = chained.worker
    left = world.dies(dead)
    assert jobs[-1] in left
    new = add(world, 3, start=50)
    assert (listed(world), queued(world)) == (
        sorted([*left, *new]), len(left) + 3)
    # A stranger's run of the one that is held would be held as well.
    world.do(lambda service: service.cancel(jobs[-1]))
    # Meanwhile the dead one lies still.
    assert world.drain() == len(left) - 1 + 3
    assert entries(world) == []
    assert (listed(world), queued(world)) == ([], 0)
    assert world.effects() == dict.fromkeys([*jobs[:-1], *new], 1)
    # And it has nothing to remove, nor to commit, when it comes back.
    more = add(world, 2, start=60)
    chained.end()
    assert (listed(world), queued(world), entries(world)) == (more, 2, more)
    assert world.drain() == 2
    assert queued(world) == 0


def test_counts_stay_right_where_what_had_a_trace_is_cleaned(world, short,
                                                             hold):
    short(lambda service, jobid, input: input == 5 and hold(),
          groupable=False)
    jobs = add(world, 6)
    with working(enrolled(world)):
        hold.wait()
        traces = entries(world)
        assert len(traces) >= 5
        world.do(lambda service: service.clean(['completed']))
        assert world.see(lambda service: (
            list(service.jobs), service.hasJobsWaiting(),
            service.stats()['queued'], service.stats()['oldest'])) == (
                jobs[5:], False, 0, None)
        new = add(world, 2, start=50)
        assert world.drain() == 2
        assert statuses(world, new) == ['completed'] * 2
        assert (listed(world), queued(world)) == ([], 0)
        hold.go.set()
    assert (listed(world), queued(world), entries(world)) == ([], 0, [])


def test_a_claimer_beside_a_chain_takes_what_is_left(world, chained):
    jobs = chained(5)
    new = add(world, 4, start=50)
    processor = world.processor()
    assert [processor.claimNextJob() for _ in range(5)] == [*new, None]
    chained.end()
    assert (listed(world), queued(world), entries(world)) == ([], 0, [])
    assert world.effects() == dict.fromkeys(jobs, 1)


def test_an_idle_look_beside_traces_commits_nothing(world, chained):
    chained(5)
    worker = enrolled(world)

    def last(service):
        return service._p_jar.db().lastTransaction()

    # The first look removes what lies in its lanes; after that there is
    # nothing to write.
    assert worker.claim_some() == []
    before = world.see(last)
    assert worker.claim_some() == []
    assert world.see(last) == before
    chained.end()
