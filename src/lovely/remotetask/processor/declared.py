"""What the code of a worker declares is settled when the worker starts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge import db
from lovely.remotetask.log import log
from lovely.remotetask.run.finder import ServiceGone
from lovely.remotetask.store import retention
from lovely.remotetask.task import kept_seconds

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService


def settle(worker: Worker) -> None:
    """Let a service know what the tasks of a worker declare.

    A fault there is logged, and keeps no job from running.
    Raises: ServiceGone.
    Txn: a snapshot, and where something is new, one of its own.
    """
    try:
        keeps = db.read(worker.database, lambda connection: _keeps(
            worker, connection))
        if keeps is not None:
            worker.executor.write(lambda service: retention.note_keeps(
                service.jobqueue, keeps), 'remotetask declarations')
    except ServiceGone:
        raise
    except Exception:
        log.exception('what the tasks of this worker declare could not be '
                      'settled; its jobs run all the same')


def _keeps(worker: Worker, connection: Connection
           ) -> dict[str, float | None] | None:
    """How long jobs of the tasks are kept; None: that is known already."""
    service: TaskService = worker.executor.service(connection)
    with worker.executor.host.running(service, None) as seen:
        tasks: dict[str, Any] = seen.getAvailableTasks()
        keeps = {name: kept_seconds(task) for name, task in tasks.items()}
    known = retention.keeps_of(service.jobqueue)
    if all(known.get(name) == seconds for name, seconds in keeps.items()):
        return None
    return keeps
