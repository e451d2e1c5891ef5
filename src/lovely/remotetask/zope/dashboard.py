"""The pages of a service, as a view of Zope: ``<service>/dashboard/``."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import transaction
from AccessControl import Unauthorized
from AccessControl import getSecurityManager
from AccessControl.users import nobody
from Products.Five.browser import BrowserView
from zope.interface import implementer
from zope.publisher.interfaces.browser import IBrowserPublisher

from lovely.remotetask.host import visit
from lovely.remotetask.web.names import Names
from lovely.remotetask.zope.permissions import TITLES

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.web import requests

try:
    from plone.protect import authenticator
except ImportError:
    authenticator = None

NAME = 'dashboard'


class _PloneTokens:
    """See requests.Csrf: the tokens of plone.protect."""

    field = '_authenticator'

    def __init__(self, request: Any) -> None:
        self._request = request

    def token(self) -> str:
        """See Csrf"""
        return str(authenticator.createToken())

    def is_valid(self, token: str) -> bool:
        """See Csrf"""
        # The token of the form that is under way: it is read from there.
        return bool(authenticator._verify_request(self._request))


@implementer(IBrowserPublisher)
class Dashboard(Names, BrowserView):
    """Answers everything below its own address.

    Every visitor gets as far as here: the surface asks for the permission of
    each page, for the styles need none.
    """

    def __call__(self) -> bytes:
        """Answer the request.  Txn: as ``answer``."""
        asked, answer = self.answer(
            '/'.join(self._names),
            f'{self.context.absolute_url_path()}/{NAME}')
        if answer.status == 403 and self.user() is None and (
                self.request.method in ('GET', 'HEAD') and not asked.is_live):
            # Zope asks for a login.  Not by the script of a page: the browser
            # would interrupt its reader with a dialog.
            raise Unauthorized(NAME)
        return self.send(answer)

    def answer(self, path: str, base: str
               ) -> tuple[requests.Request, requests.Response]:
        """What the surface is asked, and what it answers.

        Arguments: ``path``, below the mount point; ``base``, that.
        Txn: the publisher's; doomed unless something is changed by it.
        """
        # Plone would write the page anew, in quirks mode and with a script
        # and a token of its own in each form.
        self.request.environ['plone.transformchain.disable'] = True
        # Imported here and not above: each start of a Zope would take 2 % more
        # for pages that few of its processes ever show.
        from lovely.remotetask.web import surface

        asked = self._request(path, base)
        answer = surface.respond(asked)
        if answer.status >= 400 or self.request.method in ('GET', 'HEAD'):
            transaction.doom()
        return asked, answer

    def send(self, answer: requests.Response) -> bytes:
        """Put an answer into the response.  Returns: its body."""
        response = self.request.response
        response.setStatus(answer.status, lock=True)
        for name, value in answer.headers.items():
            response.setHeader(name, value)
        response.setHeader('Content-Type', answer.content_type)
        return answer.body

    def _request(self, path: str, base: str) -> requests.Request:
        # As above.
        from lovely.remotetask.web import csrf
        from lovely.remotetask.web import requests

        request, context = self.request, self.context
        user = self.user()
        return requests.Request(
            request.method, path,
            dict(urllib.parse.parse_qsl(
                request.environ.get('QUERY_STRING', ''),
                keep_blank_values=True)),
            _headers(request),
            request.environ.get('CONTENT_TYPE', '').partition(';')[0].strip()
            .lower(), self._body, base, request['SERVER_URL'], user or '',
            lambda one: bool(getSecurityManager().checkPermission(
                TITLES[one], context)),
            csrf.of_service(self._run, user or '') if authenticator is None
            else _PloneTokens(request), self._run, self._transact(),
            request.getClientAddr(), self._links(),
            (context._p_jar.db(), context._p_oid))

    def user(self) -> str | None:
        """The name of the account; None: a visitor without a login."""
        user = getSecurityManager().getUser()
        if user is None or user.getUserName() == nobody.getUserName():
            return None
        return str(user.getUserName())

    def _body(self) -> bytes:
        from lovely.remotetask.web import requests

        stream = self.request.stdin
        # The publisher has read it already, into fields of its own making.
        stream.seek(0)
        body = stream.read(requests.DEFAULT_LIMIT + 1)
        if len(body) > requests.DEFAULT_LIMIT:
            raise requests.Refused(
                413, f'the body is larger than {requests.DEFAULT_LIMIT} bytes')
        return bytes(body)

    def _run(self, function: Callable[[TaskService], object],
             writes: bool) -> object:
        """See presenter.Run"""
        try:
            return function(self.context)
        except BaseException:
            transaction.doom()
            raise

    def _transact(self) -> requests.Transacts:
        """See bulk.Transact"""
        host = self.context.host
        return functools.partial(
            visit, self.context._p_jar.db(), host.path_of(self.context), host,
            writes=True)

    def _links(self) -> list[tuple[str, str]]:
        """Where people come from."""
        if authenticator is None:
            parent = self.context.aq_parent
            return [('Back to the folder',
                     f'{parent.absolute_url_path()}/manage_main')]
        portal = getattr(self.context, 'portal_url', None)
        if portal is None:
            return []
        site = portal.getPortalObject().absolute_url_path()
        return [('Site Setup', f'{site}/@@overview-controlpanel')]


class ToJobs(BrowserView):
    """``jobs.html``, where bookmarks of 0.5.2 lead to."""

    def __call__(self) -> str:
        """Send the browser to the list of jobs."""
        self.request.response.redirect(
            f'{self.context.absolute_url()}/{NAME}/jobs', status=303)
        return ''


def _headers(request: Any) -> dict[str, str]:
    found = {name[5:].lower().replace('_', '-'): value
             for name, value in request.environ.items()
             if name.startswith('HTTP_')}
    # The publisher takes it out of the environment.
    if request._auth:
        found['authorization'] = request._auth
    return found
