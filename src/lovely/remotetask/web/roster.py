"""Who runs jobs, and who of them lives, in plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.peers import liveness

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def workers(service: TaskService) -> dict[str, Any]:
    """``{'workers': [...]}``, see ITaskService.listWorkers; each with
    ``live``: does it live, and has it given a sign of that lately?  None: a
    file that is open to read only does not tell.
    """
    jar: Any = service._p_jar
    life = liveness.for_database(jar.db())
    records, now = service.jobqueue.workers, service.clock.now()
    return {'workers': [
        {**worker, 'live': None
         if jar.isReadOnly() and 'exclusive' in worker['evidence']
         else _is_live(life, records[worker['id']], now)}
        for worker in service.listWorkers()]}


def _is_live(life: liveness.Liveness, record: Any, now: float) -> bool:
    # The detectors know nothing of a process that only beats until they have
    # looked for a while; and one that is stopped keeps its lock.
    at = None if record.beat is None else record.beat.at
    return life.alive(record.evidence, record.beat) and (
        at is None or now - at <= settings.DEAD_SECONDS)
