"""Waits until a job is over, also where another process runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from ZODB.POSException import POSKeyError

from lovely.remotetask.context import job_of_thread
from lovely.remotetask.edge import caller
from lovely.remotetask.edge import db
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.errors import UnreadableRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors import WaitTimeout
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.host.paths import show
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.forks import check_opened_here
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.states import is_final

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

#: How long (seconds) it sleeps between two looks, at first and at most, where
#: no commit wakes it; doubled each time.
_PAUSE_FIRST = 0.05
_PAUSE_LAST = 1.0


def wait_for(service: TaskService, jobid: int, timeout: float) -> Job:
    """See ITaskService.waitFor"""
    if not is_seconds(timeout):
        raise UsageError(f'timeout is {shown(timeout)}; give {SECONDS}')
    opened = caller.jar_of(service)
    if opened is not None:
        # On ZEO the first load would wait for ever; elsewhere no commit of
        # the parent would be seen.
        check_opened_here(opened.db())
    job = look(service.jobs, jobid)
    if job is not None and is_final(job.status):
        return job
    jar = _may_wait(service)
    place = _Place(service, jar)
    deadline = SYSTEM_CLOCK.monotonic() + timeout
    pause = _PAUSE_FIRST
    with wakeup.waiting(jar.db()) as waiter:
        # Before the first look: a commit right after that wakes us, too.
        waiter.expect(None if job is None else job._p_oid)
        # A snapshot of its own for each look: that of the caller shows no
        # commit that came after it.
        while True:
            waiter.clear()
            status, written = db.read(place.database, lambda connection: _look(
                connection, place, jobid))
            if is_final(status):
                break
            waiter.expect(written)
            left = deadline - SYSTEM_CLOCK.monotonic()
            if left <= 0:
                raise WaitTimeout(
                    f'job {jobid} is still {status!r} after {timeout:g} '
                    f'seconds, and goes on: wait for it once more, or cancel '
                    f'it')
            waiter.sleep(min(pause, left))
            pause = min(pause * 2, _PAUSE_LAST)
    caller.renew(jar)
    return service._job(jobid)


class _Place:
    """Where a service is: by its path, and in its database.

    A service that is deleted stays in the database until that is packed.  One
    that no path leads to, as some applications have it, is found all the same.
    Arguments: ``jar``, the connection of the service.
    Attributes: ``database`` (ZODB.DB), the one where the path begins.
    """

    def __init__(self, service: TaskService, jar: Connection) -> None:
        self._host, self._oid = service.host, service._p_oid
        self._name = jar.db().database_name
        self._path = self._host.path_of(service)
        self.database = self._path.database or jar.db()
        self._has_path = self._leads(
            jar.get_connection(self.database.database_name))

    def _leads(self, connection: Connection) -> bool:
        found = self._host.find_service(connection, self._path)
        return found is not None and found._p_oid == self._oid

    def service(self, connection: Connection, jobid: Any) -> TaskService:
        """The service, through this connection.  Raises: ServiceNotFound."""
        try:
            home = connection.get_connection(self._name)
            found: TaskService = home.get(self._oid)
            if not self._has_path or self._leads(connection):
                found._p_activate()
                return found
        except POSKeyError:
            pass            # packed, too
        raise ServiceNotFound(
            f'there is no service at {show(self._path)} any more: it was '
            f'deleted or moved while waitFor waited for its job {jobid}; '
            f'where it was moved, wait for the job there')


def _may_wait(service: TaskService) -> Connection:
    """The connection of a caller who may wait.

    Raises: UsageError.
    """
    if job_of_thread() is not None:
        raise UsageError(
            'a task cannot wait for another job: where all threads of the '
            'workers do that, none is left to run it.  Let the other one add '
            'what comes next, or raise RetryLater')
    jar = caller.jar_of(service)
    if jar is not None and not caller.is_untouched(jar):
        raise UsageError(
            'this transaction has something to commit, and waitFor has to '
            'begin a new one to see how the job ended: commit it first (until '
            'then no worker sees the jobs that it adds), or abort it')
    if jar is None or service._p_oid is None:
        raise UsageError('this service is in no database, and nothing runs '
                         'its jobs while you wait: call process()')
    return jar


def _look(connection: Connection, place: _Place, jobid: Any
          ) -> tuple[str, bytes | None]:
    """The status of a job, and the oid of what is written with its end."""
    job = look(place.service(connection, jobid).jobs, jobid)
    if job is None:
        raise JobNotFound(jobid)
    if isinstance(job, UnreadableJob):
        raise UnreadableRecord(jobid, str(job.error))
    if job.recurring and not is_final(job.status):
        raise UsageError(f'job {jobid} is a schedule, which is over only once '
                         f'it is cancelled: look at its runs')
    return job.status, job._p_oid
