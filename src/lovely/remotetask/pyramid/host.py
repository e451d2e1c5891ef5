"""A Pyramid application as a host: its registry, and a request for each job.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from pyramid.exceptions import ConfigurationError as PyramidError
from pyramid.interfaces import IRequestFactory
from pyramid.interfaces import IRootFactory
from pyramid.request import Request
from pyramid.request import apply_request_extensions
from pyramid.threadlocal import RequestContext
from pyramid.threadlocal import get_current_registry
from pyramid.threadlocal import get_current_request
from pyramid.threadlocal import manager as threadlocals
from pyramid.traversal import DefaultRootFactory
from transaction import TransactionManager
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.interface import implementer

from lovely.remotetask.edge import caller
from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.host import default
from lovely.remotetask.host import finders
from lovely.remotetask.host.interaction import runs_as
from lovely.remotetask.host.paths import parents
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.pyramid import identity

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job
    from lovely.remotetask.pyramid.services import Declared
    from lovely.remotetask.service import TaskService

#: The key in the environ of a job's request for the connection that the job
#: runs on.
CONNECTION = 'remotetask.connection'

#: pyramid_tm's keys for the transaction manager of a request, and for "its
#: transactions are begun and ended already".
_MANAGER = 'tm.manager'
_ACTIVE = 'tm.active'


def get_connection(request: Any) -> Connection:
    """The request's connection, of an application that uses pyramid_zodbconn.

    Raises: ConfigurationError.
    """
    try:
        import pyramid_zodbconn
    except ImportError:
        raise ConfigurationError(
            'the application has no ZODB: pyramid_zodbconn is not installed; '
            'install it, or name your own function in the setting '
            'remotetask.connection') from None
    try:
        return pyramid_zodbconn.get_connection(request)
    except PyramidError as error:
        raise ConfigurationError(
            f'the application has no ZODB: {error}; include pyramid_zodbconn '
            f'and set zodbconn.uri, or name your own function in the setting '
            f'remotetask.connection') from error


@implementer(IHost)
class PyramidHost(PlainHost):
    """See IHost

    Arguments: ``registry``, the application's; ``connect``, a callable that
    gives the ZODB connection of a request; ``base_url``, the public URL of
    the application; ``anonymous``, the submitter of jobs that requests without
    a user add; None: the application's own account.
    Attributes: ``services``, the declared ones (services.Declared), by name.
    """

    def __init__(self, registry: Any,
                 connect: Callable[[Any], Connection] = get_connection,
                 base_url: str = 'http://localhost',
                 anonymous: str | None = identity.EVERYONE) -> None:
        self._registry = registry
        self._connect = connect
        self._base_url = base_url
        self._anonymous = anonymous
        self.services: dict[str, Declared] = {}

    def registry(self, service: TaskService) -> Any:
        """The application's own, and not the current one of zope.component.
        """
        return self._registry

    def default_service(self) -> TaskService:
        """See IHost"""
        request = get_current_request()
        if request is None:
            raise ServiceNotFound(
                'there is no request here, whose connection leads to the task '
                'services: call add() of a service with the function, or '
                'prepare a request (pyramid.paster.bootstrap)')
        declared = default.choose(
            self.services, 'declare one by config.add_task_service()')
        return declared.find(self.connection(request))

    # -- connections ----------------------------------------------------------

    def connection(self, request: Any) -> Connection:
        """The ZODB connection of a request; raises ConfigurationError."""
        given = request.environ.get(CONNECTION)
        return self._connect(request) if given is None else given

    def database(self) -> DB:
        """The database of the application; raises ConfigurationError."""
        request = self._request()
        # No transaction begins: only the database is asked for.
        request.environ[_MANAGER] = TransactionManager(explicit=True)
        with _current(request):
            return self.connection(request).db()

    # -- a job's run ----------------------------------------------------------

    @contextmanager
    def running(self, service: TaskService, job: Job | None
                ) -> Iterator[TaskService]:
        """See IHost"""
        # A service without a connection is in no database, and runs nothing.
        connection = cast('Connection', caller.jar_of(service))
        with self.prepared(connection, runs_as(job)):
            yield service

    @contextmanager
    def prepared(self, connection: Connection,
                 submitter: str | None = None) -> Iterator[Any]:
        """Give code of the application a request, where no client sent one.

        Like pyramid.scripting.prepare, except that the user is known before
        the root factory is called: it may look at permissions.
        Arguments: ``connection``, which request and code use, with its
        transaction manager; ``submitter``, the user; None: the application's
        own account.
        Gives: the request.
        Raises: SubmitterGone.
        """
        request = self._request()
        request.environ.update({
            CONNECTION: connection, identity.USER: None, _ACTIVE: True,
            _MANAGER: connection.transaction_manager})
        self._lend(request, connection)
        with self._entered(request, submitter):
            yield request

    @contextmanager
    def visitor(self, manager: Any, submitter: str | None = None
                ) -> Iterator[Any]:
        """Give a test a request, as if a client had sent it.

        It opens its connection by itself.
        Arguments: ``manager``, its transaction manager; ``submitter``, the
        user; None: one who has not logged in.
        Gives: the request.
        Raises: SubmitterGone.
        """
        request = self._request()
        request.environ.update({_ACTIVE: True, _MANAGER: manager})
        with self._entered(request, submitter):
            yield request

    @contextmanager
    def _entered(self, request: Any, submitter: str | None) -> Iterator[None]:
        with _current(request):
            if submitter is not None:
                identity.introduce(request, submitter)
            make_root = self._registry.queryUtility(
                IRootFactory, default=DefaultRootFactory)
            request.root = request.context = make_root(request)
            yield

    def _request(self) -> Any:
        factory = self._registry.queryUtility(IRequestFactory, default=Request)
        request = factory.blank('/', base_url=self._base_url)
        request.registry = self._registry
        # A login ticket may hold for one address only.
        request.environ['REMOTE_ADDR'] = '127.0.0.1'
        return request

    def _lend(self, request: Any, connection: Connection) -> None:
        """Let pyramid_zodbconn give this connection to the request.

        Under the name by which it keeps the one that it opened: it has no
        public way.
        """
        databases = getattr(self._registry, '_zodb_databases', None) or {}
        primary, ours = databases.get(''), connection.db()
        if primary is ours:
            request._primary_zodb_conn = connection
        elif primary is not None and ours.databases is primary.databases:
            request._primary_zodb_conn = connection.get_connection('')

    # -- the acting user ------------------------------------------------------

    def submitter(self) -> str | None:
        """See IHost"""
        request = _acting()
        if request is None:
            return None
        userid = request.authenticated_userid
        return self._anonymous if userid is None else identity.write(userid)

    def permits(self, service: TaskService, permission: str) -> bool:
        """See IHost"""
        request = _acting()
        if request is None:
            return True
        # Without a security policy each request is permitted all.
        if (self._anonymous is not None
                and request.authenticated_userid is None):
            return False
        return bool(request.has_permission(
            permission, _secured(request, service)))


def find() -> IHost | None:
    """The host of the application that this thread works for, or None."""
    return get_current_registry().queryUtility(IHost)


# Not by zope.component: it does not see an application's registry.
finders.append(find)


@contextmanager
def _current(request: Any) -> Iterator[None]:
    """Make a request the current one as long as the block runs.

    Afterwards all is as before, also where the task pushed or popped.
    """
    stack, site = threadlocals.stack[:], getSite()
    threadlocals.push({'registry': request.registry, 'request': request})
    try:
        apply_request_extensions(request)
        yield
    finally:
        threadlocals.stack[:] = stack
        setSite(site)
        with RequestContext(request):
            _finish(request)
        threadlocals.stack[:] = stack


def _finish(request: Any) -> None:
    try:
        if request.finished_callbacks:
            request._process_finished_callbacks()
    except Exception:
        # The job has ended by now; this must not change how.
        log.exception('a finished callback of a job\'s request failed')


def _acting() -> Any:
    """The request of the acting user; None: the application's own account."""
    request = get_current_request()
    if request is None or request.environ.get(identity.USER, '') is None:
        return None
    return request


def _secured(request: Any, service: TaskService) -> Any:
    """The context in which a permission on a service is checked.

    For a service in the database's root, which is below no access control
    list, it is the application's root.
    """
    if any(getattr(obj, '__acl__', None) is not None
           for obj in parents(service)):
        return service
    root = getattr(request, 'root', None)
    return service if root is None else root
