"""The XML-RPC view of a task service, by the name 0.5.2 gave it.

It needs no framework: a host registers it for ITaskService and publishes the
six methods; the WSGI application of ``web`` answers the same ones itself.
"""

import sys
from typing import Any

from lovely.remotetask.web import presenter
from lovely.remotetask.web import rpc


class RemoteTaskServiceXMLRPCAPI:
    """The methods of a service that are published over XML-RPC.

    Arguments: ``context`` (ITaskService); ``request``, the host's.
    Raises, all methods: errors of the service; the host makes Faults of them.
    Txn: the host's.  Source: 0.5.2.
    """

    def __init__(self, context: Any, request: Any) -> None:
        self.context = context
        self.request = request

    def getAvailableTasks(self) -> list[str]:
        return presenter.available_tasks(self._service('getAvailableTasks'))

    def add(self, task: str, input: object = None,
            key: str | None = None) -> int:
        return presenter.add(self._service('add'), task, input, key=key)

    def cancel(self, jobid: int) -> bool:
        presenter.cancel(self._service('cancel'), jobid)
        return True

    def getStatus(self, jobid: int) -> str:
        return presenter.status(self._service('getStatus'), jobid)

    def getResult(self, jobid: int) -> object:
        return presenter.result(self._service('getResult'), jobid)

    def getError(self, jobid: int) -> str:
        return presenter.error(self._service('getError'), jobid)

    def _service(self, name: str) -> Any:
        """The service itself, if the caller may call this method of it."""
        getattr(self.context, name)
        # The ZTK hands it over behind a security proxy, which would close
        # tasks and results to us.  None is there before this is loaded.
        security = sys.modules.get('zope.security.proxy')
        return (self.context if security is None
                else security.removeSecurityProxy(self.context))

    def listMethods(self) -> list[str]:
        return rpc.list_methods()

    def methodHelp(self, name: str) -> str:
        return rpc.method_help(name)

    def methodSignature(self, name: str) -> list[list[str]]:
        return rpc.method_signature(name)


def _document() -> None:
    # One text for the reader of the code and for methodHelp.
    for name, method in rpc.METHODS.items():
        getattr(RemoteTaskServiceXMLRPCAPI, name).__doc__ = method.help


_document()
