"""Services that are copies, or were imported: they run nothing by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from Acquisition import aq_base
from ZODB.utils import z64

from lovely.remotetask.edge.log import log
from lovely.remotetask.store import copies

if TYPE_CHECKING:
    from lovely.remotetask.zope.service import TaskService

_keeping: ContextVar[bool] = ContextVar('keeping', default=False)


@contextmanager
def keeping_jobs() -> Iterator[None]:
    """Within the block, services that are copied or imported keep their jobs.

    For a site that moves to another database, and whose original runs no
    more: what is to be run there would otherwise be cancelled.  The service
    is paused all the same: ``resume()`` it.
    """
    token = _keeping.set(True)
    try:
        yield
    finally:
        _keeping.reset(token)


def is_copy(service: TaskService) -> bool:
    """Has this transaction first stored this service, which is being added?

    So are copies and imports: a savepoint has stored them before they are
    added, and a new service has no connection by then.  One that an earlier
    transaction has stored, and that is removed by hand and added again, is
    none.  Where one transaction makes a service, stores it by a savepoint, and
    then removes and adds it again, it is taken for a copy as well.
    """
    bare = aq_base(service)
    return bare._p_jar is not None and bare._p_serial == z64


def settle(service: TaskService) -> None:
    """Pause a service that is a copy, and cancel its jobs.

    Txn: the caller commits.
    """
    cancelled = copies.settle(
        service.jobqueue, service.clock.now(), _keeping.get())
    log.warning(
        'service %s is a copy: it is paused, and %s jobs that were not over '
        'are cancelled; resume() lets it run jobs',
        '/'.join(service.getPhysicalPath()), cancelled)
