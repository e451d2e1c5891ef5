"""A small application in a database: a site, and a service in that."""

import sys
import threading
from contextlib import contextmanager

import transaction
from persistent import Persistent
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component.hooks import setHooks
from zope.component.hooks import setSite
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask import task
from lovely.remotetask.processor import SimpleProcessor

#: The names on the path of the service.
PATH = ['site', 'tasks']

#: Jobs in a transaction of ``addMany``.
BATCH = 1000

#: Objects that a connection keeps: all of them, so that loads are those of
#: changed objects.
CACHE = 100_000


class Raw(Persistent):
    """The small object whose change is the raw commit."""

    value = 0


class Drain:
    """Stops a processor in the run of the last job.

    The processor ends itself, so that nothing has to look at the database
    while the drain is timed.
    """

    def __init__(self):
        self.left = 0
        self.thread = None

    def tick(self):
        self.left -= 1
        if not self.left:
            self.thread.running = False


DRAIN = Drain()


@task.task
def single(input):
    DRAIN.tick()
    return {'sum': 42}


@task.task(groupable=True)
def grouped(input):
    DRAIN.tick()
    return {'sum': 42}


class World:
    """A database with an application, a site, and a service in that."""

    def __init__(self, storage):
        self.database = DB(storage, cache_size=CACHE)
        self.manager = transaction.TransactionManager(explicit=True)
        self.connection = self.database.open(self.manager)
        self.manager.begin()
        root = self.connection.root()
        application = root['Application'] = Folder()
        site = application['site'] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        self.service = site['tasks'] = TaskService()
        self.rawest = root['raw'] = Raw()
        self.manager.commit()
        setSite(site)

    def close(self):
        setSite(None)
        self.connection.close()
        self.database.close()

    def do(self, function, *arguments):
        """Call a function of the service in a transaction, and commit."""
        self.manager.begin()
        result = function(*arguments)
        self.manager.commit()
        return result

    def raw(self):
        """The raw commit."""
        self.manager.begin()
        self.rawest.value += 1
        self.manager.commit()

    def add(self, name='single'):
        """Add a job in a commit of its own."""
        self.do(self.service.add, name, {'one': 1})

    def add_many(self, count, name='single'):
        """Add jobs, many in a commit."""
        for start in range(0, count, BATCH):
            self.do(self.service.addMany, name,
                    [{'one': 1}] * min(BATCH, count - start))

    def drain(self, count):
        """Start the thread of a processor; it ends after so many jobs."""
        DRAIN.left = count
        thread = threading.Thread(
            target=SimpleProcessor(self.database, PATH), daemon=True)
        thread.running = True
        DRAIN.thread = thread
        thread.start()
        return thread

    def has_waiting(self):
        """Ask as a monitoring page does."""
        self.manager.begin()
        try:
            return self.service.hasJobsWaiting()
        finally:
            self.manager.abort()

    def completed(self):
        """How many jobs have ended well."""
        self.manager.begin()
        try:
            return self.service.stats()['completed']
        finally:
            self.manager.abort()


@contextmanager
def world(storage=None):
    """A World on this storage, or in memory; closed after the block."""
    made = World(MappingStorage() if storage is None else storage)
    try:
        yield made
    finally:
        made.close()


setHooks()
task.scan(sys.modules[__name__])
