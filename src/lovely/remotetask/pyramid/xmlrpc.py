"""The view that answers XML-RPC calls by ``web.xmlrpc_calls``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from pyramid.httpexceptions import HTTPForbidden
from pyramid.httpexceptions import HTTPRequestEntityTooLarge
from pyramid.response import Response

from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.pyramid.services import task_service
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web.requests import DEFAULT_LIMIT

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def make_view(service: str, by_method: bool) -> Callable[[Any], Response]:
    """A view that answers XML-RPC calls for a declared service.

    Arguments: ``by_method``: each method takes its own permission.
    Txn: the request's; it is doomed where the answer is a Fault.
    """
    def view(request: Any) -> Response:
        # What tells of the methods is for every caller of one of them.
        if by_method:
            _demand(request, VIEW, ADD)
        if (request.content_length or 0) > DEFAULT_LIMIT:
            raise HTTPRequestEntityTooLarge(
                f'the body is larger than {DEFAULT_LIMIT} bytes; store the '
                f'data elsewhere and pass its place')

        def run(function: Callable[[TaskService], object], writes: bool
                ) -> object:
            if by_method:
                _demand(request, ADD if writes else VIEW)
            try:
                return function(task_service(request, service))
            except (RemoteTaskError, ValueError):
                request.tm.doom()
                raise

        return Response(body=xmlrpc_calls.respond(request.body, run),
                        content_type='text/xml', charset='utf-8')

    return view


def _demand(request: Any, *permissions: str) -> None:
    """Raise HTTPForbidden for a caller who has none of the permissions."""
    if not any(request.has_permission(one) for one in permissions):
        raise HTTPForbidden(f'this takes the permission {permissions[0]}')
