"""The ZTK as a host: principals of zope.authentication, sites, interactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import IFallbackUnauthenticatedPrincipal
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import getGlobalSiteManager
from zope.interface import implementer
from zope.security.interfaces import Unauthorized
from zope.security.management import checkPermission
from zope.security.management import queryInteraction
from zope.security.management import system_user

from lovely.remotetask.errors import SubmitterGone
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.host.interaction import in_site
from lovely.remotetask.host.interaction import interaction
from lovely.remotetask.host.interaction import runs_as
from lovely.remotetask.host.paths import site_of
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import IHost

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


@implementer(IHost)
class ZTKHost(PlainHost):
    """See IHost

    A submitter is the id of a principal.
    """

    @contextmanager
    def running(self, service: TaskService, job: Job | None
                ) -> Iterator[TaskService]:
        """See IHost"""
        submitter, site = runs_as(job), site_of(service)
        # First the site: an authentication utility looks for its plug-ins
        # there.
        with in_site(site):
            principal = (system_user if job is None or submitter is None
                         else _principal(site, job.id, submitter))
            with interaction(principal):
                try:
                    yield service
                except Unauthorized as error:
                    if job is None or submitter is None:
                        raise
                    # Another attempt would be refused as well.
                    raise SubmitterGone(
                        f'job {job.id} runs as {submitter!r}, a principal '
                        f'that may not do this (any more): {error}'
                        ) from error

    def submitter(self) -> str | None:
        """See IHost"""
        principal = _acting()
        if principal is None or principal is system_user:
            return None
        return str(principal.id)

    def permits(self, service: TaskService, permission: str) -> bool:
        """See IHost"""
        return _acting() is None or checkPermission(permission, service)


def _acting() -> Any:
    """The first principal of the current interaction, or None."""
    current = queryInteraction()
    for participation in () if current is None else current.participations:
        if participation.principal is not None:
            return participation.principal
    return None


def _principal(site: Any, jobid: int, submitter: str) -> Any:
    """The principal of this id, from the authentication of a site."""
    registry = (getGlobalSiteManager() if site is None
                else site.getSiteManager())
    authentication = registry.queryUtility(IAuthentication)
    if authentication is None:
        raise WrongWorker(
            f'job {jobid} is to run as {submitter!r}, and this process has no '
            f'IAuthentication utility to find that principal: configure it '
            f"with the application's ZCML")
    try:
        return authentication.getPrincipal(submitter)
    except PrincipalLookupError:
        # The principal of requests without a login, where the application has
        # defined none of its own.
        fallback = registry.queryUtility(IFallbackUnauthenticatedPrincipal)
        if fallback is not None and fallback.id == submitter:
            return fallback
        raise SubmitterGone(
            f'job {jobid} is to run as {submitter!r}, and there is no such '
            f'principal (any more): add it again as another one') from None


ZTK = ZTKHost()
