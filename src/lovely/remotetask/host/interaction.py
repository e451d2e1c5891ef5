"""In whose name and in which site code of an application runs.

zope.security and zope.publisher are no dependencies; where they are
installed, a job runs in an interaction of its own, as in 0.5.2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

from zope.component.hooks import getSite
from zope.component.hooks import setSite

from lovely.remotetask.host.optional import optional
from lovely.remotetask.interfaces import SYSTEM

if TYPE_CHECKING:
    from lovely.remotetask.job import Job

# An application asks "am I in a job?" by isinstance(participation,
# ProcessorRequest) and registers multi-adapters for it, so it is a request
# where there are requests.
try:
    from zope.publisher.base import BaseRequest
except ImportError:
    BaseRequest = None


def runs_as(job: Job | None) -> str | None:
    """The submitter as whom a job runs (IHost); None: with all rights."""
    submitter = None if job is None else job.submitter
    return None if submitter == SYSTEM else submitter


@contextmanager
def in_site(site: Any) -> Iterator[None]:
    """Make a site, or None, the current one as long as the block runs."""
    before = getSite()
    setSite(site)
    try:
        yield
    finally:
        setSite(before)


class _Participation:
    """A participation where zope.publisher is not installed."""

    interaction = None
    principal = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def setPrincipal(self, principal: Any) -> None:
        """See zope.publisher.interfaces.IPublicationRequest"""
        self.principal = principal


if BaseRequest is None:
    ProcessorRequest: Any = type(
        'ProcessorRequest', (_Participation,),
        {'__doc__': 'The participation in which a job runs.',
         '__module__': __name__})
else:
    class ProcessorRequest(BaseRequest):  # type: ignore[no-redef]
        """The participation in which a job runs: a request of nobody's."""

        def __init__(self, *args: Any) -> None:
            super().__init__(None, {}, positional=args)


@contextmanager
def interaction(principal: Any = None) -> Iterator[None]:
    """Run in a new interaction, where zope.security is installed.

    Arguments: ``principal``, of the interaction's only participation.
    """
    # Each run comes by here: importlib costs more than the rest of this.
    management = (sys.modules.get('zope.security.management')
                  or optional('zope.security.management'))
    if management is None:
        yield
        return
    # The caller's interaction is put aside, and put back also where the task
    # has ended the one of its job or begun another.
    local = management.thread_local
    before = getattr(local, 'interaction', None)
    local.interaction = None
    try:
        participation = ProcessorRequest()
        if principal is not None:
            participation.setPrincipal(principal)
        management.newInteraction(participation)
        yield
    finally:
        local.interaction = before
