"""The checkpoints and steps of a run: see JobContext.checkpoint and step.

::

    checkpoint(cursor)   effects so far + cursor                 one commit
    step(name, f)        known: its result                       nothing
                         else: f() + its effects + its result    one commit

A worker commits on the transaction manager of the run, under the guard of the
claim.  Direct processing commits nothing: all is stored with the caller's
transaction.  A group refuses before anything is done, and its job runs alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import payload
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.savepoint import Savepoint
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.run.loading import load
from lovely.remotetask.store.checkpoint import MOST_STEPS
from lovely.remotetask.store.checkpoint import Checkpoint
from lovely.remotetask.store.checkpoint import reached
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.edge import db
    from lovely.remotetask.job import Job
    from lovely.remotetask.run.claim import Claim
    from lovely.remotetask.run.failing import Failing
    from lovely.remotetask.run.guard import Guard
    from lovely.remotetask.service import TaskService

# The longest name of a step (characters).
_NAME_CHARS = 200

_OVER = ('the run of this job is over: call checkpoint() and step() while the '
         'task is called')

#: ``note(record)`` writes what a checkpoint is about.
Note = Callable[[Checkpoint], None]


class Checkpoints:
    """What the context of a run knows of checkpoints; commits none.

    Arguments: ``over``: True: the run has ended, and nothing can be noted.
    """

    def __init__(self, service: TaskService, job: Job, over: bool = False
                 ) -> None:
        self._service = service
        self._job = job
        self._thread = threading.get_ident()
        # Why nothing can be noted now, or None.
        self._busy = _OVER if over else None

    # -- for the context ------------------------------------------------------

    def cursor(self) -> Any:
        """See JobContext.cursor"""
        self._check_thread()
        return self._read('the cursor', None, Checkpoint.cursor)

    def checkpoint(self, cursor: Any) -> None:
        """See JobContext.checkpoint"""
        self._check_free()
        size = self._size('the cursor', cursor)
        self._prepare()
        self._save(lambda record: record.put_cursor(cursor, size))

    def step(self, name: str, function: Callable[..., Any],
             arguments: tuple[Any, ...], keywords: dict[str, Any]
             ) -> tuple[Any, bool]:
        """See JobContext.step.

        Returns: the result, and whether it was found now.
        """
        self._check_free()
        if not isinstance(name, str) or not 1 <= len(name) <= _NAME_CHARS:
            raise UsageError(f'the name of a step is {shown(name)}; give a '
                             f'text of 1 to {_NAME_CHARS} characters')
        if not callable(function):
            raise UsageError(f'the function of step {name!r} is '
                             f'{shown(function)}; give a function, and its '
                             f'arguments after it')
        known, value = self._read(
            f'the result of step {name!r}', (False, None),
            lambda record: record.result(name))
        if known:
            return value, False
        if self._read('the steps', 0, _count) >= MOST_STEPS:
            raise UsageError(
                f'job {self._job.id} has {MOST_STEPS} steps, and there cannot '
                f'be more: let one step do more, or use checkpoint()')
        self._prepare()
        value, size = self._call(name, function, arguments, keywords)
        self._save(lambda record: record.put_result(name, value, size))
        return value, True

    def close(self) -> None:
        """The task has ended: what it may note from now on would be lost."""
        self._busy = _OVER

    def check(self) -> None:
        """Raise the error of a checkpoint that could not be committed.

        A task that catches it must not go on as if its effects were there:
        they are gone.
        """

    # -- a step ---------------------------------------------------------------

    def _call(self, name: str, function: Callable[..., Any],
              arguments: tuple[Any, ...], keywords: dict[str, Any]
              ) -> tuple[Any, int]:
        jar = caller.jar_of(self._service)
        undo = Savepoint(jar)
        self._busy = (
            f'step {name!r} runs: its effects and its result are one commit, '
            f'so there can be no checkpoint and no other step in it')
        try:
            value = function(*arguments, **keywords)
            return value, self._size(f'the result of step {name!r}', value)
        except BaseException:
            # The task may catch this, and go on: what the step has done must
            # not be stored by the commit of another one.
            try:
                undo.rollback()
            except Exception:
                running = caller.current(jar)
                if running is not None:
                    with suppress(ValueError):      # it has failed already
                        running.doom()
            raise
        finally:
            self._busy = None

    # -- a checkpoint ---------------------------------------------------------

    def _prepare(self) -> None:
        """Raise what keeps this run from a checkpoint, before all is done."""

    def _save(self, note: Note) -> None:
        """Store a checkpoint; here, with the transaction of the caller."""
        note(reached(self._service.jobqueue, self._job,
                     self._service.clock.now()))

    # -- checks ---------------------------------------------------------------

    def _check_free(self) -> None:
        self._check_thread()
        if self._busy is not None:
            raise UsageError(self._busy)

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise UsageError(
                f'job {self._job.id} runs in another thread: its transaction '
                f'and its objects belong to that; let that call this')

    def _size(self, name: str, value: Any) -> int:
        try:
            return payload.check(value, caller.jar_of(self._service))
        except InputRejected as reason:
            # Another attempt would meet it again, and repeat what was done.
            raise TaskError(f'{name} cannot be stored: {reason}') from reason

    def _read(self, name: str, default: Any,
              ask: Callable[[Checkpoint], Any]) -> Any:
        record = self._job.checkpoint
        return default if record is None else load(name, lambda: ask(record))


class CommittedCheckpoints(Checkpoints):
    """The checkpoints of a worker's run: each is a commit.

    Arguments: ``session``, of the run; ``guard``, of its claim.
    Attributes: ``saved`` (bool): has one been committed?
    """

    def __init__(self, executor: Failing, session: db.Session,
                 service: TaskService, job: Job, claim: Claim, guard: Guard
                 ) -> None:
        super().__init__(service, job)
        self._executor = executor
        self._session = session
        self._claim = claim
        self._guard = guard
        self._failed: BaseException | None = None
        self.saved = False

    def check(self) -> None:
        """See Checkpoints"""
        if self._failed is not None:
            raise self._failed

    def _prepare(self) -> None:
        self.check()
        self._session.check()
        found = look(self._service.jobs, self._claim.jobid)
        if found is None:
            raise LeaseLost(f'job {self._claim.jobid} was deleted')
        self._guard.check()

    def _call(self, name: str, function: Callable[..., Any],
              arguments: tuple[Any, ...], keywords: dict[str, Any]
              ) -> tuple[Any, int]:
        def refuse() -> None:
            raise UsageError(
                f'step {name!r} must not commit: its effects and its result '
                f'are one commit, which follows when it returns')

        self._session.guard(refuse)
        try:
            return super()._call(name, function, arguments, keywords)
        finally:
            self._session.guard(self._guard.check)

    def _save(self, note: Note) -> None:
        session, claim = self._session, self._claim
        self._busy = 'a checkpoint is being committed: let that end'
        try:
            # The step may have ended its transaction, or cancelled its job.
            self._prepare()
            super()._save(note)
            session.describe(self._job.submitter or '',
                             f'{claim.task} job {claim.jobid} checkpoint')
            session.commit()
        except BaseException as error:
            self._failed = error
            if (isinstance(error, TransientError)
                    and not self._executor.is_ours(claim)):
                self._failed = LeaseLost(
                    f'job {claim.jobid} is no longer ours')
                raise self._failed from error
            raise
        finally:
            self._busy = None
        self.saved = True
        session.begin()


def _count(record: Checkpoint) -> int:
    return record.stepCount
