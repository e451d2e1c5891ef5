"""The pages of a service, as a view of the ZTK: ``<service>/@@dashboard/``."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import transaction
from zope.authentication.interfaces import IUnauthenticatedPrincipal
from zope.interface import implementer
from zope.publisher.browser import BrowserView
from zope.publisher.http import DirectResult
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.security import checkPermission
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy
from zope.traversing.browser.absoluteurl import absoluteURL

from lovely.remotetask.host import visit
from lovely.remotetask.web import csrf
from lovely.remotetask.web import requests
from lovely.remotetask.web import surface
from lovely.remotetask.web.names import Names
from lovely.remotetask.web.pages import compiled

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

NAME = '@@dashboard'


class ServiceView(BrowserView):
    """A view that answers by the surface.

    Every visitor gets as far as here: each page asks for its permission.
    """

    def __call__(self) -> DirectResult:
        """Answer the request.

        Txn: the publisher's; doomed unless something is changed by it.
        """
        method = self.request.method
        asked = self._request()
        answer = self._respond(asked)
        if answer.status >= 400 or method in ('GET', 'HEAD'):
            transaction.doom()
        if answer.status == 403 and not self._user() and (
                method in ('GET', 'HEAD') and not asked.is_live):
            # The application asks for a login.  Not by the script of a page:
            # the browser would interrupt its reader with a dialog.
            raise Unauthorized(NAME)
        response = self.request.response
        response.setStatus(answer.status)
        for name, value in answer.headers.items():
            response.setHeader(name, value)
        response.setHeader('Content-Type', answer.content_type)
        response.setHeader('Content-Length', str(len(answer.body)))
        # Past the publisher, which would put a <base> into the page.
        return DirectResult((answer.body,))

    def _respond(self, asked: requests.Request) -> requests.Response:
        """The answer; see surface.respond."""
        raise NotImplementedError

    def _service(self) -> TaskService:
        """The service that the view is about, without a security proxy."""
        service: TaskService = removeSecurityProxy(self.context)
        return service

    def _path(self) -> str:
        """What follows the address of the dashboard."""
        return ''

    def _here(self) -> str:
        """The path of the view's own address, where it is not the dashboard.
        """
        return ''

    def _request(self) -> requests.Request:
        request = self.request
        service = self._service()
        url = urllib.parse.urlsplit(absoluteURL(service, request))
        environ = request._environ
        user = self._user()
        jar: Any = service._p_jar
        return requests.Request(
            request.method, self._path(),
            dict(urllib.parse.parse_qsl(environ.get('QUERY_STRING', ''),
                                        keep_blank_values=True)),
            {name[5:].lower().replace('_', '-'): value
             for name, value in environ.items() if name.startswith('HTTP_')},
            environ.get('CONTENT_TYPE', '').partition(';')[0].strip().lower(),
            self._body, f'{url.path}/{NAME}', f'{url.scheme}://{url.netloc}',
            user, lambda one: bool(checkPermission(one, service)),
            csrf.of_service(self._run, user), self._run,
            self._transact(service), environ.get('REMOTE_ADDR', ''),
            place=(jar.db(), service._p_oid), here=self._here())

    def _user(self) -> str:
        """The name of the account; '': a visitor without a login."""
        principal = self.request.principal
        if principal is None or IUnauthenticatedPrincipal.providedBy(
                principal):
            return ''
        return str(principal.title or principal.id)

    def _body(self) -> bytes:
        # The publisher has read it already, into fields of its own making.
        stream = self.request.bodyStream.getCacheStream()
        body = stream.read(requests.DEFAULT_LIMIT + 1)
        if len(body) > requests.DEFAULT_LIMIT:
            raise requests.Refused(
                413, f'the body is larger than {requests.DEFAULT_LIMIT} bytes')
        return bytes(body)

    def _run(self, function: Callable[[TaskService], object],
             writes: bool) -> object:
        """See presenter.Run"""
        try:
            return function(self._service())
        except BaseException:
            transaction.doom()
            raise

    def _transact(self, service: TaskService) -> requests.Transacts:
        """See bulk.Transact"""
        host = service.host
        jar: Any = service._p_jar
        return functools.partial(visit, jar.db(), host.path_of(service), host,
                                 writes=True)


@implementer(IBrowserPublisher)
class Dashboard(Names, ServiceView):
    """Answers everything below its own address."""

    def _respond(self, asked: requests.Request) -> requests.Response:
        return surface.respond(asked)

    def _path(self) -> str:
        return '/'.join(self._names)


def prepare_pages(event: Any) -> None:
    """Let the first page be quick; listens to IProcessStarting."""
    compiled.begin()


class OtherMethods:
    """Has the publisher call a dashboard by the name of the method.

    Arguments: ``context`` (Dashboard).
    """

    def __init__(self, context: Any, request: Any) -> None:
        self._answer = context

    def DELETE(self) -> DirectResult:
        """See Dashboard.__call__"""
        return self._answer()

    PUT = DELETE
