"""The XML-RPC view of a task service, by the name that 0.5.2 gave it.

It needs no framework: a host registers it for ITaskService and publishes its
methods; the WSGI application of ``web`` answers the same ones itself.
"""

from lovely.remotetask.web.methods import ServiceMethods


class RemoteTaskServiceXMLRPCAPI(ServiceMethods):
    """See ServiceMethods"""
