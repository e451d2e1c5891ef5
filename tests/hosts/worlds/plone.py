"""A Plone site with users of its own; Zope is started once."""

import atexit
import importlib.util
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import transaction
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from OFS.Application import Application
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component.hooks import setSite


def _zope():
    # pytest imports these without their directory on sys.path.
    spec = importlib.util.spec_from_file_location(
        'remotetask_world_zope', Path(__file__).with_name('zope.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


zope = _zope()

#: The directory of the database that is copied, once it is made.
_made = []


class World(zope.World):
    """See plain.World"""

    users = ('/acl_users chief', '/site/acl_users jane')

    def __init__(self, directory):
        zope.start_zope()
        from lovely.remotetask.zope import host

        self.host = host.ZOPE
        self.path = ['site', 'tasks']
        self._names = []
        if not _made:
            # A site takes seconds to make: each test gets a copy of one.
            made = Path(tempfile.mkdtemp())
            atexit.register(shutil.rmtree, made, ignore_errors=True)
            self._open(made)
            with self._manager() as app:
                self._make_site(app)
            self.database.close()
            _made.append(made)
        shutil.copytree(_made[0], directory, dirs_exist_ok=True)
        self._open(directory)

    def _open(self, directory):
        self.database = DB(FileStorage(
            str(directory / 'Data.fs'), blob_dir=str(directory / 'blobs')))

    @contextmanager
    def _manager(self):
        from Testing.makerequest import makerequest

        connection = self.database.open()
        if 'Application' not in connection.root():
            connection.root()['Application'] = Application()
            transaction.savepoint()
            users = connection.root()['Application'].acl_users
            users.userFolderAddUser('chief', 'secret-pw', ['Manager'], [])
        app = makerequest(connection.root()['Application'])
        newSecurityManager(None, app.acl_users.getUser('chief'))
        try:
            yield app
            transaction.commit()
        finally:
            transaction.abort()
            # What is held by it wants the connection when it goes.
            app.REQUEST.close()
            noSecurityManager()
            setSite(None)
            connection.close()

    def _make_site(self, app):
        from Products.CMFPlone.factory import addPloneSite

        site = addPloneSite(
            app, 'site', extension_ids=('lovely.remotetask:default',))
        site.acl_users.userFolderAddUser('jane', 'secret-pw', ['Member'], [])
        site.manage_permission('Remote tasks: Add jobs', ['Member'], 1)
