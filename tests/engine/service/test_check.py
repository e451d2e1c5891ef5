"""What no worker would ever come to is found, told, and put right."""

import threading

import pytest
import transaction

from lovely.remotetask import bulk
from lovely.remotetask import settings
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import Failure
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import monitor
from lovely.remotetask.run.sweep import Sweep
from lovely.remotetask.store import check
from lovely.remotetask.store.workers import LOOP

DEADLINE = 20


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


@pytest.fixture
def look(service, monkeypatch):
    """Checks in steps of two; returns what is found and what is repaired."""
    monkeypatch.setattr(settings, 'BULK_BATCH', 2)

    def transact(step):
        found = step(service)
        transaction.commit()
        return found

    def look(repair=False):
        transaction.commit()
        found, repaired = {}, {}
        for wrong, mended, _ in bulk.checking(transact, repair):
            for answer, findings in ((found, wrong), (repaired, mended)):
                for one in findings:
                    answer.setdefault(one.kind, set()).add(one.jobid)
        return found, repaired

    return look


def lose_entry(service, jobid):
    """Take a job out of its lane, as if the job had not been written."""
    job = service.jobs[jobid]
    service.jobqueue.take_out(job)
    if job.next is not None:
        service.jobqueue.due.discard(job.next.key, jobid)
    return jobid


def everything(service):
    """A job in every state there is."""
    for _ in range(3):
        service.add('echo')
    service.process()
    service.cancel(service.add('echo'))
    for _ in range(3):
        service.add('echo', key='mine')
        service.add('echo', delay=100)
        service.add('echo', startLater=True)
        service.addCronJob('echo', hour=(3,))
        service.add('echo')
    service.jobqueue.park(service.jobs[service.add('echo')], 2e9)
    assert service.claimNextJob() is not None
    # A schedule whose latest run has failed stands among the errors, too.
    failed = service.jobs[service.addCronJob('echo', hour=(3,))]
    service.jobqueue.enqueue(failed)
    service.jobqueue.fail(failed, Failure('', 'no', '', 1, 2e9), 2e9)


def test_nothing_is_wrong_where_all_went_well(service, look):
    everything(service)
    assert look() == ({}, {})
    assert look(repair=True) == ({}, {})


@pytest.mark.parametrize('options', [
    {}, {'delay': 100}, {'startLater': True}, {'cron': True},
    {'parked': True}])
def test_a_job_in_no_lane_is_put_back(service, look, log, options):
    everything(service)
    if 'cron' in options:
        jobid = service.addCronJob('echo', hour=(3,))
    else:
        jobid = service.add('echo', **{
            name: value for name, value in options.items()
            if name != 'parked'})
    job = service.jobs[jobid]
    if 'parked' in options:
        service.jobqueue.park(job, 2e9)
    status, attempts, when = job.status, job.attempts, job.scheduledAt
    before = service.jobqueue.counts()
    lose_entry(service, jobid)
    assert look() == ({check.ADRIFT: {jobid}}, {})
    assert look(repair=True) == ({check.ADRIFT: {jobid}},) * 2
    assert look() == ({}, {})
    assert (job.status, job.attempts) == (status, attempts)
    # Equal moments are kept apart by microseconds.
    assert (job.scheduledAt is None) is (when is None)
    assert when is None or abs((job.scheduledAt - when).total_seconds()) < 0.01
    assert service.jobqueue.counts() == before
    assert log == [f'ERROR job {jobid} stood in no lane; it is put back, '
                   f'uncharged']


