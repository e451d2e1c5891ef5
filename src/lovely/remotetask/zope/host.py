"""Zope as a host: see interfaces.IHost.

A service of Zope (``zope.service.TaskService``) has this host; so has, in a
process that runs Zope, whatever asks for the current one.  Services that are
no objects of Zope are treated as by the plain host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from AccessControl import Unauthorized
from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.SecurityManagement import setSecurityManager
from AccessControl.users import emergency_user
from AccessControl.users import nobody
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
from lovely.remotetask.host import PlainHost
from lovely.remotetask.host import ServicePath
from lovely.remotetask.host import interaction
from lovely.remotetask.host import runs_as
from lovely.remotetask.zope import permissions
from lovely.remotetask.zope import urls
from lovely.remotetask.zope.inputs import Wrapped
from lovely.remotetask.zope.inputs import replace

#: The submitter of jobs that nobody in particular has added in a request.
ANONYMOUS = 'Anonymous User'

_REQUESTS = (BaseRequest, BaseResponse, RequestContainer)

#: Zope's name for any user folder: it ends the path in a submitter.
_FOLDER = '/acl_users '


def chain(obj: Any) -> Iterator[Any]:
    """An object and all it is in, bare, innermost first."""
    obj = aq_inner(obj)
    while obj is not None and not isinstance(aq_base(obj), RequestContainer):
        yield aq_base(obj)
        obj = aq_parent(aq_inner(obj))


def path_of(obj: Any) -> tuple[str, ...] | None:
    """The physical path of an object, None where it does not lead here."""
    get_path = getattr(aq_base(obj), 'getPhysicalPath', None)
    path = tuple(obj.getPhysicalPath()) if get_path is not None else ()
    return path if path[:1] == ('',) else None


class ZopeHost(PlainHost):
    """See IHost"""

    def path_of(self, service: Any) -> list[str]:
        """See IHost"""
        path = path_of(service)
        if path is None:
            return super().path_of(service)
        return ServicePath(path[1:], service._p_oid, self)

    def product_configuration(self, name: str) -> Any:
        """See IHost"""
        sections = getattr(getConfiguration(), 'product_config', None)
        return (sections or {}).get(name)

    # -- a run ----------------------------------------------------------------

    @contextmanager
    def running(self, service: Any, job: Any) -> Iterator[Any]:
        """See IHost"""
        if path_of(service) is None:
            with super().running(service, job) as seen:
                yield seen
            return
        with _kept_thread(), interaction():
            request = _make_request()
            setRequest(request)
            try:
                seen = _located(service, request)
                user = self._user(seen, job)
                request['AUTHENTICATED_USER'] = user
                newSecurityManager(request, user)
                _enter(_site_of(seen), request)
                try:
                    yield seen
                except Unauthorized as error:
                    if user is system:
                        raise
                    # Nobody gets more rights by trying again.
                    raise SubmitterGone(
                        f'{job.submitter!r}, as whom job {job.id} runs, is '
                        f'not allowed to do what the task did: {error}'
                        ) from error
            finally:
                request.close()

    def _user(self, service: Any, job: Any) -> Any:
        """Who a job's submitter is.  Raises: SubmitterGone."""
        submitter = runs_as(job)
        if submitter is None:
            return system
        if submitter == ANONYMOUS:
            return nobody
        place, found, name = submitter.partition(_FOLDER)
        path = f'{place}{_FOLDER}'.strip() if found else ''
        app = service.getPhysicalRoot()
        folder = _at(app, tuple(path.split('/'))) if found else None
        if folder is None:
            raise SubmitterGone(
                f'job {job.id} is to run as {submitter!r}, and there is no '
                f'such user folder; add it again as somebody else')
        user = folder.getUserById(name)
        if user is None and not place and name == emergency_user.getId():
            user = emergency_user
        if user is None:
            raise SubmitterGone(
                f'job {job.id} is to run as {submitter!r}, and that user '
                f'folder has no user of this id any more; add it again as '
                f'somebody else')
        return user if aq_parent(user) is not None else user.__of__(folder)

    # -- who acts -------------------------------------------------------------

    def submitter(self) -> str | None:
        """See IHost"""
        user = getSecurityManager().getUser()
        base = aq_base(user)
        if base is system:
            return None
        if user is None or base is nobody or user.getId() is None:
            return None if getRequest() is None else ANONYMOUS
        folder = aq_parent(aq_inner(user))
        path = path_of(folder) if folder is not None else None
        # Of a user without a folder nobody can find out more than the name;
        # this one is in no folder, and the job will end saying so.
        return f'{"/".join(path or ("?",))} {user.getId()}'

    def permits(self, service: Any, permission: str) -> bool:
        """See IHost"""
        if self.submitter() is None:
            return True
        return bool(getSecurityManager().checkPermission(
            permissions.title(permission), service))

    # -- inputs ---------------------------------------------------------------

    def pack(self, value: Any) -> Any:
        """See IHost"""
        return replace(value, _pack)

    def unpack(self, service: Any, value: Any) -> Any:
        """See IHost"""
        return replace(value, lambda part: _unpack(service, part))


