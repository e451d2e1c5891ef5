"""One job whose record cannot be read costs no other job anything."""

import sys
import threading
import time
import types

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask import bulk
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.host import current as current_host
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import make_service
from lovely.remotetask.web import presenter

DEADLINE = 20

PLACES = ['ready', 'due', 'waiting', 'later', 'running', 'completed', 'error',
          'cancelled', 'key', 'cron']


class World:
    """A database with a service, in which one job becomes unreadable."""

    def __init__(self, storage, lose_record):
        self.storage = storage
        self.lose = lambda oid: lose_record(storage, oid)
        self.module = types.ModuleType('vanishing')
        self.module.Mine = type('Mine', (Job,), {'__module__': 'vanishing'})
        self.module.MyCron = type(
            'MyCron', (CronJob,), {'__module__': 'vanishing'})
        sys.modules['vanishing'] = self.module
        self.open()
        make_service(self.connection.root(), 'tasks')
        transaction.commit()

    @property
    def service(self):
        return self.connection.root()['tasks']

    def open(self):
        self.db = DB(self.storage)
        self.connection = self.db.open()

    def close(self):
        transaction.abort()
        self.connection.close()
        self.db = None

    def place(self, place):
        """Bring a job to a place; returns its id."""
        service = self.service
        options = {'jobClass': self.module.Mine}
        if place == 'cron':
            queue = service.jobqueue
            jobid = service.add('echo', startLater=True, **options)
            job = service.jobs[jobid]
            queue.take_out(job)
            job = self.module.MyCron(jobid, 'echo', None, minute=(1,))
            service.jobs[jobid] = job
            queue.schedule(job, 1000.0)
        elif place == 'due':
            jobid = service.add('echo', delay=0.001, **options)
        elif place == 'later':
            jobid = service.add('echo', startLater=True, **options)
        elif place == 'key':
            jobid = service.add('echo', key='mine', **options)
        else:
            jobid = service.add('fail' if place == 'error' else 'echo',
                                **options)
        if place == 'waiting':
            job = service.jobs[jobid]
            service.jobqueue.park(job, 1000.0)
        elif place == 'running':
            assert service.claimNextJob() == jobid
        elif place in ('completed', 'error'):
            service.process()
        elif place == 'cancelled':
            service.cancel(jobid)
        transaction.commit()
        return jobid

    def break_(self, jobid, how):
        """Let the job's class be gone, or its record be lost."""
        oid = self.service.jobs[jobid]._p_oid
        self.close()
        if how == 'gone':
            del self.module.Mine, self.module.MyCron
        else:
            self.lose(oid)
        self.open()


@pytest.fixture(params=['gone', 'lost'])
def how(request):
    return request.param


@pytest.fixture
def world(how, tmp_path, register, lose_record):
    def fail(input):
        raise ValueError('failed')

    register(lambda input: input, 'echo')
    register(fail)
    world = World(MappingStorage() if how == 'gone'
                  else FileStorage(str(tmp_path / 'Data.fs')), lose_record)
    yield world
    world.close()
    world.storage.close()
    sys.modules.pop('vanishing')


def work(world, jobids):
    """Let the service's own thread run until these jobs are completed."""
    service = world.service
    service.startProcessing()
    transaction.abort()
    pause, tries = threading.Event(), 0
    try:
        while True:
            transaction.abort()
            statuses = {service.getStatus(one) for one in jobids}
            if statuses == {'completed'}:
                return
            tries += 1
            assert tries < DEADLINE / 0.01, statuses
            pause.wait(0.01)
    finally:
        service.stopProcessing(wait=DEADLINE)
        transaction.abort()


@pytest.mark.parametrize('place', PLACES)
def test_others_run_and_it_is_seen_and_removed(world, how, place, log):
    jobid = world.place(place)
    world.break_(jobid, how)
    log.clear()
    service = world.service
    others = [service.add('echo', number) for number in range(70)]
    others.append(service.add('echo', delay=0.001))
    transaction.commit()
    work(world, others)
    service.process()
    transaction.commit()

    # No worker waits for it.
    assert not service.hasJobsWaiting()
    assert service.jobqueue.comes(service.clock.now()) == []

    # It is shown where it stands, with its reason.
    page, _ = service.listJobs(limit=1000)
    shown, = [job for job in page if job.id == jobid]
    assert shown.status == 'unknown'
    reason = 'vanishing.M' if how == 'gone' else 'record is lost'
    assert reason in str(shown.error)
    assert {job.id for job in page} == {jobid, *others}
    assert service.getStatus(jobid) == 'unknown'
    assert reason in service.getError(jobid)
    assert reason in presenter.job(service, jobid)['error']
    assert [one['status'] for one in presenter.jobs(
        service, limit=1000)['jobs'] if one['id'] == jobid] == ['unknown']
    service.stats()
    service.listWorkers()
    list(service._queue)
    transaction.abort()
    # A check tells of it, and a repair leaves it alone.
    found = [one for wrong, *_ in bulk.checking(
        lambda step: step(service), repair=True) for one in wrong]
    assert [(kind, one) for kind, one, _ in found] == [('unreadable', jobid)]

    # It is logged once, however often it is looked at.
    told = [line for line in log if f'job {jobid} cannot be read' in line]
    assert len(told) == 1
    assert told[0].startswith('ERROR')
    assert not [line for line in log if line.startswith('ERROR')
                and line not in told]

    # It is removed, with its entries.
    if place in FINAL:
        service.clean([place])
    else:
        service.cancel(jobid)
    transaction.commit()
    with pytest.raises(JobNotFound):
        service.getStatus(jobid)
    service.clean()
    transaction.commit()
    counts = service.jobqueue.counts()
    assert counts == dict.fromkeys(counts, 0)
    assert service.listJobs() == ([], None)
    assert not list(service.jobs)


