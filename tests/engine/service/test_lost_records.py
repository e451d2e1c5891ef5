"""What the loss of a record costs beside the jobs that it held."""

import itertools

import pytest
import transaction
from ZODB.POSException import POSKeyError
from ZODB.utils import u64

from lovely.remotetask import bulk
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store.ready import LANES
from lovely.remotetask.task import FunctionTask

HOUR = 3600


@pytest.fixture
def lose(application, lose_record):
    """``lose(persistent)``: its record is lost, and no cache holds it."""
    def lose(persistent):
        transaction.commit()
        lose_record(application.db.storage, persistent._p_oid)
        application.db.cacheMinimize()
        transaction.begin()

    return lose


@pytest.fixture
def drain(application):
    """Run what is ready or due by a processor; how many runs that took."""
    def drain():
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        runs = 0
        while processor.processNext():
            runs += 1
            assert runs < 1000
        transaction.begin()
        return runs

    return drain


def checked(service, repair=False):
    """What a check finds: (kind, job id)."""
    return [one[:2] for wrong, *_ in bulk.checking(
        lambda step: step(service), repair) for one in wrong]


def entries(service, jobid):
    return [key for key, found in service.jobqueue.due.up() if found == jobid]


# -- the next run of a cron job -----------------------------------------------

@pytest.fixture
def cron(service, ran, clock, lose):
    """A cron job whose next run is lost."""
    jobid = service.addCronJob('note', 'cron', minute=(0,), key='mine')
    lose(service.jobs[jobid].next)
    return jobid


@pytest.mark.parametrize('repair', [False, True])
def test_a_cron_job_whose_next_run_is_lost_goes_on(
        service, ran, clock, drain, cron, repair):
    others = [service.add('note', number) for number in range(3)]
    assert drain() == 3
    assert [job.id for job in service.listJobs()[0]] == [cron, *others[::-1]]
    assert service.jobs[cron].scheduledAt is None
    assert service.stats()['scheduled'] == 1
    assert checked(service) == [('adrift', cron)]
    if repair:
        assert checked(service, repair=True) == [('adrift', cron)]
        assert checked(service) == []
    assert len(entries(service, cron)) == 1
    for ticks in range(1, 4):
        clock.advance(HOUR)
        assert drain() == 1
        assert ran[3:] == ['cron'] * ticks
        assert service.getStatus(cron) == 'cronjob'
        assert entries(service, cron) == [service.jobs[cron].next.key]
    assert checked(service) == []


def test_it_is_placed_anew(service, clock, cron):
    service.reschedule(cron)
    assert entries(service, cron) == [service.jobs[cron].next.key]


def test_it_is_changed_by_its_key(service, clock, cron):
    assert service.addCronJob('note', 'other', minute=(30,),
                              key='mine', onDuplicate='update') == cron
    assert entries(service, cron) == [service.jobs[cron].next.key]


@pytest.mark.parametrize('running', [False, True])
def test_it_is_edited(service, clock, lose, ran, running):
    jobid = service.addCronJob('note', 'cron', minute=(0,))
    if running:
        clock.advance(HOUR)
        assert service.claimNextJob() == jobid
    lose(service.jobs[jobid].next)
    service.editCronJob(jobid, minute=(30,), input='new')
    assert entries(service, jobid) == [service.jobs[jobid].next.key]
    if running:
        service.processNext(jobid=jobid)
    clock.advance(HOUR)
    service.process()
    assert ran == ['cron'] * running + ['new']


def test_it_runs_now(service, ran, clock, cron):
    service.processNext(jobid=cron, force=True)
    assert ran == ['cron'] and service.getStatus(cron) == 'cronjob'
    assert len(entries(service, cron)) == 1


def test_it_is_lost_while_the_job_runs(
        service, register, clock, lose_record, drain, ran):
    @register
    def work(input):
        ran.append(input)
        lose_record(lost._p_jar.db().storage, lost._p_oid)
        lost._p_jar.db().cacheMinimize()

    jobid = service.addCronJob('work', minute=(0,))
    transaction.commit()
    lost = service.jobs[jobid].next
    clock.advance(HOUR)
    assert drain() == 1
    assert service.getStatus(jobid) == 'cronjob'
    assert len(entries(service, jobid)) == 1


def test_it_is_cancelled(service, clock, cron):
    service.cancel(cron)
    assert service.getStatus(cron) == 'cancelled'
    assert entries(service, cron) == [] and checked(service) == []
    service.clean()
    assert list(service.jobs) == []


# -- a block of jobs ----------------------------------------------------------

