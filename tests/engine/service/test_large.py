"""What is looked at costs the same, however many jobs there are.

Counted in objects loaded by a connection that has none yet: times would tell
more of the machine than of us.  ``benchmarks/listing.py`` measures a
million.
"""

import time

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import getGlobalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask import bulk
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask

FEW, MANY = 1_000, 10_000       # of each: queued ones, and completed ones


def end_all(service, ids):
    """As finishes do it, without the runs."""
    queue, now = service.jobqueue, time.time()
    for jobid in ids:
        job = service.jobs[jobid]
        queue.start(job, ('nobody', 0, 1), now)
        queue.finish(job, None, 0, now)


@pytest.fixture(scope='module')
def filled(tmp_path_factory):
    """``filled(count)``: a database with so many queued and completed."""
    registry, echo = getGlobalSiteManager(), EchoTask()
    databases = {}

    def filled(count):
        if count in databases:
            return databases[count]
        registry.registerUtility(echo, ITask, 'echo')
        path = tmp_path_factory.mktemp('large') / 'Data.fs'
        database = databases[count] = DB(FileStorage(str(path)))
        with database.transaction() as connection:
            connection.root()['tasks'] = TaskService()
        for _ in range(0, count, 1000):
            with database.transaction() as connection:
                service = connection.root()['tasks']
                end_all(service, service.addMany('echo', range(1000)))
                service.addMany('echo', range(1000))
        registry.unregisterUtility(echo, ITask, 'echo')
        return database

    yield filled
    for database in databases.values():
        database.close()


def loads(database, look):
    """How many objects a fresh connection loads for this, and its result."""
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = database.open(manager)
    connection.cacheMinimize()
    connection.getTransferCounts(clear=True)
    try:
        found = look(connection.root()['tasks'])
        return connection.getTransferCounts()[0], found
    finally:
        manager.abort()
        connection.close()


def middle(database):
    """A cursor amid the completed ones."""
    def look(service):
        log = service.jobqueue.slots[0].completed
        middle = (log.buckets.maxKey() + log.buckets.minKey()) // 2
        return f'completed.{log.buckets.maxKey(middle)}'

    return loads(database, look)[1]


LOOKS = {
    'stats': lambda service, cursor: service.stats(),
    'a page': lambda service, cursor: service.listJobs(),
    'completed': lambda service, cursor: service.listJobs('completed'),
    'the next page': lambda service, cursor: service.listJobs(
        'queued', start=service.listJobs('queued')[1]),
    'deep in it': lambda service, cursor: service.listJobs(
        'completed', start=cursor),
    'waiting?': lambda service, cursor: service.hasJobsWaiting(),
}


@pytest.mark.parametrize('name', LOOKS)
def test_a_look_loads_as_many_objects_as_among_few(filled, name):
    counts = []
    for size in (FEW, MANY):
        database = filled(size)
        cursor = middle(database)
        count, found = loads(
            database, lambda service, cursor=cursor: LOOKS[name](
                service, cursor))
        assert found
        counts.append(count)
    few, many = counts
    # Deeper trees: a bucket and its parent for each of the 64 lanes at most,
    # and the bucket of ``jobs`` that holds the first job of a lane: where
    # the ids begin is random, so that these are a few more or less.
    assert many <= few + 3 * 64
    assert many <= 500


def test_stats_are_right(filled):
    _, stats = loads(filled(MANY), lambda service: service.stats())
    assert (stats['queued'], stats['completed']) == (MANY, MANY)


def test_pages_from_anywhere_go_on_as_the_whole_listing(filled):
    """A page finds its place in the log without what lies before."""
    def look(service):
        ids = [job.id for job in service.listJobs(
            'completed', limit=1000)[0]]
        found = []
        start = None
        while len(found) < 1000:
            jobs, start = service.listJobs('completed', start=start,
                                           limit=130)
            found += [job.id for job in jobs]
        return ids, found

    _, (ids, found) = loads(filled(MANY), look)
    assert found[:1000] == ids


def test_a_cursor_among_what_was_cleaned(service, register):
    register(lambda input: input, 'echo')
    ids = service.addMany('echo', range(200))
    service.process()
    jobs = {jobid: service.jobs[jobid] for jobid in ids}
    log = service.jobqueue.slots[0].completed
    # Holes of all kinds: whole buckets, at the ends and in the middle.
    for gone in (range(0, 40), range(90, 130), range(180, 200)):
        for number in gone:
            _, (_, moment) = jobs[ids[number]].position
            log.discard(moment, ids[number])
    left = [jobid for _, jobid in log.down()]
    assert len(left) == 100 == len(log)
    for number in (0, 39, 40, 60, 89, 90, 129, 130, 150, 179, 199):
        moment = jobs[ids[number]].position[1][1]
        expected = [jobid for jobid in left if jobs[jobid].position[1][1]
                    <= moment]
        assert [jobid for _, jobid in log.down(moment)] == expected
    assert list(log.down(-1)) == []
    assert len(list(log.down(2**62))) == 100


def test_rates_are_told_from_the_logs(service, register):
    register(lambda input: input, 'echo')
    assert service.stats()['completedPerMinute'] == 0
    log, now = service.jobqueue.slots[0].completed, time.time()
    for ago in (300, 61, 59, 30, 1):
        log.extend([(time_key(now - ago), 0)])
    stats = service.stats()
    assert stats['completedPerMinute'] == 3
    assert stats['errorPerMinute'] == 0
    # More than are looked at: ten a second, for 20 seconds.
    for number in range(200):
        log.extend([(time_key(now + number / 10), 0)])
    clock = service.clock
    service.clock = At(now + 20)
    assert 550 <= service.stats()['completedPerMinute'] <= 650
    service.clock = At(now + 1000)
    assert service.stats()['completedPerMinute'] == 0
    service.clock = clock


class At:
    def __init__(self, moment):
        self.moment = moment

    def now(self):
        return self.moment


def test_a_clean_is_many_small_transactions(filled, monkeypatch):
    monkeypatch.setattr('lovely.remotetask.settings.BULK_BATCH', 100)
    database = filled(FEW)
    before = database.lastTransaction()
    removed = bulk.clean(database, ['tasks'], PLAIN, 'completed')
    assert removed == {'completed': FEW}
    sizes = [sum(1 for _ in written) for written
             in database.storage.iterator(before)][1:]
    assert len(sizes) >= FEW // 100
    # Blocks of 16 jobs, buckets of 16 entries, and what is above them.
    assert max(sizes) <= 2 * (100 + 16) / 16 + 10
