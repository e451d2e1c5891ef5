"""Everybody at once, in the manner of ZODB's race tests.

Producers, processors, a canceller and a cleaner share one FileStorage for
some seconds.  In the end each job that was added has had its effect exactly
once, or it was cancelled and has had none; and none is lost.
"""

import random
import threading
import time

import pytest
import transaction
from BTrees.OOBTree import OOBTree
from transaction.interfaces import TransientError
from zope.component import provideUtility

from lovely.remotetask.edge import db as edge
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.task import FunctionTask

DEADLINE = 60
SECONDS = 5.0
# With fewer jobs than these, the threads have met too rarely.
ENOUGH = 200


class Race:
    """The threads, what they did, and what went wrong."""

    def __init__(self, db):
        self.db = db
        self.over = threading.Event()
        self.added = set()
        self.cancelled = set()      # a cancel committed while it was no end
        self.ended = {}             # id -> status, of jobs that were cleaned
        self.errors = []
        self.conflicts = 0
        self.lock = threading.Lock()

    def write(self, function):
        return edge.write(self.db, lambda connection: function(
            connection.root()['Application']['tasks']))

    def read(self, function):
        return edge.read(self.db, lambda connection: function(
            connection.root()['Application']['tasks']))

    def thread(self, step):
        def run():
            try:
                while not self.over.is_set():
                    try:
                        step()
                    except TransientError:
                        # Cleaning meets everybody, time and again.
                        self.conflicts += 1
            except Exception as error:
                self.errors.append(error)
                self.over.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def produce(self):
        name = random.choice(['count', 'count', 'count', 'flaky'])
        options = random.choice([{}, {}, {'priority': 2}, {'delay': 0.05}])
        manager = transaction.TransactionManager(explicit=True)
        manager.begin()
        connection = self.db.open(manager)
        try:
            service = connection.root()['Application']['tasks']
            jobs = [service.add(name, **options)
                    for _ in range(random.choice([1, 1, 5]))]
            if random.random() < 0.1:
                manager.abort()
                return
            manager.commit()
            with self.lock:
                self.added.update(jobs)
        except TransientError:
            manager.abort()
        finally:
            if manager._txn is not None:
                manager.abort()
            connection.close()
        self.over.wait(0.004)

    def cancel(self):
        with self.lock:
            known = sorted(self.added)[-40:]
        if known:
            jobid = random.choice(known)

            def cancel(service):
                job = service.jobs.get(jobid)
                if job is None or job.status in (
                        'completed', 'error', 'cancelled'):
                    return False
                service.cancel(jobid)
                return True

            if self.write(cancel):
                with self.lock:
                    self.cancelled.add(jobid)
        self.over.wait(0.02)

    def clean(self):
        def clean(service):
            over = {job.id: job.status for job in service.jobs.values()
                    if job.status in ('completed', 'error', 'cancelled')}
            service.clean()
            return over, set(service.jobs)

        over, left = self.write(clean)
        with self.lock:
            for jobid, status in over.items():
                assert jobid not in self.ended and jobid not in left
                self.ended[jobid] = status
        self.over.wait(0.3)

    def retire(self):
        """Declare a worker dead that is not."""
        def retire(service):
            workers = service.listWorkers()
            if workers:
                service.jobqueue.retire(random.choice(workers)['id'],
                                        service.clock.now(), charged=False)

        self.write(retire)
        self.over.wait(0.2)


@pytest.fixture
def race(application):
    service = application.service()
    application.root['effects'] = OOBTree()
    transaction.commit()

    def count(service, jobid, input):
        effects = service.__parent__['effects']
        effects[jobid] = effects.get(jobid, 0) + 1

    def flaky(service, jobid, input):
        count(service, jobid, input)
        if random.random() < 0.3:
            raise ValueError('and what it wrote is gone')

    provideUtility(FunctionTask(count), ITask, 'count')
    provideUtility(FunctionTask(
        flaky, retry=RetryPolicy(retries=20, base=0.01, cap=0.02)),
        ITask, 'flaky')
    assert service._p_jar.db() is application.db
    return Race(application.db)


@pytest.mark.parametrize('takeovers', [False, True],
                         ids=['quiet', 'with false takeovers'])
def test_each_effect_once_or_cancelled_and_none_lost(race, takeovers):
    processors = []
    for factory, options in (
            (SimpleProcessor, {}), (SimpleProcessor, {}),
            (MultiProcessor, {'maxThreads': 3})):
        thread = threading.Thread(target=factory(
            race.db, ['tasks'], waitTime=0.05, **options), daemon=True)
        thread.running, thread.database = True, race.db
        thread.start()
        processors.append(thread)
    threads = [race.thread(step) for step in (
        race.produce, race.produce, race.produce, race.cancel, race.clean,
        *([race.retire] if takeovers else []))]
    end = time.monotonic() + SECONDS
    late = end + DEADLINE       # of a machine that has other work to do
    while not race.over.wait(0.05) and (
            time.monotonic() < end or len(race.added) <= ENOUGH):
        assert time.monotonic() < late, len(race.added)
    race.over.set()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert race.errors == []
    # What is left comes to its end.
    pause, deadline = threading.Event(), time.monotonic() + DEADLINE
    final = {'completed', 'error', 'cancelled'}
    while not race.read(lambda service: final.issuperset(
            job.status for job in service.jobs.values())):
        assert time.monotonic() < deadline, race.read(
            lambda service: service.stats())
        pause.wait(0.02)
    for thread in processors:
        tell_to_stop(thread)
        thread.join(DEADLINE)
        assert not thread.is_alive()

    ended = race.ended | race.read(lambda service: {
        job.id: job.status for job in service.jobs.values()})
    effects = race.read(lambda service: dict(service.__parent__['effects']))
    # None is lost, and none has come from nowhere.
    assert set(ended) == race.added
    assert set(ended.values()) <= {'completed', 'cancelled'}
    assert effects == {jobid: 1 for jobid, status in ended.items()
                       if status == 'completed'}
    # Whose cancel was committed was cancelled, and nobody else.
    assert race.cancelled == {jobid for jobid, status in ended.items()
                              if status == 'cancelled'}
    stats = race.read(lambda service: service.stats())
    assert (stats['queued'], stats['processing'], stats['scheduled'],
            stats['workers']) == (0, 0, 0, 0)
