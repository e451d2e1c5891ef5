"""The view that shows the pages by ``web.surface``."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pyramid.csrf import check_csrf_token
from pyramid.csrf import get_csrf_token
from pyramid.httpexceptions import HTTPPermanentRedirect
from pyramid.interfaces import ISessionFactory
from pyramid.response import Response
from pyramid.traversal import split_path_info

from lovely.remotetask.host import visit
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.pyramid.services import task_service
from lovely.remotetask.web import csrf
from lovely.remotetask.web import requests
from lovely.remotetask.web import surface

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


class _SessionTokens:
    """See requests.Csrf: the tokens of the application's session."""

    field = 'csrf_token'

    def __init__(self, request: Any) -> None:
        self._request = request

    def token(self) -> str:
        """See Csrf"""
        return str(get_csrf_token(self._request))

    def is_valid(self, token: str) -> bool:
        """See Csrf"""
        # The token of the form that is under way: Pyramid reads it there.
        return bool(check_csrf_token(self._request, raises=False))


def make_view(service: str, permissions: Mapping[str, str]
              ) -> Callable[[Any], Response]:
    """A view that answers everything below one route.

    Arguments: ``service``, the name of a declared service; ``permissions``,
    VIEW, ADD and MANAGE -> the application's own.
    Txn: the request's; doomed unless something is changed by it.
    """
    def view(request: Any) -> Response:
        def run(function: Callable[[TaskService], object], writes: bool
                ) -> object:
            try:
                found = function(task_service(request, service))
            except BaseException:
                request.tm.doom()
                raise
            if not writes and request.method in ('GET', 'HEAD'):
                request.tm.doom()
            return found

        answer = surface.respond(_request(request, service, permissions, run))
        if answer.status >= 400:
            request.tm.doom()
        response = Response(body=answer.body, status=answer.status)
        response.headers['Content-Type'] = answer.content_type
        response.headers.update(answer.headers)
        return response

    return view


def add_slash(request: Any) -> Response:
    """Send ``/prefix`` to ``/prefix/``: the links of the pages begin there."""
    query = f'?{request.query_string}' if request.query_string else ''
    return HTTPPermanentRedirect(f'{request.path_url}/{query}')


def _request(request: Any, service: str, permissions: Mapping[str, str],
             run: Any) -> requests.Request:
    host = request.registry.getUtility(IHost)
    user = request.authenticated_userid
    name = '' if user is None else str(user)
    rest = '/'.join(split_path_info(request.matchdict['rest']))
    tokens: requests.Csrf = (
        csrf.of_service(run, name)
        if request.registry.queryUtility(ISessionFactory) is None
        else _SessionTokens(request))

    def body() -> bytes:
        if (request.content_length or 0) > requests.DEFAULT_LIMIT:
            raise requests.Refused(
                413, f'the body is larger than {requests.DEFAULT_LIMIT} bytes')
        return bytes(request.body)

    def transact(function: Callable[[TaskService], object],
                 writes: bool = True) -> object:
        return visit(host.database(), host.services[service].path, host,
                     function, writes)

    return requests.Request(
        request.method, rest, dict(request.GET.items()),
        {key.lower(): value for key, value in request.headers.items()},
        request.content_type, body,
        request.route_path(request.matched_route.name, rest='').rstrip('/'),
        request.host_url, name,
        lambda one: bool(request.has_permission(permissions[one])), tokens,
        run, transact, request.client_addr or '', place=(host, service))
