"""For tests of applications: a service without a database, and stub tasks."""

from __future__ import annotations

from typing import Any

from persistent import Persistent
from zope.interface import implementer

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.service import TaskService

try:
    from zc.queue.interfaces import IQueue
except ImportError:
    # Without zc.queue no application can ask for its interface either.
    IQueue = None


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

    def startProcessing(self) -> None:
        """See ITaskService; a stub has no thread."""
        raise NotImplementedError(
            'TaskServiceStub starts no thread; call process()')

    def stopProcessing(self, wait: float | None = 1.0) -> None:
        """See ITaskService; a stub has no thread."""
        raise NotImplementedError(
            'TaskServiceStub has no thread to stop; call process()')


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
