"""Tasks: from a function, by decorator, and what is asked of them.

``TaskError``, ``SimpleTask`` and ``EchoTask`` are names inside databases of
0.5.2 and stay in this module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from zope.component import getSiteManager
from zope.interface import implementer
from zope.interface.interfaces import IInterface
from zope.schema import getFieldsInOrder
from zope.schema.fieldproperty import FieldProperty
from zope.schema.interfaces import IField
from zope.schema.interfaces import ValidationError

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskOptions

__all__ = ['TaskError', 'SimpleTask', 'EchoTask', 'FunctionTask', 'task',
           'scan', 'task_option', 'check_against']

#: What a task that says nothing has: see ITaskOptions.
_DEFAULTS: dict[str, Any] = {
    'retry': None, 'timeout': None, 'groupable': False, 'remote': None,
    'limit': None}
assert set(_DEFAULTS) == set(ITaskOptions.names())


def task_option(task: Any, name: str) -> Any:
    """An option of a task: the one place that knows the defaults.

    Arguments: ``task`` (ITask, or None for one that is missing); ``name``, a
    name of ITaskOptions.
    """
    return getattr(task, name, _DEFAULTS[name])


@implementer(ITask)
class SimpleTask:
    """A task that calls ``func(input)``.  See ITask"""

    inputSchema = FieldProperty(ITask['inputSchema'])
    outputSchema = FieldProperty(ITask['outputSchema'])

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func

    def __call__(self, service: Any, jobid: int, input: Any) -> Any:
        return self.func(input)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.func!r}>'


@implementer(ITask)
class EchoTask:
    """A task that returns its input.  See ITask"""

    inputSchema = None
    outputSchema = None

    def __call__(self, service: Any, jobid: int, input: Any) -> Any:
        return input

    def __repr__(self) -> str:
        return f'<{type(self).__name__}>'


class FunctionTask(SimpleTask):
    """What ``@task`` makes of a function: it may ask for service and id."""

    def __init__(self, func: Callable[..., Any], **options: Any) -> None:
        super().__init__(func)
        self._whole = takes_whole_call(func)
        for name, value in check_options(options).items():
            setattr(self, name, value)

    def __call__(self, service: Any, jobid: int, input: Any) -> Any:
        if self._whole:
            return self.func(service, jobid, input)  # type: ignore[call-arg]
        return self.func(input)


def takes_whole_call(func: Callable[..., Any]) -> bool:
    """Is this ``f(service, jobid, input)``, and not ``f(input)``?

    Raises: TypeError for anything else, by the count of required positional
    arguments.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY,
             inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in inspect.signature(func).parameters.values()
                if p.default is p.empty and p.kind in kinds]
    keywords = [p.name for p in inspect.signature(func).parameters.values()
                if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    if len(required) not in (1, 3) or keywords:
        raise TypeError(
            f'{func!r} cannot be a task: it must take f(input) or '
            f'f(service, jobid, input), and nothing else that is required')
    return len(required) == 3


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Raise TypeError for an option that tasks do not have."""
    unknown = set(options) - {*_DEFAULTS, 'inputSchema', 'outputSchema'}
    if unknown:
        raise TypeError(
            f'unknown task option {", ".join(sorted(unknown))}; there are '
            f'{", ".join(sorted(_DEFAULTS))}, inputSchema and outputSchema')
    return options


# The mark @task leaves on a function: it stays the plain function it was.
_MARK = '__remotetask__'


def task(name: str | Callable[..., Any] | None = None,
         **options: Any) -> Any:
    """Declare a function to be a task: ``@task`` or ``@task(name, ...)``.

    Arguments: ``name`` (str), default the function's; options as in
    ITaskOptions, ``inputSchema``, ``outputSchema``.
    Returns: the function itself, marked; ``scan`` registers it.
    Raises: TypeError for a function that cannot be one, or an unknown option.
    Source: new.
    """
    def mark(func: Callable[..., Any]) -> Callable[..., Any]:
        # Made now, so that a mistake shows where it was made.
        made = FunctionTask(func, **options)
        setattr(func, _MARK, (named or func.__name__, made))
        return func

    if callable(name):
        named = None
        return mark(name)
    named = name
    return mark


def scan(module: ModuleType, registry: Any = None) -> list[str]:
    """Register the tasks that are defined in a module.

    Arguments: ``registry``, a component registry, default the current one.
    Returns: their names, sorted.
    Raises: ConfigurationError for two tasks of one name.
    Source: new.
    """
    registry = getSiteManager() if registry is None else registry
    found: dict[str, Any] = {}
    for name, made in _marked(module):
        if name in found:
            raise ConfigurationError(
                f'module {module.__name__} defines two tasks named {name!r}: '
                f'{found[name].func!r} and {made.func!r}; rename one')
        found[name] = made
    for name, made in found.items():
        registry.registerUtility(made, ITask, name)
    return sorted(found)


def _marked(module: ModuleType) -> Iterator[tuple[str, FunctionTask]]:
    seen = set()
    for value in vars(module).values():
        # What a module imports belongs to the module it comes from.
        if (inspect.isfunction(value) and value not in seen
                and value.__module__ == module.__name__
                and hasattr(value, _MARK)):
            seen.add(value)
            yield getattr(value, _MARK)


# --- schemas -----------------------------------------------------------------

_absent = object()


def check_against(schema: Any, value: Any) -> list[str]:
    """What is wrong with a value, as the schema of a task sees it.

    Arguments: ``schema``, a zope.schema field, an interface whose fields name
    keys (of a dict) or attributes (of anything else), or None.
    Returns: a sentence for each violation; empty if there is none.  What the
    schema does not name is let through, as 0.5.2 let everything through.
    """
    if schema is None:
        return []
    if IField.providedBy(schema):
        return _violations(
            schema, value, getattr(schema, '__name__', '') or 'the value')
    if not IInterface.providedBy(schema):
        return [f'{schema!r} is neither a field nor an interface']
    found = []
    for name, field in getFieldsInOrder(schema):
        part = (value.get(name, _absent) if isinstance(value, dict)
                else getattr(value, name, _absent))
        if part is not _absent:
            found += _violations(field, part, name)
        elif field.required:
            found.append(f'{name} is missing')
    return found


def _violations(field: Any, value: Any, name: str) -> list[str]:
    try:
        field.bind(None).validate(value)
    except ValidationError as error:
        reason = (error.doc() or type(error).__name__).strip().rstrip('.')
        return [f'{name} is {value!r}: {reason}']
    return []