@pytest.mark.parametrize('status', ['completed', 'error', 'cancelled'])
def test_a_job_that_no_listing_shows_is_listed_again(service, look, status):
    """As the log of a thread lost one, whose worker got a new id."""
    everything(service)
    jobid = service.add('echo')
    if status == 'cancelled':
        service.cancel(jobid)
    elif status == 'error':
        service.jobqueue.fail(
            service.jobs[jobid], Failure('', 'no', '', 1, 2e9), 2e9)
    else:
        service.processNext(jobid=jobid)
    ended = service.jobs[jobid].completedAt
    service.jobqueue.discard(service.jobs[jobid].position, jobid)

    def listed():
        return [job.id for job in service.listJobs(status=status)[0]]

    assert jobid not in listed()
    assert look() == ({check.UNLISTED: {jobid}}, {})
    assert look(repair=True) == ({check.UNLISTED: {jobid}},) * 2
    assert look() == ({}, {})
    assert listed().count(jobid) == 1
    assert service.jobs[jobid].completedAt == ended
    service.clean(status=[status])
    assert jobid not in service.jobs


def test_a_queued_job_without_a_place_runs_after_a_repair(service, look):
    jobid = service.add('echo')
    lose_entry(service, jobid)
    service.jobs[jobid].put(position=None)
    service.process()
    assert service.getStatus(jobid) == 'queued'
    look(repair=True)
    service.process()
    assert service.getStatus(jobid) == 'completed'


@pytest.mark.parametrize('how', ['page', 'worker', 'slot'])
def test_a_job_under_no_claim_is_put_back(service, look, log, how):
    everything(service)
    running, = service.jobqueue.running()
    job, queue = service.jobs[running], service.jobqueue
    worker, number, _ = job.claim
    if how == 'page':
        queue.slots[number].claims.turn([], ahead=False)
    elif how == 'worker':
        del queue.workers[worker]
    else:
        queue.slots[number].owner = None
    assert look() == ({check.UNCLAIMED: {running}}, {})
    assert look(repair=True) == ({check.UNCLAIMED: {running}},) * 2
    assert look() == ({}, {})
    assert (job.status, job.interruptions) == ('queued', 0)
    assert len(log) == 1 and 'under no claim' in log[0]
    service.process()
    assert job.status == 'completed'


def test_an_undo_of_a_finish_is_found(application, service, look):
    jobid = service.add('echo')
    transaction.commit()
    assert service.claimNextJob() == jobid
    transaction.commit()
    queue = service.jobqueue
    queue.finish(service.jobs[jobid], None, 0, 1000.0)
    transaction.get().note('finish')
    transaction.commit()
    for worker in list(queue.workers):
        queue.retire(worker, 1000.0, charged=False)
    transaction.commit()
    undo, = [one['id'] for one in application.db.undoInfo(0, 20)
             if 'finish' in one['description']]
    application.db.undo(undo)
    transaction.commit()
    application.connection.sync()
    assert service.getStatus(jobid) == PROCESSING
    assert look(repair=True) == ({check.UNCLAIMED: {jobid}},) * 2
    assert look() == ({}, {})
    service.process()
    assert service.getStatus(jobid) == 'completed'


def test_a_direct_run_is_left_alone_while_it_may_go_on(service, look,
                                                       monkeypatch):
    jobid = service.add('echo')
    service.jobqueue.start(service.jobs[jobid], ('direct:x', 0, 1),
                           service.clock.now())
    assert look() == ({}, {})
    monkeypatch.setattr(settings, 'MANUAL_SECONDS', 1e-9)
    assert look(repair=True)[1] == {check.UNCLAIMED: {jobid}}


def test_a_job_in_two_claims_is_told(service, look):
    everything(service)
    running, = service.jobqueue.running()
    _, number, _ = service.jobs[running].claim
    service.jobqueue.slots[number].claims.turn(
        [(-1, running), (-1, running)], ahead=False)
    assert look(repair=True) == ({check.TWICE: {running}}, {})


def test_entries_and_keys_of_jobs_that_are_gone_are_removed(service, look):
    everything(service)
    running, = service.jobqueue.running()
    gone = set(service.jobs) - {running}
    keyed = service.jobqueue.uniques.holder('mine', service.jobs).id
    for jobid in gone:
        del service.jobs[jobid]
    found, repaired = look(repair=True)
    assert found == repaired
    assert repaired[check.GONE] == gone
    if keyed != running:
        assert repaired[check.KEYS] == {keyed}
    assert look() == ({}, {})
    counts = service.jobqueue.counts()
    assert counts == dict.fromkeys(counts, 0)


