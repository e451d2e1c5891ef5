"""Zope, started once in this process; a database for each world."""

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import transaction
import zope.component
from AccessControl import SecurityManagement
from AccessControl import getSecurityManager
from AccessControl.users import nobody
from Acquisition import aq_base
from Acquisition import aq_parent
from OFS.Application import Application
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.globalrequest import clearRequest
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.security.management import thread_local

from lovely.remotetask.interfaces import ITask

CONFIGURATION = """\
%%define INSTANCE %(instance)s
instancehome $INSTANCE
<zodb_db main>
  mount-point /
  <mappingstorage>
  </mappingstorage>
</zodb_db>
<product-config lovely.remotetask>
  base-url /site https://www.example.org/pub, http://example.org:8080
</product-config>
"""

SITE_ZCML = """\
<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:meta="http://namespaces.zope.org/meta"
    xmlns:five="http://namespaces.zope.org/five">
  <include package="Zope2.App" />
  <include package="Products.Five" />
  <five:loadProducts file="meta.zcml"/>
  <five:loadProducts />
  <five:loadProductsOverrides />
  <include package="lovely.remotetask" />
</configure>
"""


def start_zope():
    """Zope's own start, as a server or script does it; once."""
    import Zope2
    from Zope2.Startup.run import configure_wsgi

    if 'Zope2.App.startup' in sys.modules:
        return
    instance = Path(tempfile.mkdtemp(prefix='remotetask-zope-'))
    (instance / 'etc').mkdir()
    (instance / 'etc' / 'site.zcml').write_text(SITE_ZCML)
    conf = instance / 'etc' / 'zope.conf'
    conf.write_text(CONFIGURATION % {'instance': instance})
    os.environ.setdefault('LOVELY_REMOTETASK_AUTOSTART', '0')
    configure_wsgi(str(conf))
    Zope2.startup_wsgi()


class World:
    """See plain.World"""

    users = ('/acl_users chief', '/site/acl_users jane')
    system = None
    site = 'site'

    def __init__(self, directory):
        start_zope()
        from lovely.remotetask.zope import host
        from lovely.remotetask.zope import permissions
        from lovely.remotetask.zope import service
        from lovely.remotetask.zope import sites

        self.host = host.ZOPE
        self.database = DB(FileStorage(str(directory / 'Data.fs')))
        self.path = ['site', 'tasks']
        self._names = []
        connection = self.database.open()
        connection.root()['Application'] = Application()
        transaction.savepoint()
        app = connection.root()['Application']
        app.acl_users.userFolderAddUser('chief', 'pw', ['Manager'], [])
        app.manage_addFolder('site')
        app.site.manage_addUserFolder()
        app.site.acl_users.userFolderAddUser('jane', 'pw', ['Worker'], [])
        app.site._addRole('Worker')
        app.site.manage_permission(
            permissions.TITLES['lovely.remotetask.Add'], ['Worker'], 1)
        sites.register(service.add_service(app.site))
        transaction.commit()
        connection.close()

    def close(self):
        for name in self._names:
            zope.component.getGlobalSiteManager().unregisterUtility(
                provided=ITask, name=name)
        self.database.close()

    def register(self, name, task):
        zope.component.provideUtility(task, ITask, name)
        self._names.append(name)

    @contextmanager
    def acting(self, user=None):
        connection = self.database.open()
        try:
            if user is None:
                yield self.host.find_service(connection, self.path)
            else:
                with self._request(connection, user) as app:
                    yield app.site.tasks
            transaction.commit()
        finally:
            transaction.abort()
            connection.close()

    @contextmanager
    def _request(self, connection, user):
        # What the publisher does around the published method.
        from Testing.makerequest import makerequest

        app = makerequest(connection.root()['Application'])
        path, name = user.split(' ')
        folder = app.unrestrictedTraverse(path)
        setRequest(app.REQUEST)
        SecurityManagement.newSecurityManager(
            app.REQUEST, folder.getUserById(name).__of__(folder))
        setSite(app.site)
        try:
            yield app
        finally:
            SecurityManagement.noSecurityManager()
            setSite(None)
            clearRequest()

    def forget(self, user):
        path, name = user.split(' ')
        connection = self.database.open()
        folder = connection.root()['Application'].unrestrictedTraverse(path)
        folder.userFolderDelUsers([name])
        transaction.commit()
        connection.close()

    def seen(self, service):
        user = getSecurityManager().getUser()
        principal = None
        if user.getId() is not None:
            folder = '/'.join(aq_parent(user).getPhysicalPath())
            principal = f'{folder} {user.getId()}'
        elif user.getUserName() != 'System Processes':
            principal = user.getUserName()
        return {'principal': principal, 'site': getSite().getId()}

    def mess(self, service):
        from ZPublisher.HTTPRequest import HTTPRequest
        from ZPublisher.HTTPResponse import HTTPResponse

        setSite(None)
        setRequest(HTTPRequest(None, {
            'SERVER_NAME': 'x', 'SERVER_PORT': '1'}, HTTPResponse()))
        SecurityManagement.newSecurityManager(
            None, aq_base(getSecurityManager().getUser()))
        thread_local.interaction = None

    def state(self):
        manager = getSecurityManager()
        # Whoever asks gets one for nobody, where there was none.
        if aq_base(manager.getUser()) is nobody:
            manager = None
        return (getSite(), getRequest(), manager,
                getattr(thread_local, 'interaction', None))
