"""A ZTK application: a root folder, a site in it, and three principals."""

from contextlib import contextmanager

import transaction
import zope.component
import zope.component.hooks
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.app.appsetup import appsetup
from zope.event import notify
from zope.interface import implementer
from zope.principalregistry.principalregistry import principalRegistry
from zope.processlifetime import DatabaseOpened
from zope.security.interfaces import IParticipation
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import queryInteraction
from zope.security.management import system_user
from zope.security.proxy import ProxyFactory
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask import host
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService

SITE = '''
<configure xmlns="http://namespaces.zope.org/zope" i18n_domain="test">

  <include package="zope.securitypolicy" file="meta.zcml" />
  <include package="zope.app.zcmlfiles" />
  <include package="zope.securitypolicy" />
  <include package="zope.login" />
  <include package="zope.password" />
  <include package="zope.pluggableauth" />
  <include package="lovely.remotetask" />

  <securityPolicy
      component="zope.securitypolicy.zopepolicy.ZopeSecurityPolicy" />
  <role id="zope.Manager" title="Site Manager" />
  <role id="zope.Member" title="Site Member" />
  <grantAll role="zope.Manager" />
  <grant role="zope.Member" permissions="lovely.remotetask.View
      lovely.remotetask.Add zope.View" />

  <unauthenticatedPrincipal id="zope.anybody" title="Anybody" />
  <principal id="zope.mgr" title="Manager" login="mgr" password="pw" />
  <principal id="zope.jane" title="Jane" login="jane" password="pw" />
  <principal id="zope.guest" title="Guest" login="guest" password="pw" />
  <grant role="zope.Manager" principal="zope.mgr" />
  <grant role="zope.Member" principal="zope.jane" />
  <grant permissions="lovely.remotetask.View zope.View"
      principal="zope.guest" />
  <grant permission="zope.View" principal="zope.anybody" />

</configure>
'''


@implementer(IParticipation)
class Participation:
    """What a request is to an interaction."""

    interaction = None

    def __init__(self, principal):
        self.principal = principal


class World:
    """See worlds/plain.py

    A third principal, ``guest``, may only look; ``zope.anybody``, a request
    without a login, may see the site.
    """

    users = ('zope.mgr', 'zope.jane')
    guest = 'zope.guest'
    system = system_user.id
    site = 'site'

    def __init__(self, directory):
        file = directory / 'site.zcml'
        file.write_text(SITE)
        # Global, and done once in a process, as in every application.
        appsetup.config(str(file))
        self.host = host.current()
        self.database = DB(FileStorage(str(directory / 'Data.fs')))
        notify(DatabaseOpened(self.database))
        self.path = ['site', 'tasks']
        with self.database.transaction() as connection:
            root = connection.root()['Application']
            site = root['site'] = Folder()
            site.setSiteManager(LocalSiteManager(site))
            service = site['tasks'] = TaskService()
            site.getSiteManager().registerUtility(
                service, ITaskService, 'tasks')
        # A transaction or a site of the start-up is none of a request.
        transaction.abort()
        zope.component.hooks.setSite(None)

        self._names = []
        self._forgotten = {}

    def close(self):
        endInteraction()
        zope.component.hooks.setSite(None)
        for name in self._names:
            zope.component.getGlobalSiteManager().unregisterUtility(
                provided=ITask, name=name)
        self._principals().update(self._forgotten)
        self.database.close()

    def register(self, name, task):
        zope.component.getGlobalSiteManager().registerUtility(
            task, ITask, name)
        self._names.append(name)

    @contextmanager
    def acting(self, user=None):
        connection = self.database.open()
        if user is not None:
            newInteraction(Participation(principalRegistry.getPrincipal(
                user)))
        try:
            service = self.host.find_service(connection, self.path)
            if user is not None:
                # As a view gets it: behind a security proxy, in its site.
                zope.component.hooks.setSite(service.__parent__)
                service = ProxyFactory(service)
            yield service
            transaction.commit()
        finally:
            zope.component.hooks.setSite(None)
            endInteraction()
            transaction.abort()
            connection.close()

    def forget(self, user):
        self._forgotten[user] = self._principals().pop(user)

    def _principals(self):
        # It has no way to take one out: applications have folders for them.
        return principalRegistry._PrincipalRegistry__principalsById

    def seen(self, service):
        participation, = queryInteraction().participations
        return {'principal': participation.principal.id,
                'site': zope.component.hooks.getSite().__name__}

    def mess(self, service):
        zope.component.hooks.setSite(None)
        endInteraction()
        newInteraction(Participation(None))

    def state(self):
        return zope.component.hooks.getSite(), queryInteraction()