# --- the thread --------------------------------------------------------------

@contextmanager
def _kept_thread() -> Iterator[None]:
    """Site, request and security manager are as before afterwards."""
    site, request = getSite(), getRequest()
    manager = getSecurityManager()
    was_nobody = aq_base(manager.getUser()) is nobody and request is None
    try:
        yield
    finally:
        setSite(site)
        if request is None:
            clearRequest()
        else:
            setRequest(request)
        # Asking for it has made one for nobody: a thread that had none is
        # not to keep that, its number is used again.
        if was_nobody:
            noSecurityManager()
        else:
            setSecurityManager(manager)


def _make_request() -> Any:
    """A request of nobody's, good for views and URLs."""
    request = HTTPRequest(BytesIO(), {
        'SERVER_NAME': 'nohost', 'SERVER_PORT': '80', 'REQUEST_METHOD': 'GET',
        }, HTTPResponse(stdout=BytesIO()))
    # Views are found by the layers of the default skin.
    setDefaultSkin(request)
    return request


def _located(service: Any, request: Any) -> Any:
    """The service as it is in a request whose URLs are the public ones."""
    *parents, app = chain(service)
    seen = app.__of__(RequestContainer(REQUEST=request))
    request['PARENTS'] = [seen]
    for obj in reversed(parents):
        seen = obj.__of__(seen)
        request['PARENTS'].insert(0, seen)
    urls.publish(request, path_of(seen) or ())
    return seen


def _enter(site: Any, request: Any) -> None:
    """What the publisher does when it comes to a site."""
    setSite(site)
    if site is None:
        return
    # Languages, layers and themes of Plone come by it.
    notify(BeforeTraverseEvent(site, request))
    if hasattr(aq_base(site), 'setupCurrentSkin'):
        # A site of CMF; closing the request undoes it.
        site.setupCurrentSkin(request)


def _site_of(service: Any) -> Any:
    obj = service
    # Not hasattr(obj, 'getSiteManager'): everything in a site acquires that.
    while obj is not None and not ISite.providedBy(obj):
        obj = aq_parent(aq_inner(obj))
    return obj


# --- inputs ------------------------------------------------------------------

def _refuse_request(value: Any) -> None:
    if isinstance(value, _REQUESTS):
        raise InputRejected(
            'contains the request, which ends before the job begins: pass '
            'the values that the task needs')


# It pickles, and so would be stored with all it has read, passwords too.
payload.refusals.append(_refuse_request)


def _pack(value: Any) -> Any:
    _refuse_request(value)
    base = aq_base(value)
    if base is value:
        return value
    kind = f'{type(base).__module__}.{type(base).__qualname__}'
    path = path_of(value)
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


def _unpack(service: Any, value: Any) -> Any:
    if type(value) is not Wrapped:
        return value
    found = _at(service.getPhysicalRoot(), value.path)
    if found is None or aq_base(found)._p_oid != value.object._p_oid:
        raise TaskError(
            f'{"/".join(value.path)}, an input of this job, is not there any '
            f'more: it was moved or deleted after the job was added; add a '
            f'new job with what it is now')
    return found


def _at(app: Any, path: tuple[str, ...]) -> Any:
    """The object at a physical path, None where there is none."""
    try:
        found = app.unrestrictedTraverse(path[1:])
    except (LookupError, AttributeError, TypeError):
        return None
    # Traversal may have acquired something else of that name.
    return found if path_of(found) == path else None


#: The host of all services of Zope.
ZOPE = ZopeHost()