def test_a_key_whose_job_may_run_elsewhere_stays_taken(world, how):
    jobid = world.place('key')
    world.break_(jobid, how)
    service = world.service
    if how == 'gone':
        assert service.add('echo', key='mine') == jobid
        with pytest.raises(DuplicateJob):
            service.add('echo', key='mine', onDuplicate='error')
        other = service.add('echo', key='mine', onDuplicate='replace')
    else:
        # What is lost runs nowhere.
        other = service.add('echo', key='mine')
    assert other != jobid
    assert service.add('echo', key='mine') == other
    transaction.commit()
    service.process()
    assert service.getStatus(other) == 'completed'


def test_what_ran_in_a_dead_worker_is_set_aside_with_the_errors(world, how):
    jobid = world.place('running')
    world.break_(jobid, how)
    service = world.service
    queue = service.jobqueue
    assert service.stats()[PROCESSING] == 1
    for name in list(queue.workers):
        assert queue.retire(name, 1000.0, charged=True) == []
    transaction.commit()
    assert service.stats()[PROCESSING] == 0
    assert [job.id for job in service.listJobs('error')[0]] == [jobid]
    service.clean(['error'])
    assert service.listJobs() == ([], None)
    assert not list(service.jobs)


def test_many_are_cancelled_and_cleaned_in_bulk(world, how):
    jobid = world.place('ready')
    world.break_(jobid, how)
    other = world.service.add('echo')
    transaction.commit()
    assert bulk.cancel(world.db, ['tasks'], current_host(), 'queued') == 2
    transaction.begin()
    assert list(world.service.jobs) == [other]


@pytest.mark.parametrize('how', ['lost'], indirect=True)
def test_a_run_whose_record_is_lost_meanwhile_is_dropped(
        world, how, register, log):
    def lose(input):
        world.lose(lost)

    register(lose)
    jobid = world.service.add('lose')
    others = [world.service.add('echo') for _ in range(3)]
    transaction.commit()
    lost = world.service.jobs[jobid]._p_oid
    work(world, others)
    assert not [line for line in log if 'database failed' in line]


@pytest.mark.parametrize('how', ['gone'], indirect=True)
def test_thousands_of_them_do_not_hold_up_a_claim(world, how):
    service = world.service
    ids = service.addMany('echo', range(3000), jobClass=world.module.Mine)
    other = service.add('echo')
    transaction.commit()
    world.break_(ids[0], how)
    processor = SimpleProcessor(world.db, ['tasks'])
    assert processor.processNext()
    transaction.begin()
    assert world.service.getStatus(other) == 'completed'
    began = time.perf_counter()
    assert not processor.processNext()
    assert time.perf_counter() - began < 1
    processor._listener.close()


@pytest.mark.parametrize('how', ['gone'], indirect=True)
def test_where_its_class_is_back_it_runs(world, how):
    """Also where another process has moved it meanwhile."""
    jobid = world.place('ready')
    mine = world.module.Mine
    world.break_(jobid, how)
    service = world.service
    service.process()
    service.cancel(service.add('echo'))
    transaction.commit()
    # Another process, which has the class, lets it wait and run later.
    world.module.Mine = mine
    other = DB(world.storage)
    with other.transaction() as connection:
        queue = connection.root()['tasks'].jobqueue
        job = queue.jobs[jobid]
        queue.park(job, 1000.0)
        queue.enqueue(job)
    del world.module.Mine
    transaction.begin()
    service.process()
    transaction.commit()
    world.module.Mine = mine
    with other.transaction() as connection:
        service = connection.root()['tasks']
        service.process()
        assert service.getStatus(jobid) == 'completed'


@pytest.mark.parametrize('how', ['lost'], indirect=True)
def test_a_job_whose_large_input_is_lost_is_shown(world, how):
    jobid = world.service.add('echo', 'x' * 5000)
    transaction.commit()
    oid = world.service.jobs[jobid].__dict__['input']._p_oid
    world.close()
    world.lose(oid)
    world.open()
    shown = presenter.job(world.service, jobid)
    assert (shown['status'], shown['input']) == ('queued', None)
    assert shown['inputNote'].startswith('cannot be read: POSKeyError')
