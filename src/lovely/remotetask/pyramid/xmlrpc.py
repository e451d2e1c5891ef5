"""The view that answers XML-RPC calls by ``web.xmlrpc_calls``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from pyramid.httpexceptions import HTTPRequestEntityTooLarge
from pyramid.response import Response

from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.pyramid.services import task_service
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web.app import DEFAULT_LIMIT

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def make_view(service: str) -> Callable[[Any], Response]:
    """A view that answers XML-RPC calls for a declared service.

    Txn: the request's; it is doomed where the answer is a Fault.
    """
    def view(request: Any) -> Response:
        if (request.content_length or 0) > DEFAULT_LIMIT:
            raise HTTPRequestEntityTooLarge(
                f'the body is larger than {DEFAULT_LIMIT} bytes; store the '
                f'data elsewhere and pass its place')

        def run(function: Callable[[TaskService], object], writes: bool
                ) -> object:
            try:
                return function(task_service(request, service))
            except (RemoteTaskError, ValueError):
                request.tm.doom()
                raise

        return Response(body=xmlrpc_calls.respond(request.body, run),
                        content_type='text/xml', charset='utf-8')

    return view
