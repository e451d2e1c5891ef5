"""The XML-RPC methods of a service as a view of the ZTK's publisher.

Mistakes are raised: the publisher makes Faults of them, and nothing is stored.
"""

from __future__ import annotations

import functools
from typing import Any

from zope.publisher.http import DirectResult
from zope.publisher.http import HTTPResponse
from zope.security.proxy import removeSecurityProxy

from lovely.remotetask.web import rpc


class TaskServiceMethods:
    """What is published of a task service over XML-RPC.

    Arguments: ``context`` (ITaskService, security-proxied as the publisher
    hands it over); ``request`` (IXMLRPCRequest).
    Raises, all methods: errors of the service; Unauthorized.
    Returns, all methods: None; the response has the answer.
    Txn: the publisher's.  Source: 0.5.2.
    """

    # Spelled out: the publisher counts arguments by the signature.

    def __init__(self, context: Any, request: Any) -> None:
        self.context = context
        self.request = request

    def getAvailableTasks(self) -> None:
        self._call('getAvailableTasks')

    def add(self, task: str, input: object = None,
            key: str | None = None) -> None:
        self._call('add', task, input, key)

    def cancel(self, jobid: int) -> None:
        self._call('cancel', jobid)

    def getStatus(self, jobid: int) -> None:
        self._call('getStatus', jobid)

    def getResult(self, jobid: int) -> None:
        self._call('getResult', jobid)

    def getError(self, jobid: int) -> None:
        self._call('getError', jobid)

    def listMethods(self) -> None:
        self._answer(rpc.list_methods())

    def methodHelp(self, name: str) -> None:
        self._answer(rpc.method_help(name))

    def methodSignature(self, name: str) -> None:
        self._answer(rpc.method_signature(name))

    def _call(self, name: str, *arguments: object) -> None:
        # A view may be registered once more with a weaker permission: that
        # of the class holds all the same.
        getattr(self.context, name)
        # Its tasks and results are of the application's classes, which the
        # proxies would close to us.
        service = removeSecurityProxy(self.context)
        self._answer(rpc.METHODS[name].function(service, *arguments))

    def _answer(self, value: object) -> None:
        # Past the response's own marshaller: that one sends a Fault for an
        # integer over 31 bits, a job's id too, and lets the transaction
        # commit.
        body = rpc.dump(value)
        response = self.request.response
        response.setHeader('Content-Type', 'text/xml;charset=utf-8')
        response.setHeader('Content-Length', str(len(body)))
        response.setResult = functools.partial(_settled, response)
        HTTPResponse.setResult(response, DirectResult((body,)))


def _settled(response: Any, result: object) -> None:
    """Let pass, once, what the publisher has got from the view: nothing."""
    del response.setResult