@pytest.fixture
def block(service, ran, lose):
    """The ids of jobs whose block is lost, in all places."""
    service._v_nextid = 1600
    service.addCronJob('note', minute=(0,))
    service.add('note', delay=HOUR)
    service.add('note', startLater=True)
    service.cancel(service.add('note'))
    service.add('note', 'completed')
    service.processNext()
    service.add('note', key='mine')
    service.claimNextJob()
    for number in range(10):
        service.add('note', number)
    ids = list(service.jobs)
    assert ids == list(range(1600, 1616))
    lose(service.jobs._tree[1600 >> 4])
    service._v_nextid = 3200
    return ids


def test_others_run_beside_a_lost_block(service, ran, drain, block):
    others = [service.add('note', f'other {number}') for number in range(40)]
    assert drain() == 40
    assert ran == ['completed', *(f'other {number}' for number in range(40))]
    shown = service.listJobs(limit=1000)[0]
    assert {job.id for job in shown if job.status == 'unknown'} == set(block)
    assert {job.id for job in shown if job.status != 'unknown'} == set(others)
    service.stats()
    service.listWorkers()
    list(service._queue)
    assert not service.hasJobsWaiting()
    # Each of them is named, and left alone.
    assert checked(service, repair=True) == [
        ('unreadable', jobid) for jobid in block]
    service.clean()
    assert service.stats()['completed'] == 0
    assert [service.add('note') for _ in range(40)]
    assert drain() == 40


def test_jobs_of_a_lost_block_are_cancelled(service, block):
    assert service.cancelMany(block) == 1
    # The others went with the block; their entries are taken out.
    assert checked(service, repair=True)
    service.clean()
    assert checked(service) == []
    assert service.listJobs() == ([], None)
    assert service.add('note', key='mine') not in block


def test_a_block_that_a_thread_has_reserved_is_lost(
        application, service, register, lose, drain):
    def adds(service, jobid, input):
        service.add('note')

    register(FunctionTask(adds), 'adds')
    register(lambda input: None, 'note')
    processor = SimpleProcessor(application.db, ['tasks'])
    service.add('adds')
    transaction.commit()
    claim = processor.worker.claim()
    transaction.begin()
    first, _ = service.jobqueue.slots[claim.slot].claims.ids
    lose(service.jobs._tree[first >> 4])
    transaction.abort()
    processor.worker.run(claim)
    transaction.begin()
    service.add('adds')
    transaction.commit()
    while processor.processNext():
        pass
    transaction.begin()
    assert service.stats()['completed'] == 4


# -- the queue itself ---------------------------------------------------------

def test_a_check_names_what_is_lost_of_the_queue(service, ran, lose):
    jobid = service.add('note')
    queue = service.jobqueue
    # Not that of the job.
    lane = (service.jobs[jobid].position[1] + 1) % LANES
    tree, log = queue.ready._lanes.trees[lane], queue.slots[0].error
    transaction.commit()
    lose(tree)
    lose(log)
    adrift = service.add('note', startLater=True)
    queue.take_out(service.jobs[adrift])
    found = checked(service)
    assert {('lost', u64(tree._p_oid)), ('lost', u64(log._p_oid)),
            ('adrift', adrift)} <= {*found}
    with pytest.raises(POSKeyError):
        service.claimNextJob()
    # A check that looks alone changes nothing.
    assert queue.later.first() is None
    assert service.getStatus(jobid) == 'queued'


def fill(service, name):
    """Jobs in all lanes of this name: {id: status}."""
    options = {'due': {'delay': HOUR}, 'later': {'startLater': True}}
    jobids = [service.add('note', n, **options.get(name, {}))
              for n in range(300)]
    for jobid in jobids:
        job = service.jobs[jobid]
        if name == 'cancelled':
            service.cancel(jobid)
        elif name in ('waiting', 'missing'):
            service.jobqueue.put_in(job, name, time_key(
                service.clock.now() + HOUR))
    return {jobid: service.getStatus(jobid) for jobid in jobids}


@pytest.mark.parametrize(('name', 'what'), [
    *itertools.product(['ready', 'waiting', 'later', 'due', 'cancelled'],
                       ['tree', 'length']),
    # A small tree has its only bucket in its own record; this is a large one.
    ('missing', 'bucket')])
