"""What a job has reached by its checkpoints: its cursor, and its steps.

::

    a run commits a checkpoint  ->  the job's Checkpoint is written; the Job
                                    itself at the first one, and where what was
                                    charged to it is taken back
    a run fails, is given back, }   the Checkpoint stays: the next attempt goes
    cancelled or interrupted    }   on from it
    a run completes,            }   the Job refers to none any more
    the next one of a schedule  }
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from BTrees.OOBTree import OOBTree
from persistent import Persistent

from lovely.remotetask import payload
from lovely.remotetask import settings
from lovely.remotetask.edge.losses import refuse_disowned

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

#: How many steps a job may have.
MOST_STEPS = 10_000

# How many times ``settings.POISON`` of what was charged to a job its
# checkpoints take back at most.  Without an end to it, a job of 10,000 items
# that kills its worker after each of them would kill 10,000 workers.
_FORGIVEN = 10


class Checkpoint(Persistent):
    """What a job has reached.

    A record of its own, so that a checkpoint does not store the job's input
    and errors once more.  The run that holds the claim writes it, and no one
    else: it is guarded by the claim as the effects of the task are.
    Attributes: ``at``, of the latest checkpoint (seconds since 1970); None:
    there is none; ``count``, how many there were, those of steps too;
    ``stepCount``, how many steps have ended; ``latestStep``, the name of the
    last of them, or None; ``forgiven``, how many interruptions were taken
    back.
    """

    at: float | None = None
    count = 0
    stepCount = 0
    latestStep: str | None = None
    forgiven = 0.0
    _cursor: Any = None
    _steps: Any = None

    def cursor(self) -> Any:
        """What the latest checkpoint was given, a new object; or None."""
        return None if self._cursor is None else payload.unseal(self._cursor)

    def put_cursor(self, value: Any, size: int) -> None:
        """Note where to go on.

        Arguments: ``size``, about how long its pickle is (bytes).
        """
        sealed = payload.seal(value, size)
        before = self._cursor
        if (isinstance(before, payload.Payload)
                and isinstance(sealed, payload.Payload)):
            # A record for each of 10,000 checkpoints would be left to a pack.
            before.value = value
        else:
            self._cursor = sealed

    def result(self, name: str) -> tuple[bool, Any]:
        """Has a step ended, and with which result?  That is a new object."""
        stored = None if self._steps is None else self._steps.get(name)
        if stored is None:
            return False, None
        return True, payload.unseal(stored)

    def put_result(self, name: str, value: Any, size: int) -> None:
        """Note that a step has ended.

        Arguments: ``size``, as for ``put_cursor``.
        """
        if self._steps is None:
            self._steps = OOBTree()
        self._steps[name] = payload.seal(value, size)
        self.stepCount += 1
        self.latestStep = name


def reached(queue: JobQueue, job: Job, now: float) -> Checkpoint:
    """The record in which a run notes the checkpoint that it is to commit.

    A checkpoint is progress: what was charged to the job for interruptions and
    conflicts before is taken back.
    Txn: the run's; writes the Job at the first checkpoint, and where something
    is taken back.
    """
    queue.check_owned(job)
    values: dict[str, Any] = {}
    record: Checkpoint | None = job.checkpoint
    if record is None:
        record = values['checkpoint'] = Checkpoint()
    elif record._p_jar is not queue._p_jar:
        refuse_disowned(record, queue)
    if job.interruptions and record.forgiven < _FORGIVEN * (
            queue.poison or settings.POISON):
        record.forgiven += job.interruptions
        values['interruptions'] = None
    if job.conflicts:
        values['conflicts'] = None
    if values:
        job.put(**values)
    record.at = now
    record.count += 1
    return record
