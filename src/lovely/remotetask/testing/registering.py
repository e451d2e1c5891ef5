"""Registers utilities for as long as a test runs."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from typing import Any

from zope.component import getGlobalSiteManager

from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import marks


@contextmanager
def stand_in(task: Callable[..., Any], name: str | None = None,
             registry: Any = None) -> Iterator[Any]:
    """Within the block, this is the task of that name.

    Services and stubs find it, also where the application has one of that
    name.
    Arguments: ``task``, a function as ``@task`` takes it, or an ITask;
    ``name`` (str), None: that of the function; ``registry``, the component
    registry in which the service looks (in Pyramid the application's), None:
    the global one.
    Gives: the ITask.
    Raises: UsageError without a name; TypeError for a function that cannot be
    a task.
    """
    # Not at the top: this room is a part of that module.
    from lovely.remotetask.testing import ITaskStub

    name = name or getattr(task, '__name__', None)
    if not name:
        raise UsageError(f'{task!r} has no name: give the one by which jobs '
                         f'are added')
    with ExitStack() as stack:
        made = _task(task)
        for provided in (ITask, ITaskStub):
            stack.enter_context(registered(made, provided, name, registry))
        yield made


def _task(task: Any) -> Any:
    if ITask.providedBy(task):
        return task
    marked = marks(task)
    return marked[0][1] if marked else FunctionTask(task)


@contextmanager
def registered(component: Any, provided: Any, name: str = '',
               registry: Any = None) -> Iterator[None]:
    """Within the block, this is a utility; afterwards all is as before.

    Arguments: ``provided``, the interface; ``registry``, None: the global one.
    """
    registry = getGlobalSiteManager() if registry is None else registry

    def there() -> Any:
        return next((found for found in registry.registeredUtilities()
                     if found.provided is provided and found.name == name),
                    None)

    before = there()
    registry.registerUtility(component, provided, name)
    try:
        yield
    finally:
        ours = there()
        # The test may have emptied the registry, or put another one there.
        if ours is not None and ours.component is component:
            registry.unregisterUtility(component, provided, name)
            if before is not None:
                registry.registerUtility(
                    before.component, provided, name, before.info)
