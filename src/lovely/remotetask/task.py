"""Tasks: made of functions, declared by a decorator, checked by schemas.

``TaskError``, ``SimpleTask`` and ``EchoTask`` are names inside databases of
0.5.2 and stay in this module.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any
from typing import ParamSpec
from typing import Protocol
from typing import TypeVar
from typing import overload

from zope.component import getSiteManager
from zope.interface import Invalid
from zope.interface import implementer
from zope.interface.interfaces import IInterface
from zope.schema import getFieldsInOrder
from zope.schema.fieldproperty import FieldProperty
from zope.schema.interfaces import IField

from lovely.remotetask.declaring import venusian
from lovely.remotetask.declaring.decorated import TaskFunction
from lovely.remotetask.declaring.decorated import WholeTaskFunction
from lovely.remotetask.declaring.decorated import mark
from lovely.remotetask.declaring.decorated import marks
from lovely.remotetask.declaring.options import kept_seconds
from lovely.remotetask.declaring.options import set_options
from lovely.remotetask.declaring.options import shown_keys
from lovely.remotetask.declaring.options import task_option
from lovely.remotetask.declaring.scheduled import check_task_name
from lovely.remotetask.declaring.signatures import Signature
from lovely.remotetask.declaring.signatures import signature_of
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ITask

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_P = ParamSpec('_P')
_I = TypeVar('_I')
_R = TypeVar('_R')

__all__ = ['TaskError', 'SimpleTask', 'EchoTask', 'FunctionTask', 'task',
           'scan', 'marks', 'task_option', 'shown_keys', 'kept_seconds',
           'set_options', 'check_against', 'parameters', 'misfits']


@implementer(ITask)
class SimpleTask:
    """A task that calls ``func(input)``.  See ITask

    Source: 0.5.2.
    """

    inputSchema = FieldProperty(ITask['inputSchema'])
    outputSchema = FieldProperty(ITask['outputSchema'])

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func

    def __call__(self, service: TaskService, jobid: int, input: Any) -> Any:
        return self.func(input)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.func!r}>'


@implementer(ITask)
class EchoTask:
    """A task that returns its input.  See ITask

    Source: 0.5.2, whose ``__call__`` lacked the jobid.
    """

    inputSchema = None
    outputSchema = None

    def __call__(self, service: TaskService, jobid: int, input: Any) -> Any:
        return input

    def __repr__(self) -> str:
        return f'<{type(self).__name__}>'


class FunctionTask(SimpleTask):
    """What ``@task`` makes of a function.  See ITask and ITaskOptions

    Arguments: ``func``, as ``signatures`` takes it: f(input),
    f(service, jobid, input), or parameters of its own, which a mapping fills;
    options as in ITaskOptions, ``inputSchema``, ``outputSchema``.
    Raises: TypeError for a function that cannot be a task, or an option that
    tasks do not have.
    """

    _signature = None

    def __init__(self, func: Callable[..., Any], **options: Any) -> None:
        super().__init__(func)
        self._signature = signature_of(func)
        set_options(self, options)

    @property
    def signature(self) -> Signature:
        """How the function takes an input."""
        if self._signature is None:
            self._signature = signature_of(self.func)
        return self._signature

    def __getstate__(self) -> dict[str, Any]:
        # A local utility is stored, and the function may change after that.
        return {name: value for name, value in self.__dict__.items()
                if name != '_signature'}

    def __call__(self, service: TaskService, jobid: int, input: Any) -> Any:
        signature = self.signature
        # For mypy, func takes one argument, as that of SimpleTask does.
        func: Callable[..., Any] = self.func
        if signature.whole:
            return func(service, jobid, input)
        if signature.single and signature.required:
            return func(input)
        # The job may have been added for the parameters of another release.
        violations = misfits(self, input)
        if violations:
            raise TaskError(
                f'the input does not fit the parameters of {func!r} any '
                f'more: {"; ".join(violations)}')
        args, kwargs = signature.arguments(input)
        return func(*args, **kwargs)


def parameters(task: Any) -> Signature | None:
    """How the function of a task takes an input.

    Returns: None for a task that is made of no function, and takes any input.
    """
    signature = getattr(task, 'signature', None)
    # Classes of applications may have an attribute of this name, too.
    return signature if isinstance(signature, Signature) else None


def misfits(task: Any, input: Any) -> list[str]:
    """The violations of a task's parameters by an input.

    Returns: a sentence for each; empty for a task that takes any input.
    """
    signature = parameters(task)
    return [] if signature is None else signature.violations(
        input, quotes=shown_keys(task) is None)


@overload
def task(name: Callable[[Any, int, _I], _R], /
         ) -> WholeTaskFunction[_I, _R]: ...
@overload
def task(name: Callable[_P, _R], /) -> TaskFunction[_P, _R]: ...
@overload
def task(name: str | None = None, **options: Any) -> _Decorator: ...
def task(name: str | Callable[..., Any] | None = None,
         **options: Any) -> Any:
    """Declare a function to be a task: ``@task`` or ``@task(name, ...)``.

    Arguments: ``name`` (str), default the function's; options as in
    ITaskOptions, ``inputSchema``, ``outputSchema``.
    Returns: the function itself, marked; ``scan``, or ``config.scan()`` of
    Pyramid, registers it.  See TaskFunction for what it can do now.
    Raises: TypeError for a function that cannot be one, or an option that
    tasks do not have.
    """
    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.isfunction(func):
            raise TypeError(f'@task is for functions, and {func!r} is none; '
                            f'register it as an ITask utility instead')
        # Made now, so that the error comes from the line of the mistake.
        made = FunctionTask(func, **options)
        named = name if isinstance(name, str) and name else func.__name__
        try:
            check_task_name(named, task_option(made, 'schedule'))
        except UsageError as error:
            raise TypeError(f'the task {func!r}: {error}') from error
        mark(func, named, made)
        venusian.attach(func, named, made)
        return func

    if name is None or isinstance(name, str):
        return decorate
    if options or not callable(name):
        raise TypeError(f'the name of a task is a str, not {name!r}')
    return decorate(name)


class _Decorator(Protocol):
    """What ``@task(...)`` gives: a decorator of functions."""

    @overload
    def __call__(self, func: Callable[[Any, int, _I], _R], /
                 ) -> WholeTaskFunction[_I, _R]: ...
    @overload
    def __call__(self, func: Callable[_P, _R], /
                 ) -> TaskFunction[_P, _R]: ...


def scan(module: ModuleType, registry: Any = None) -> list[str]:
    """Register the tasks that are defined in a module, and in it alone.

    Arguments: ``registry``, a component registry, default the current one.
    Returns: their names, sorted.
    Raises: ConfigurationError for two tasks of one name; nothing is
    registered then.
    """
    registry = getSiteManager() if registry is None else registry
    found: dict[str, FunctionTask] = {}
    for value in vars(module).values():
        # A function that is imported belongs to the module it comes from.
        if (not inspect.isfunction(value)
                or value.__module__ != module.__name__):
            continue
        for name, made in marks(value):
            # A task may be met twice: under a second name in the module, or in
            # a wrapper, for functools.wraps copies the mark.
            if found.setdefault(name, made) is not made:
                raise ConfigurationError(
                    f'module {module.__name__} defines two tasks named '
                    f'{name!r}: {found[name].func!r} and {made.func!r}; '
                    f'rename one')
    for name, made in found.items():
        registry.registerUtility(made, ITask, name)
    return sorted(found)


# --- schemas -----------------------------------------------------------------

_absent = object()

# A refused value may be a whole document, and a message is one line.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def check_against(schema: Any, value: Any,
                  shown: tuple[str, ...] | None = None) -> list[str]:
    """The violations of a task's schema by a value.

    Arguments: ``schema``, a zope.schema field; or an interface, whose fields
    name keys (of a mapping) or attributes (of anything else); or None;
    ``shown``, the names of the parts that a sentence may quote, None: of all.
    Returns: a sentence for each violation; empty if there is none.  Parts that
    the schema does not name are let through: 0.5.2 let all through.
    """
    if schema is None:
        return []
    if IField.providedBy(schema):
        name = getattr(schema, '__name__', None) or 'the value'
        return _violations(schema, value, name, None, shown is None)
    if not IInterface.providedBy(schema):
        return [f'{schema!r} is neither a field nor an interface']
    # Not only dict: a PersistentMapping has no attributes of its own either.
    keyed = isinstance(value, Mapping)
    found = []
    for name, field in getFieldsInOrder(schema):
        part = (value.get(name, _absent) if keyed
                else getattr(value, name, _absent))
        if part is not _absent:
            found += _violations(field, part, name, value,
                                 shown is None or name in shown)
        elif field.required:
            found.append(f'{name} is missing')
    return found


def _violations(field: Any, value: Any, name: str, owner: Any,
                quotes: bool) -> list[str]:
    try:
        field.bind(owner).validate(value)
    # Not ValidationError alone: the constraint of a field may raise Invalid.
    except Invalid as error:
        reason = _reason(error, quotes).strip().rstrip('.')
        quoted = f' is {_short.repr(value)}' if quotes else ''
        return [f'{name}{quoted}: {reason}']
    return []


def _reason(error: Invalid, quotes: bool) -> str:
    if hasattr(error, 'doc'):
        return error.doc() or type(error).__name__
    # The words of a constraint of the application, which may be of the value.
    return (quotes and str(error)) or type(error).__name__
