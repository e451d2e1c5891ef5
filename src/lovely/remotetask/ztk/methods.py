"""The XML-RPC methods of a service as a view of the ZTK's publisher."""

from __future__ import annotations

import functools
from typing import Any

from zope.publisher.http import DirectResult
from zope.publisher.http import HTTPResponse

from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web.methods import ServiceMethods


class TaskServiceMethods(ServiceMethods):
    """See ServiceMethods

    Arguments: ``context`` (ITaskService), security-proxied as the publisher
    hands it over; ``request`` (IXMLRPCRequest).
    Raises, all methods: Unauthorized, too; the publisher makes Faults of what
    is raised, and nothing is stored.
    Returns, all methods: None; the response has the answer.
    """

    def _answer(self, value: Any) -> None:
        # Past the response's own marshaller: that one sends a Fault for an
        # integer over 31 bits, a job's id too, and lets the transaction
        # commit.
        body = xmlrpc_calls.dump(value)
        response = self.request.response
        response.setHeader('Content-Type', 'text/xml;charset=utf-8')
        response.setHeader('Content-Length', str(len(body)))
        response.setResult = functools.partial(_settled, response)
        HTTPResponse.setResult(response, DirectResult((body,)))


def _settled(response: Any, result: object) -> None:
    """Let pass, once, what the publisher got from the view: nothing."""
    del response.setResult
