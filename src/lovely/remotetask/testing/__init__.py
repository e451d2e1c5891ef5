"""For tests of applications: stand-ins, and the engine in a test's thread.

``docs/howto/test-your-tasks.rst`` tells when to use which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persistent import Persistent
from zope.interface import implementer

from lovely.remotetask.edge.texts import some
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.service import TaskService
from lovely.remotetask.testing.checking import assert_added
from lovely.remotetask.testing.checking import refute_added
from lovely.remotetask.testing.clock import FrozenClock
from lovely.remotetask.testing.draining import drain
from lovely.remotetask.testing.draining import inline
from lovely.remotetask.testing.making import new_job
from lovely.remotetask.testing.making import new_service
from lovely.remotetask.testing.making import run_job
from lovely.remotetask.testing.making import running
from lovely.remotetask.testing.registering import stand_in

try:
    from zc.queue.interfaces import IQueue
except ImportError:
    # Without zc.queue no application can ask for its interface either.
    IQueue = None

__all__ = ['ExceptionTask', 'FrozenClock', 'ITaskStub', 'QueueStub',
           'TaskServiceStub', 'assert_added', 'drain', 'inline', 'new_job',
           'new_service', 'refute_added', 'run_job', 'running',
           'stand_in']


@implementer(ITask)
class ExceptionTask:
    """A task that fails: it divides by zero."""

    inputSchema = None
    outputSchema = None

    def __call__(self, service: TaskService, jobid: int, input: Any) -> Any:
        return 1 / 0

    def __repr__(self) -> str:
        return f'<{type(self).__name__}>'


class ITaskStub(ITask):
    """What a task is registered as to be found by TaskServiceStub."""


class TaskServiceStub(TaskService):
    """A TaskService for tests: stub tasks, small ids, no database needed.

    It differs in three things: it looks tasks up as ITaskStub and numbers
    jobs from 1; without a database a rollback undoes nothing; it starts no
    threads.  See ITaskService.
    """

    taskInterface = ITaskStub
    _counter = 1

    def _generateId(self) -> int:
        jobid = self._counter
        self._counter += 1
        return jobid

    def _no_task(self, name: Any) -> ValueError:
        error = super()._no_task(name)
        note = _note(self, name)
        if note is not None:
            error.add_note(note)
        return error

    def startProcessing(self) -> None:
        """See ITaskService; a stub has no thread."""
        raise NotImplementedError(
            'TaskServiceStub starts no thread; call process()')

    def stopProcessing(self, wait: float | None = 1.0) -> None:
        """See ITaskService; a stub has no thread."""
        raise NotImplementedError(
            'TaskServiceStub has no thread to stop; call process()')


# How many names of tasks the note of an error tells.
_MOST_NAMES = 20


def _note(stub: TaskServiceStub, name: Any) -> str | None:
    """What to know where a stub does not have a task; None: nothing.

    Only where the application has tasks that the stub does not see: doctests
    of 0.5.2 compare the whole error, and a note would be part of it.
    """
    kind = stub.taskInterface
    found = stub.host.tasks(stub, kind)
    hidden = sorted(set(stub.host.tasks(stub, ITask)).difference(found))
    if not hidden:
        return None
    return (f'{type(stub).__name__} has looked for {shown(name)} among the '
            f'utilities for {kind.__name__}, which are {_names(found)}.  It '
            f'does not see those that are for ITask alone: '
            f'{_names(hidden)}.  Register a stand-in in the test: '
            f'provideUtility(task, {kind.__name__}, {shown(name)})')


def _names(tasks: Iterable[str]) -> str:
    return some(sorted(tasks), _MOST_NAMES, text=repr) or 'none'


class QueueStub(Persistent):
    """zc.queue's IQueue, for tests of code that takes a queue."""

    def __init__(self) -> None:
        self._items: tuple[Any, ...] = ()

    def pull(self, index: int = 0) -> Any:
        """Remove and return an item; IndexError where there is none."""
        items = list(self._items)
        item = items.pop(index)
        self._items = tuple(items)
        return item

    def put(self, item: Any) -> None:
        """Add an item at the end."""
        self._items = (*self._items, item)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    __nonzero__ = __bool__      # IQueue still asks for it

    def __iter__(self) -> Any:
        return iter(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]


if IQueue is not None:
    implementer(IQueue)(QueueStub)
