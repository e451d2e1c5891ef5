"""A repair of lost lanes beside workers, callers that add, and a repair."""

import contextlib
import random
import threading
import time

import pytest
import transaction
from BTrees.OOBTree import OOBTree
from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError

from lovely.remotetask import bulk
from lovely.remotetask.edge import db as edge
from lovely.remotetask.host import visit
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.task import FunctionTask

DEADLINE = 60

HOUR = 3600


@pytest.fixture
def effects(application, service, register):
    """``effects()``: input -> how often the task ``work`` has run for it."""
    service._p_jar.root()['effects'] = OOBTree()
    transaction.commit()

    def work(service, jobid, input):
        found = service._p_jar.root()['effects']
        found[input] = found.get(input, 0) + 1

    register(FunctionTask(work), 'work')
    return lambda: edge.read(application.db, lambda connection: dict(
        connection.root()['effects']))


@pytest.fixture
def do(application, service):
    """``do(function)``: a transaction of its own; again after a conflict."""
    oid = service._p_oid
    return lambda function: edge.write(
        application.db, lambda connection: function(connection.get(oid)))


@pytest.fixture
def lose(application, lose_record, do):
    """``lose(find)``: the record of ``find(queue)`` is lost, whoever writes
    it meanwhile.
    """
    def lose(find):
        while True:
            oid = do(lambda service: find(service.jobqueue)._p_oid)
            with contextlib.suppress(ConflictError):
                tid = lose_record(application.db.storage, oid)
                break
        # Each connection hears of it when it begins its next transaction.
        application.db._mvcc_storage.invalidate(tid, [oid])

    return lose


@pytest.fixture
def repair(application):
    """Checks and repairs as the command does; what was found."""
    return lambda: [one for found, *_ in bulk.checking(
        lambda step: visit(application.db, ['tasks'], PLAIN, step, True),
        True) for one in found]


def lanes(queue, name):
    found = getattr(queue, name)
    return found if isinstance(found, Lanes) else found._lanes


class Adder(threading.Thread):
    """Adds so many jobs at once, again and again, until it is ended.

    It rests while the workers are some hundred jobs behind: how long the test
    takes must not depend on who is faster.
    """

    def __init__(self, do, name, many, effects):
        super().__init__(name=name, daemon=True)
        self.do, self.many, self.effects = do, many, effects
        self.added, self.ended = [], threading.Event()

    def run(self):
        while not self.ended.wait(0.01):
            first = len(self.added)
            if first > len(self.effects()) + 200:
                continue
            inputs = [f'{self.name} {first + n}' for n in range(self.many)]
            # While a lane is lost, an add that meets it adds nothing.
            with contextlib.suppress(ConflictError, POSKeyError):
                self.do(lambda service: service.addMany(
                    'work', inputs))    # noqa: B023
                self.added += inputs


@pytest.fixture
def working(application, do, effects):
    """Two pools of threads that run jobs, and two threads that add some."""
    adders = [Adder(do, 'one', 1, effects), Adder(do, 'many', 30, effects)]
    pools = [threading.Thread(target=MultiProcessor(
        application.db, ['tasks'], waitTime=0.05, maxThreads=2), daemon=True)
        for _ in range(2)]
    for thread in pools:
        thread.running = True
    for thread in (*pools, *adders):
        thread.start()
    yield adders
    for adder in adders:
        adder.ended.set()
    for thread in pools:
        tell_to_stop(thread)
    for thread in (*pools, *adders):
        thread.join(DEADLINE)
        assert not thread.is_alive()


def until(condition):
    deadline, pause = time.monotonic() + DEADLINE, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        pause.wait(0.02)


def test_lanes_are_lost_and_repaired_amid_work(
        effects, lose, repair, do, working):
    chance, found = random.Random(7), []
    for part in ('trees', 'lengths', 'trees', 'lengths'):
        enough = len(effects()) + 30
        until(lambda: len(effects()) > enough)      # noqa: B023
        number = chance.randrange(64)
        lose(lambda queue: getattr(
            lanes(queue, 'ready'), part)[number])   # noqa: B023
        # Two repairs at once, beside all that.
        repairs = [threading.Thread(target=lambda: found.extend(repair()))
                   for _ in range(2)]
        for thread in repairs:
            thread.start()
        for thread in repairs:
            thread.join(DEADLINE)
            assert not thread.is_alive()
    for adder in working:
        adder.ended.set()
        adder.join(DEADLINE)
    # What was added in the moment of a repair may stand nowhere: once more.
    repair()
    added = {*working[0].added, *working[1].added}
    with contextlib.suppress(TimeoutError):
        until(lambda: len(effects()) >= len(added))
    assert effects() == dict.fromkeys(added, 1)
    assert {one.kind for one in found} >= {'lost'}
    until(lambda: do(lambda service: service.stats()['processing']) == 0)
    assert repair() == []
    assert do(lambda service: service.stats()['completed']) == len(added)


def test_each_kind_of_job_comes_back_from_a_lost_lane(
        effects, lose, repair, service, do, clock):
    ids = {
        'cron': service.addCronJob('work', 'cron', minute=(0,)),
        'delayed': service.add('work', 'delayed', delay=HOUR),
        'keyed': service.add('work', 'keyed', key='mine'),
        'later': service.add('work', 'later', startLater=True),
        'cancelled': service.add('work', 'cancelled', key='other')}
    service.cancel(ids['cancelled'])
    transaction.commit()
    statuses = {name: service.getStatus(jobid) for name, jobid in ids.items()}
    places = {name: job.position or ('due', job.next.key)
              for name, jobid in ids.items() for job in [service.jobs[jobid]]}
    transaction.abort()
    assert {place for place, _ in places.values()} == {
        'due', 'ready', 'later', 'cancelled'}
    trees = [(name, key % len(lanes(service.jobqueue, name).trees))
             for name, key in places.values()]
    transaction.abort()
    for name, number in set(trees):
        lose(lambda queue: lanes(queue, name).trees[number])    # noqa: B023
    repair()
    assert repair() == []
    transaction.begin()
    assert {name: service.getStatus(jobid)
            for name, jobid in ids.items()} == statuses
    # The key is still that job's.
    assert service.add('work', 'again', key='mine') == ids['keyed']
    assert [job.id for job in service.listJobs('cancelled')[0]] == [
        ids['cancelled']]
    service.startJob(ids['later'])
    service.process()
    clock.advance(HOUR)
    service.process()
    transaction.commit()
    assert effects() == dict.fromkeys(
        ('cron', 'delayed', 'keyed', 'later'), 1)
    clock.advance(HOUR)
    service.process()
    transaction.commit()
    assert effects()['cron'] == 2
