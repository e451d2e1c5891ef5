"""The user of Zope who adds a job, and as whom the job runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

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
from zope.globalrequest import getRequest

from lovely.remotetask.errors import SubmitterGone
from lovely.remotetask.host.interaction import runs_as
from lovely.remotetask.zope import paths

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

#: The submitter of a job that a request without a login has added.
ANONYMOUS = 'Anonymous User'

#: Zope's name for any user folder: it ends the path in a submitter.
_FOLDER = '/acl_users '


def submitter() -> str | None:
    """See IHost"""
    user = getSecurityManager().getUser()
    base = aq_base(user)
    if base is system:
        return None
    if user is None or base is nobody or user.getId() is None:
        return None if getRequest() is None else ANONYMOUS
    folder = aq_parent(aq_inner(user))
    path = paths.path_of(folder) if folder is not None else None
    # A user without a folder cannot be found again by the name alone: the
    # job will end in an error that says so.
    return f'{"/".join(path or ("?",))} {user.getId()}'


def set_user(service: TaskService, job: Job | None, request: Any) -> Any:
    """Let this thread act as the user as whom a job runs.

    Arguments: ``service``, in its place; ``job``, None: as the system;
    ``request``, of the run.
    Returns: the user.
    Raises: SubmitterGone.
    """
    user = _user_of(service, job)
    request['AUTHENTICATED_USER'] = user
    newSecurityManager(request, user)
    return user


@contextmanager
def kept_user() -> Iterator[None]:
    """Put the security manager of this thread back after the block."""
    manager = getSecurityManager()
    # getSecurityManager() has made one, for the user ``nobody``, where the
    # thread had none.  It must not stay: a later thread may get the same
    # number, by which Zope keeps it.
    made = aq_base(manager.getUser()) is nobody and getRequest() is None
    try:
        yield
    finally:
        if made:
            noSecurityManager()
        else:
            setSecurityManager(manager)


def _user_of(service: TaskService, job: Job | None) -> Any:
    """The user as whom a job runs.  Raises: SubmitterGone."""
    submitter = runs_as(job)
    if job is None or submitter is None:
        return system
    if submitter == ANONYMOUS:
        return nobody
    place, found, name = submitter.partition(_FOLDER)
    path = f'{place}{_FOLDER}'.strip() if found else ''
    app = paths.application(service)
    folder = paths.at(app, tuple(path.split('/'))) if found else None
    if folder is None:
        raise SubmitterGone(
            f'job {job.id} is to run as {submitter!r}, and there is no '
            f'such user folder; add it again as another user')
    user = folder.getUserById(name)
    if user is None and not place and name == emergency_user.getId():
        user = emergency_user
    if user is None:
        raise SubmitterGone(
            f'job {job.id} is to run as {submitter!r}, and that user '
            f'folder has no user of this id any more; add it again as '
            f'another user')
    return user if aq_parent(user) is not None else user.__of__(folder)
