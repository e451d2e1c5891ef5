"""No framework: a database, a folder in its root, no principals."""

from contextlib import contextmanager

import transaction
import zope.component
import zope.component.hooks
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask import TaskService
from lovely.remotetask import host
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService


class World:
    """What the kit needs to know of a host; each module here has one.

    Attributes: ``host`` (IHost); ``database``; ``path``, of the service;
    ``users``, two submitters (str) that exist, or (); ``system``, what
    ``seen`` calls the principal of a job without submitter.
    """

    users = ()
    system = None

    def __init__(self, directory):
        """Make the application; all of it below this directory."""
        self.host = host.PLAIN
        self.database = DB(FileStorage(str(directory / 'Data.fs')))
        self.path = ['site', 'tasks']
        self._names = []
        with self.database.transaction() as connection:
            site = connection.root()['site'] = PersistentMapping()
            service = site['tasks'] = TaskService()
            service.__parent__, service.__name__ = site, 'tasks'
            site.__name__ = 'site'

    def close(self):
        """Savepoint everything."""
        for name in self._names:
            zope.component.getGlobalSiteManager().unregisterUtility(
                provided=ITask, name=name)
        self.database.close()

    def register(self, name, task):
        """Let the application have this task (an ITask)."""
        zope.component.provideUtility(task, ITask, name)
        self._names.append(name)

    @contextmanager
    def acting(self, user=None):
        """Somebody acts: a request of that user, as the host has them.

        Arguments: ``user``, one of ``users``; the first one has all
        permissions on the service, the second one may only add.  None:
        nobody, the application's own code, outside of any request.
        Gives: the service, as application code gets it there.
        Txn: committed at the end, aborted after an exception.
        """
        connection = self.database.open()
        service = self.host.find_service(connection, self.path)
        # As a script does it that has one connection.
        zope.component.provideUtility(service, ITaskService)
        try:
            yield service
            transaction.commit()
        finally:
            transaction.abort()
            zope.component.getGlobalSiteManager().unregisterUtility(
                service, ITaskService)
            connection.close()

    def forget(self, user):
        """That user is no more."""
        raise NotImplementedError

    def seen(self, service):
        """Asked by a task: a dict with what it can see.

        ``principal``: as whom it runs, as ``users`` has it; ``site``, the
        name of the current site, if there are sites.
        """
        return {'principal': None, 'site': zope.component.hooks.getSite()}

    #: What ``seen`` says of the site in every job.
    site = None

    def mess(self, service):
        """Called by a task: leave everything behind that one can."""
        zope.component.hooks.setSite(None)

    def state(self):
        """What the host keeps for this thread, to compare."""
        return zope.component.hooks.getSite()