def test_a_repair_puts_back_the_jobs_of_a_lost_lane(
        service, ran, drain, lose, clock, name, what):
    statuses = fill(service, name)
    transaction.commit()
    lanes = getattr(service.jobqueue, name)
    lanes = getattr(lanes, '_lanes', lanes)
    lane = next(n for n, tree in enumerate(lanes.trees) if len(tree) > 1)
    tree = lanes.trees[lane]
    lose({'tree': tree, 'length': lanes.lengths[lane],
          'bucket': tree._firstbucket}[what])
    repaired = bulk.checking(lambda step: step(service), True)
    assert {one.kind for _, mended, _ in repaired for one in mended} >= {
        'lost', 'unlisted' if name == 'cancelled' else 'adrift'}
    assert checked(service) == []
    assert {jobid: service.getStatus(jobid) for jobid in statuses} == statuses
    status, = {*statuses.values()}
    assert {job.id for job in service.listJobs(status, limit=400)[0]} == {
        *statuses}
    assert sum(service.jobqueue.counts().values()) == len(statuses)
    clock.advance(25 * HOUR)
    for jobid in statuses if name == 'later' else ():
        service.startJob(jobid)
    assert drain() == (0 if name == 'cancelled' else len(statuses))


@pytest.mark.parametrize('part', ['log', 'buckets', '_count'])
def test_a_repair_lists_the_jobs_of_a_lost_log(service, ran, drain, lose,
                                               part):
    for n in range(40):
        service.add('note', n)
    drain()
    number = next(n for n, slot in service.jobqueue.slots.items()
                  if slot.completed)
    log = service.jobqueue.slots[number].completed
    lose(log if part == 'log' else getattr(log, part))
    checked(service, repair=True)
    assert checked(service) == []
    assert service.stats()['completed'] == 40
    assert len(service.listJobs('completed')[0]) == 40
    service.clean('completed')
    assert service.stats()['completed'] == len(service.jobs) == 0


@pytest.mark.parametrize('part', ['tree', 'whole'])
def test_a_repair_notes_the_unique_keys_again(
        service, ran, drain, lose, clock, part):
    held = {key: service.add('note', key, key=key) for key in 'abcdef'}
    over = service.add('note', 'over', key='over')
    service.cancel(over)
    cron = service.addCronJob('note', 'old', minute=(0,), key='cron')
    uniques = service.jobqueue.uniques
    trees = {uniques._tree(key) for key in (*held, 'over', 'cron')}
    for one in [uniques] if part == 'whole' else trees:
        lose(one)
    for key in held:
        with pytest.raises(POSKeyError):
            service.add('note', 'twice', key=key)
    lost = {uniques} if part == 'whole' else trees
    assert {oid for kind, oid in checked(service) if kind == 'lost'} <= {
        u64(one._p_oid) for one in lost}
    while checked(service, repair=True):
        pass
    assert checked(service) == []
    for key, jobid in held.items():
        assert service.add('note', 'twice', key=key) == jobid
    assert service.addCronJob('note', 'old', minute=(0,), key='cron') == cron
    assert service.add('note', 'new', key='over') != over


def test_of_two_open_jobs_the_later_one_gets_the_key(
        service, register, clock, drain, lose, ran):
    first = service.add('note', 'first', key='mine')
    service.claimNextJob()
    clock.advance(1)
    second = service.add('note', 'second', key='mine', onDuplicate='replace')
    # A job that runs is not replaced, and loses its key.
    assert service.getStatus(first) == 'processing'
    lose(service.jobqueue.uniques)
    checked(service, repair=True)
    assert service.add('note', key='mine') == second


@pytest.mark.parametrize('part', ['mapping', 'tree'])
def test_without_the_mapping_of_jobs_nothing_is_taken_for_one_lost_job(
        service, ran, lose, part):
    ids = [service.add('note', n, key=str(n)) for n in range(20)]
    service.cancel(ids[0])
    jobs, queue = service.jobs, service.jobqueue
    lose(jobs if part == 'mapping' else jobs._tree)
    before = queue.counts()
    for call in (lambda: service.add('note'), lambda: service.cancel(ids[1]),
                 lambda: service.getStatus(ids[1]), service.listJobs,
                 lambda: service.clean('cancelled')):
        with pytest.raises(POSKeyError):
            call()
        transaction.abort()
    lose(queue.uniques)
    # More is lost than the keys: nothing is put in their place.
    oid = queue.uniques._p_oid
    assert checked(service, repair=True)
    assert queue.uniques._p_oid == oid
    assert queue.counts() == before


def test_a_lost_page_of_claims_hides_no_other_job(service, ran, lose):
    processor = SimpleProcessor(service._p_jar.db(), ['tasks'])
    service.add('note')
    transaction.commit()
    claim, = processor.worker.claim_some()[:1]
    transaction.begin()
    lose(service.jobqueue.slots[claim.slot].claims)
    adrift = service.add('note')
    service.jobqueue.take_out(service.jobs[adrift])
    assert ('adrift', adrift) in checked(service)
