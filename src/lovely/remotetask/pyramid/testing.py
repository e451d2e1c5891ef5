"""A request for tests of a Pyramid application, and of what its jobs do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import Any

from transaction import TransactionManager
from transaction.interfaces import NoTransaction

from lovely.remotetask.interfaces import IHost
from lovely.remotetask.pyramid import identity


@contextmanager
def app_request(app: Any, userid: Any = None) -> Iterator[Any]:
    """Within the block, the thread works for a request to an application.

    It has the application's registry, root and ZODB connection, and
    ``request.remotetask``; ``testing.run_job(request.remotetask, jobid)`` runs
    a job in its transaction.
    Arguments: ``app``, what ``config.make_wsgi_app()`` gave, or anything else
    with its ``registry``; ``userid``, the user who has logged in; None:
    the request has none.
    Gives: the request.
    Raises: SubmitterGone for a user whom the security policy does not know.
    Txn: ``request.tm`` has begun one, which is aborted at the end; commit it
    by ``request.tm.commit()``, and begin the next by ``request.tm.begin()``.
    """
    host = app.registry.getUtility(IHost)
    manager = TransactionManager(explicit=True)
    manager.begin()
    try:
        with host.visitor(manager, None if userid is None
                          else identity.write(userid)) as request:
            try:
                yield request
            finally:
                # Before its connection is closed.
                with suppress(NoTransaction):
                    manager.abort()
    finally:
        with suppress(NoTransaction):
            manager.abort()