def test_a_check_ends_beside_a_caller_that_adds_faster(
        service, register, monkeypatch):
    register(lambda input: None, 'work')
    monkeypatch.setattr('lovely.remotetask.settings.BULK_BATCH', 7)
    service.addMany('work', range(30))
    looks = []

    def transact(step):
        found = step(service)
        if (found[2] or '').startswith('ready:'):
            looks.append(found[2])
            service.addMany('work', range(10))
            # Those that were there at the beginning, and no others.
            assert len(looks) < 6
        return found

    assert all(not found for found, *_ in bulk.checking(transact, False))
    assert len(looks) == 4


@pytest.mark.parametrize('start', [
    'x', 'jobs', 'jobs:x', 'jobs:99999999999999999999', 'jobs:9999999999',
    'ready:1.5', 'ready:9999999999999999999', 'completed:x.1',
    'error:99999999999.1', 'keys:x', '::', 'nonsense:1'])
def test_a_start_of_another_call_is_refused(service, start):
    if start == 'jobs':
        assert check.step(service.jobqueue, start, 5, 0.0) == ([], 'keys:')
        return
    with pytest.raises(UsageError, match='no start for this check'):
        next(bulk.checking(lambda step: step(service), False, start))


# --- the sweep of an idle worker ---------------------------------------------

@pytest.fixture
def processor(application, service):
    processor = SimpleProcessor(application.db, ['tasks'])
    processor.worker.enroll(LOOP, 1)
    transaction.begin()
    yield processor
    processor.worker.leave()
    processor._listener.close()


def test_an_idle_worker_puts_back_what_stands_nowhere(
        application, service, processor, log):
    everything(service)
    lost = lose_entry(service, service.add('echo'))
    transaction.commit()
    sweep = Sweep(processor.worker)
    assert [one.jobid for one in sweep.step()] == [lost]
    assert sweep.step() == []
    assert [line for line in log if f'job {lost} stood in no lane' in line]
    transaction.begin()
    service.process()
    assert service.getStatus(lost) == 'completed'


def test_a_job_that_moves_meanwhile_is_left_alone(
        application, service, processor, monkeypatch, log):
    lost = lose_entry(service, service.add('echo'))
    transaction.commit()
    write = processor.worker.executor.write

    def moved(function, note):
        service.jobqueue.enqueue(service.jobs[lost])
        transaction.commit()
        return write(function, note)

    monkeypatch.setattr(processor.worker.executor, 'write', moved)
    assert Sweep(processor.worker).step() == []
    assert log == []


def test_a_worker_that_runs_a_job_does_not_sweep(service, processor,
                                                 monkeypatch):
    monkeypatch.setattr(settings, 'CHECK_SECONDS', 0.0)
    steps = []
    monkeypatch.setattr(Sweep, 'step', lambda sweep: steps.append(sweep))
    sweep = Sweep(processor.worker)
    service.add('echo')
    transaction.commit()
    jobid = processor.claimNextJob()
    sweep.go_on()
    assert steps == []
    processor.processNext(jobid)
    sweep.go_on()
    assert steps == [sweep]


def test_the_monitor_sweeps(application, service, monkeypatch):
    monkeypatch.setattr(settings, 'CHECK_SECONDS', 1e-6)
    monkeypatch.setattr(monitor, '_LOOK_ALONE_SECONDS', 0.01)
    lost = lose_entry(service, service.add('echo'))
    transaction.commit()
    service.startProcessing()
    try:
        pause = threading.Event()
        for _ in range(DEADLINE * 100):
            transaction.abort()
            if service.getStatus(lost) == 'completed':
                break
            pause.wait(0.01)
        assert service.getStatus(lost) == 'completed'
    finally:
        service.stopProcessing(wait=DEADLINE)
