"""Other processes see how far a job has come while it runs."""

import threading
import time

import pytest
import transaction

from lovely.remotetask.context import Told
from lovely.remotetask.context import currentJob
from lovely.remotetask.edge import db as edge
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import progress
from lovely.remotetask.service import make_service
from lovely.remotetask.web import presenter

DEADLINE = 30


@pytest.fixture
def commits(monkeypatch):
    """The notes of the transactions that ``edge.write`` makes, as committed.
    """
    notes = []

    def commit(manager, connection):
        note = manager.get().description
        genuine(manager, connection)
        notes.append(note)

    genuine = edge._commit
    monkeypatch.setattr(edge, '_commit', commit)
    return notes


@pytest.fixture
def work(register):
    """A task that tells a word for each item of its list, and then waits.

    Attributes: ``told``, a semaphore that counts its words; ``go``, an event
    that ends it.
    """
    class Work:
        told, go = threading.Semaphore(0), threading.Event()

        def __call__(self, input):
            for words in input:
                currentJob().progress(*words)
                self.told.release()
            self.told.release()
            assert self.go.wait(DEADLINE)

    work = Work()
    register(lambda input: work(input), 'work')
    yield work
    work.go.set()


def told(jobid):
    def look(service):
        found = service.jobqueue.progress_of(service.jobs[jobid])
        return found and found[:3]

    return look


def test_another_process_sees_it_while_the_transaction_is_open(world, work):
    other = world.other()
    jobid = world.add('work', [(41, 120, 'page 41')])
    world.start()
    assert work.told.acquire(timeout=DEADLINE)
    began = time.monotonic()
    while edge.read(other, lambda connection: told(jobid)(
            world.service(connection))) != (41, 120, 'page 41'):
        assert time.monotonic() - began < 2
        threading.Event().wait(0.01)

    def show(connection):
        service = world.service(connection)
        return (presenter.job(service, jobid),
                presenter.jobs(service, 'processing')['jobs'][0])

    for row in edge.read(other, show):
        assert row['status'] == 'processing'
        at = row['progress'].pop('at')
        assert at.endswith('+00:00')
        assert row['progress'] == {
            'done': 41, 'total': 120, 'message': 'page 41'}
    work.go.set()
    assert world.until_over(jobid) == ['completed']
    assert world.see(told(jobid)) is None
    assert 'progress' not in world.see(
        lambda service: presenter.job(service, jobid))


def test_all_slots_of_a_process_share_a_commit_a_second(
        world, work, commits, monkeypatch):
    # No second passes until all have told all.
    monkeypatch.setattr(progress, '_COMMIT_SECONDS', 600)
    first = world.add('work', [(0,)])
    words = [(number, 1000) for number in range(1, 1001)]
    world.start(factory=MultiProcessor, maxThreads=3)
    world.until(told(first))
    jobs = [world.add('work', words) for _ in range(2)]
    for _ in range(2 + 2 * 1001):
        assert work.told.acquire(timeout=DEADLINE)
    teller = progress._tellers[world.db]
    assert len(teller.news) == 2
    # The second is over.
    teller._write()
    for jobid in jobs:
        assert world.see(told(jobid)) == (1000, 1000, '')
    assert commits.count('remotetask progress') == 2
    # Nothing is new.
    teller._write()
    assert commits.count('remotetask progress') == 2


def test_a_job_that_tells_nothing_costs_no_commit(world, work, commits):
    jobid = world.add('work', [])
    world.start()
    assert work.told.acquire(timeout=DEADLINE)
    assert world.db not in progress._tellers
    work.go.set()
    world.until_over(jobid)
    assert 'remotetask progress' not in commits


def test_what_an_earlier_run_has_told_is_not_told_of_a_later_one(
        world, work, register):
    jobid = world.add('work', [(1, 2, 'first')])
    worker = world.processor().worker
    claim = worker.claim()
    thread = threading.Thread(target=worker.run, args=(claim,))
    thread.start()
    world.until(told(jobid))
    world.dies(worker)
    work.go.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    # Its slot is free, and the next worker gets it.
    other = world.processor().worker
    again = other.claim()
    assert (again.jobid, again.slot) == (jobid, claim.slot)
    assert world.see(told(jobid)) is None
    # A word of the first run that comes late.
    assert world.do(lambda service: service.jobqueue.note_progress(
        claim.token, Told(2, 2, 'late', 0.0))) is None
    assert world.see(told(jobid)) is None


def test_several_services_of_one_worker_share_the_commit(
        world, work, commits, monkeypatch):
    monkeypatch.setattr(progress, '_COMMIT_SECONDS', 600)

    def make(connection):
        folder = connection.root()[world.path[0]]
        return make_service(folder, 'others').add('work', [(2,)])

    second = edge.write(world.db, make)
    first = world.add('work', [(1,)])
    world.start()
    assert work.told.acquire(timeout=DEADLINE)
    world.until(told(first))
    claimer = SimpleProcessor(world.db, [world.path[0], 'others'])
    beside = threading.Thread(target=claimer.processNext)
    beside.start()
    for _ in range(3):
        assert work.told.acquire(timeout=DEADLINE)
    progress._tellers[world.db]._write()
    found = edge.read(world.db, lambda connection: told(second)(
        connection.root()[world.path[0]]['others']))
    assert found == (2, None, '')
    work.go.set()
    beside.join(DEADLINE)
    assert commits.count('remotetask progress') == 2


def test_a_slot_of_an_earlier_release(world, work):
    jobid = world.add('work', [(1,)])
    worker = world.processor().worker
    worker.enroll()

    def age(service):
        for slot in service.jobqueue.slots.values():
            slot.progress = None

    world.do(age)
    thread = threading.Thread(target=worker.run, args=(worker.claim(),))
    thread.start()
    world.until(told(jobid))
    work.go.set()
    thread.join(DEADLINE)
    assert world.status(jobid) == 'completed'


def test_closing_the_database_ends_the_thread(world, work, monkeypatch):
    jobid = world.add('work', [(1,)])
    thread = world.start()
    world.until(told(jobid))
    teller = progress._tellers[world.db]
    work.go.set()
    world.until_over(jobid)
    world.stop()
    assert not thread.is_alive()
    world.close()
    assert teller._ended.is_set()
    assert not [one for one in progress._tellers.values() if one is teller]
    transaction.abort()
