"""A Pyramid application with pyramid_zodbconn: see plain.py for the words."""

from contextlib import contextmanager
from contextlib import suppress

from pyramid.authentication import AuthTktCookieHelper
from pyramid.authorization import ACLHelper
from pyramid.authorization import Allow
from pyramid.authorization import Everyone
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.scripting import prepare
from pyramid.threadlocal import get_current_request
from pyramid.threadlocal import manager as threadlocals
from pyramid_zodbconn import get_connection
from transaction.interfaces import NoTransaction
from zope.component.hooks import getSite
from zope.component.hooks import setSite

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITask


class Policy:
    """Tickets in a cookie, and a list of the users that exist."""

    def __init__(self, users):
        self.users = users
        self.helper = AuthTktCookieHelper('a secret of the tests')

    def identity(self, request):
        found = self.helper.identify(request)
        if found is not None and found['userid'] in self.users:
            return found['userid']
        return None

    authenticated_userid = identity

    def permits(self, request, context, permission):
        user = self.identity(request)
        return ACLHelper().permits(
            context, [Everyone] + ([user] if user else []), permission)

    def remember(self, request, userid, **options):
        return self.helper.remember(request, userid, **options)

    def forget(self, request, **options):
        return self.helper.forget(request)


class Root:
    """The application's root, with its access control list."""

    __name__ = __parent__ = None
    __acl__ = (
        (Allow, 'boss', (VIEW, ADD, MANAGE)),
        (Allow, 'clerk', (VIEW, ADD)),
    )

    def __init__(self, request):
        self.request = request


class World:

    users = ('boss', 'clerk')
    system = None
    site = None

    def __init__(self, directory):
        self._users = set(self.users)
        self._policy = Policy(self._users)
        self.config = Configurator(
            # This module is in no package: see the kit's conftest.
            package='lovely.remotetask',
            settings={
                'zodbconn.uri': f'file://{directory}/Data.fs',
                'tm.manager_hook': 'pyramid_tm.explicit_manager',
                'remotetask.base_url': 'https://www.example.com/app'},
            root_factory=Root, security_policy=self._policy)
        self.config.include('pyramid_zodbconn')
        self.config.include('lovely.remotetask.pyramid')
        self.config.add_task_service()
        self.app = self.config.make_wsgi_app()
        self.registry = self.app.registry
        self.host = self.registry.getUtility(IHost)
        self.database = self.host.database()

    def close(self):
        self.database.close()

    def register(self, name, task):
        self.registry.registerUtility(task, ITask, name)

    @contextmanager
    def acting(self, user=None):
        request = Request.blank('/')
        request.registry = self.registry
        if user is not None:
            request.headers['Cookie'] = self._policy.remember(
                request, user)[0][1].partition(';')[0]
        with prepare(request, self.registry) as env:
            request.root = env['root']
            request.tm.begin()
            if user is None:
                # The application's code, outside of any request.
                self.config.begin(request=None)
            try:
                yield get_connection(request).root()['tasks']
                request.tm.commit()
            finally:
                if user is None:
                    self.config.end()
                with suppress(NoTransaction):
                    request.tm.abort()

    def forget(self, user):
        self._users.remove(user)

    def seen(self, service):
        request = get_current_request()
        assert request.registry is self.registry
        assert get_connection(request) is service._p_jar
        return {'principal': request.authenticated_userid,
                'site': getSite()}

    def mess(self, service):
        setSite(None)
        threadlocals.clear()
        threadlocals.push({'registry': None, 'request': None})

    def state(self):
        return threadlocals.stack[:], getSite()
