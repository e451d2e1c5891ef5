"""Direct runs of which the caller's transaction could store no end.

Such a job stays as it was, and first in line.  A caller that catches the error
and goes on would meet it again for ever, so this process remembers it::

    it has failed, and the transaction    its next direct run does not call the
    cannot be rolled back, or is doomed   task: it stores the error
    it has conflicted, or Ctrl-C has      its next direct run lets it wait: see
    ended it, IN_A_ROW times in a row     conflicts

Workers run jobs in transactions of their own: they do not ask for this.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RollbackImpossible
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import SessionBroken
from lovely.remotetask.run.conflicts import IN_A_ROW
from lovely.remotetask.run.conflicts import How
from lovely.remotetask.run.conflicts import how

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.job import Job

# How many jobs are remembered for each database: the oldest are forgotten, and
# run once more.
_NOTED_JOBS = 1000


class Note(NamedTuple):
    """What this process remembers of a job.

    No live exception: its traceback would keep the caller's objects.
    Attributes: ``state``, of the job: once another transaction has written the
    job, the note is void; ``times``, in a row; ``how``, see conflicts;
    ``fault``, the error of the job as a text, or None.
    """

    state: Any
    times: int
    how: How
    fault: str | None

    def error(self) -> RuntimeFault | None:
        """The error to store instead of a run, or None."""
        return None if self.fault is None else RuntimeFault(self.fault)

    def waits(self) -> bool:
        """Is the job to wait now, so that others can run?"""
        return self.times >= IN_A_ROW


_notes: weakref.WeakKeyDictionary[Any, dict[Any, Note]] = (
    weakref.WeakKeyDictionary())

# An error while a note is written would take the place of the caller's.
_writing = threading.Lock()


class Memory:
    """What this process remembers of one job.

    Arguments: ``jar``, the connection of its service; None: a service without
    a database, where nothing comes back; ``job``, before it is started.
    """

    def __init__(self, jar: Connection | None, job: Job) -> None:
        self._notes = {} if jar is None else _notes.setdefault(jar.db(), {})
        self._key = job._p_oid, job.id
        self._state = job._p_serial, job.attempts

    def note(self) -> Note | None:
        """The note on the job, if that is as it was then."""
        found = self._notes.get(self._key)
        return (found if found is not None and found.state == self._state
                else None)

    def write(self, raised: BaseException) -> None:
        """Remember a run that was broken off, and what the caller is told."""
        earlier, cause, fault = self.note(), raised, None
        if isinstance(raised, RollbackImpossible):
            cause = raised.__context__ or raised
        # A task that wants to rest, or to be cancelled, has not failed.
        if (isinstance(raised, RollbackImpossible | SessionBroken)
                and not isinstance(cause, RetryLater | CancelJob)):
            fault = describe(cause)
            if cause is not raised:
                fault += f'; it could not be stored then: {describe(raised)}'
        note = Note(self._state, 1 if earlier is None else earlier.times + 1,
                    how(cause), fault)
        with _writing:
            self._notes.pop(self._key, None)
            while len(self._notes) >= _NOTED_JOBS:
                del self._notes[next(iter(self._notes))]
            self._notes[self._key] = note

    def forget(self) -> None:
        """Forget the job: a run of it has ended."""
        if self._key in self._notes:
            with _writing:
                self._notes.pop(self._key, None)
