"""Zope as a host: its sites, requests and inputs; for its users see user.py.

A service of Zope (``zope.service.TaskService``) has this host, and so has any
service in a process that runs Zope.  A service that is no object of Zope is
treated as by the plain host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING
from typing import Any

from AccessControl import Unauthorized
from AccessControl import getSecurityManager
from AccessControl.users import system
from Acquisition import aq_base
from Acquisition import aq_inner
from Acquisition import aq_parent
from App.config import getConfiguration
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.event import notify
from zope.globalrequest import clearRequest
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.publisher.browser import setDefaultSkin
from zope.traversing.interfaces import BeforeTraverseEvent
from ZPublisher.BaseRequest import BaseRequest
from ZPublisher.BaseRequest import RequestContainer
from ZPublisher.BaseResponse import BaseResponse
from ZPublisher.HTTPRequest import HTTPRequest
from ZPublisher.HTTPResponse import HTTPResponse

from lovely.remotetask import payload
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import SubmitterGone
from lovely.remotetask.errors import TaskError
from lovely.remotetask.host.interaction import interaction
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.zope import paths
from lovely.remotetask.zope import permissions
from lovely.remotetask.zope import urls
from lovely.remotetask.zope import user
from lovely.remotetask.zope.inputs import Wrapped
from lovely.remotetask.zope.inputs import replace

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

# Errors that another attempt meets again, with their subclasses; by name,
# because CMF and Plone may not be installed.
_FINAL = (
    'zExceptions.unauthorized.Unauthorized',
    'zExceptions.BadRequest',
    'Products.CMFCore.WorkflowCore.WorkflowException',
    'zope.interface.exceptions.Invalid',        # of a schema, too
)

_REQUESTS = (BaseRequest, BaseResponse, RequestContainer)


class ZopeHost(PlainHost):
    """See IHost"""

    def path_of(self, service: TaskService) -> ServicePath:
        """See IHost"""
        path = paths.path_of(service)
        if path is None:
            return super().path_of(service)
        return ServicePath(
            path[1:], service._p_oid, self, paths.chain(service))

    def product_configuration(self, name: str) -> Any:
        """See IHost"""
        sections = getattr(getConfiguration(), 'product_config', None)
        return (sections or {}).get(name)

    # -- a run ----------------------------------------------------------------

    @contextmanager
    def running(self, service: TaskService, job: Job | None
                ) -> Iterator[TaskService]:
        """See IHost"""
        if paths.path_of(service) is None:
            with super().running(service, job) as seen:
                yield seen
            return
        with user.kept_user(), _kept_thread(), interaction():
            request = _make_request()
            setRequest(request)
            try:
                seen = _located(service, request)
                acting = user.set_user(seen, job, request)
                _enter(_site_of(seen), request)
                try:
                    yield seen
                except Unauthorized as error:
                    if job is None or acting is system:
                        raise
                    # Another attempt would be refused as well.
                    raise SubmitterGone(
                        f'{job.submitter!r}, as whom job {job.id} runs, is '
                        f'not allowed to do what the task did: {error}'
                        ) from error
            finally:
                request.close()

    # -- the acting user ------------------------------------------------------

    def submitter(self) -> str | None:
        """See IHost"""
        return user.submitter()

    def permits(self, service: TaskService, permission: str) -> bool:
        """See IHost"""
        if self.submitter() is None:
            return True
        return bool(getSecurityManager().checkPermission(
            permissions.title(permission), service))

    # -- errors ---------------------------------------------------------------

    def cannot_heal(self, error: BaseException) -> bool:
        """See IHost"""
        section = self.product_configuration('lovely.remotetask') or {}
        text = section.get('final-errors')
        names = _FINAL if text is None else text.replace(',', ' ').split()
        return any(f'{kind.__module__}.{kind.__qualname__}' in names
                   for kind in type(error).__mro__)

    # -- inputs ---------------------------------------------------------------

    def pack(self, value: Any) -> Any:
        """See IHost"""
        return replace(value, _pack)

    def unpack(self, service: TaskService, value: Any) -> Any:
        """See IHost"""
        return replace(value, lambda part: _unpack(service, part))


# --- the thread --------------------------------------------------------------

@contextmanager
def _kept_thread() -> Iterator[None]:
    """Put site and request back after the block."""
    site, request = getSite(), getRequest()
    try:
        yield
    finally:
        setSite(site)
        if request is None:
            clearRequest()
        else:
            setRequest(request)


def _make_request() -> Any:
    """A request that no client sent, fit for views and URLs."""
    request = HTTPRequest(BytesIO(), {
        'SERVER_NAME': 'nohost', 'SERVER_PORT': '80', 'REQUEST_METHOD': 'GET',
        }, HTTPResponse(stdout=BytesIO()))
    # Zope finds views by the layers of the skin.
    setDefaultSkin(request)
    return request


def _located(service: TaskService, request: Any) -> TaskService:
    """The service, wrapped in a request whose URLs are the public ones."""
    *parents, app = paths.chain(service)
    seen = app.__of__(RequestContainer(REQUEST=request))
    request['PARENTS'] = [seen]
    for obj in reversed(parents):
        seen = obj.__of__(seen)
        request['PARENTS'].insert(0, seen)
    urls.publish(request, paths.path_of(seen) or ())
    return seen


def _enter(site: Any, request: Any) -> None:
    """Enter a site as the publisher does when it traverses one."""
    setSite(site)
    if site is None:
        return
    # Plone's languages, layers and themes listen to it.
    notify(BeforeTraverseEvent(site, request))
    if hasattr(aq_base(site), 'setupCurrentSkin'):
        # A site of CMF; closing the request undoes it.
        site.setupCurrentSkin(request)


def _site_of(service: TaskService) -> Any:
    obj = service
    # Not hasattr(obj, 'getSiteManager'): every object in a site acquires that.
    while obj is not None and not ISite.providedBy(obj):
        obj = aq_parent(aq_inner(obj))
    return obj


# --- inputs ------------------------------------------------------------------

def _refuse_request(value: Any) -> None:
    if isinstance(value, _REQUESTS):
        raise InputRejected(
            'contains the request, which ends before the job begins: pass '
            'the values that the task needs')


# A request can be pickled; it would be stored with its headers, passwords too.
payload.refusals.append(_refuse_request)


def _pack(value: Any) -> Any:
    _refuse_request(value)
    base = aq_base(value)
    if base is value:
        return value
    kind = f'{type(base).__module__}.{type(base).__qualname__}'
    path = paths.path_of(value)
    if path is None or not hasattr(base, '_p_jar'):
        raise InputRejected(
            f'contains an acquisition-wrapped {kind} that no path leads to: '
            f'pass the values that the task needs, or the object behind it')
    if base._p_jar is None:
        raise InputRejected(
            f'contains {"/".join(path)} ({kind}), which is in no database '
            f'yet: put it there and call transaction.savepoint(), or pass '
            f'the values that the task needs; temporary objects cannot be '
            f'found again')
    return Wrapped(base, path)


def _unpack(service: TaskService, value: Any) -> Any:
    if type(value) is not Wrapped:
        return value
    for app in paths.applications(service, value.object):
        found = paths.at(app, value.path)
        if found is not None and aq_base(found)._p_oid == value.oid:
            return found
    raise TaskError(
        f'{"/".join(value.path)}, an input of this job, is not there any '
        f'more: it was moved or deleted after the job was added; add a new '
        f'job with the object of today')


#: The host of all services of Zope.
ZOPE = ZopeHost()
