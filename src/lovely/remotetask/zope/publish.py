"""Publishes a service by URL: its views, and its methods over XML-RPC.

::

    ServerProxy('http://jane:pw@host/site/tasks').add('echo', {'foo': 'bar'})
    ServerProxy('http://jane:pw@host/site/tasks/@@xmlrpc').add(...)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import transaction
from AccessControl import ClassSecurityInfo
from AccessControl import Unauthorized
from AccessControl.class_init import InitializeClass
from Acquisition import aq_base
from App.config import getConfiguration
from Products.Five.browser import BrowserView
from transaction.interfaces import TransientError
from zExceptions import Forbidden
from zope.interface import alsoProvides
from zope.interface import implementer
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from ZPublisher.BaseRequest import DefaultPublishTraverse
from ZPublisher.xmlrpc import is_xmlrpc_response

from lovely.remotetask.edge.log import log
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web import xmlrpc_faults
from lovely.remotetask.web.methods import INTROSPECTION
from lovely.remotetask.web.methods import METHODS
from lovely.remotetask.zope.permissions import TITLES

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

try:
    from plone.protect.interfaces import IDisableCSRFProtection
except ImportError:
    IDisableCSRFProtection = None

_BROKEN = 'the server failed to answer; its log says why'


@implementer(IBrowserPublisher)
class Verb(BrowserView):
    """One method of a service, for XML-RPC only."""

    security = ClassSecurityInfo()
    security.declareObjectProtected(TITLES[VIEW])
    security.setDefaultAccess('deny')

    def __init__(self, context: Any, request: Any, name: str) -> None:
        super().__init__(context, request)
        self.__name__ = name

    def publishTraverse(self, request: Any, name: str) -> Any:
        """See IBrowserPublisher"""
        raise NotFound(self, name, request)

    def browserDefault(self, request: Any) -> Any:
        """See IBrowserPublisher"""
        # Our own parser reads the arguments again: the publisher's knows no
        # bytes, dates and large numbers.
        request.args = ()
        return self, ()

    def __call__(self) -> Any:
        """Answer the call.

        Txn: the publisher's; doomed where the answer is a Fault.
        """
        if IDisableCSRFProtection is not None:
            # A cross-site request cannot have this content type.  Without
            # this, plone.protect would silently undo the writes of the call.
            alsoProvides(self.request, IDisableCSRFProtection)
        try:
            answer = xmlrpc_calls.respond(
                self.request['BODY'], self._run, self.__name__)
        except (TransientError, Unauthorized):
            raise
        except Exception:
            log.exception('an XML-RPC call failed')
            answer = xmlrpc_faults.dump_fault(
                xmlrpc_faults.INTERNAL_ERROR, _BROKEN)
        response = self.request.response
        # Past the response's own marshaller: the answer is one already.
        response._real.setBody(answer)
        response.setHeader('Content-Type', 'text/xml; charset=utf-8')
        return response

    def _run(self, function: Callable[[TaskService], object],
             writes: bool) -> object:
        try:
            return function(self.context)
        except BaseException:
            transaction.doom()
            raise


InitializeClass(Verb)


class WritingVerb(Verb):
    """A method that writes."""

    security = ClassSecurityInfo()
    security.declareObjectProtected(TITLES[ADD])


InitializeClass(WritingVerb)


def _verb(context: Any, request: Any, name: str) -> Any:
    """The method of this name, or None; None also for other requests."""
    if not is_xmlrpc_response(request.response):
        return None
    # Zope makes a path of the dots in a method's name: no system.listMethods.
    method = METHODS.get(name)
    if method is None and name not in INTROSPECTION:
        return None
    kind = WritingVerb if method is not None and method.writes else Verb
    return kind(context, request, name)


class ServiceTraverser(DefaultPublishTraverse):
    """Traverses the names that follow the service in a URL."""

    def publishTraverse(self, request: Any, name: str) -> Any:
        """See IPublishTraverse"""
        verb = _verb(self.context, request, name)
        if verb is not None:
            return verb
        base = aq_base(self.context)
        # An attribute that its class has not declared is not published: by
        # itself, the publisher would give it to each user who may see the
        # service.
        if hasattr(base, name) and (
                getattr(base.__class__, f'{name}__roles__', ()) == ()):
            raise NotFound(self.context, name, request)
        return super().publishTraverse(request, name)


@implementer(IBrowserPublisher)
class XMLRPCView(BrowserView):
    """The methods of a service below a view of it."""

    def publishTraverse(self, request: Any, name: str) -> Any:
        """See IBrowserPublisher"""
        verb = _verb(self.context, request, name)
        if verb is None:
            raise Forbidden(f'{name} is for XML-RPC: POST a methodCall with '
                            f'the content type text/xml')
        return verb

    def browserDefault(self, request: Any) -> Any:
        """See IBrowserPublisher"""
        raise Forbidden('this is for XML-RPC: POST a methodCall with the '
                        'content type text/xml')


def tell_of_xmlrpc(event: Any) -> None:
    """Log, when Zope starts, that it answers no XML-RPC."""
    # Zope 6.2 and newer; older ones have no such key or have it on.
    if not getattr(getConfiguration(), 'enable_xmlrpc', True):
        log.info('XML-RPC is switched off in this Zope: task services answer '
                 'it once zope.conf has the line "enable-xmlrpc on"')
