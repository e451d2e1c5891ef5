"""Functions that ``@task`` has decorated: their names, and how they add jobs.

They stay the functions they were, and get two more: ``delay`` and
``apply_async``.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any
from typing import ParamSpec
from typing import Protocol
from typing import TypeVar

from lovely.remotetask.context import job_of_thread
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.host import current

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_P = ParamSpec('_P')
_I_contra = TypeVar('_I_contra', contravariant=True)
_R_co = TypeVar('_R_co', covariant=True)

# The attribute in which @task leaves its mark: the function stays a function,
# and can be called, imported and pickled as before.
_MARK = '__remotetask__'


class _ApplyAsync(Protocol):
    """The part of a decorated function that its parameters do not type."""

    __name__: str

    def apply_async(self, args: Sequence[Any] = (),
                    kwargs: Mapping[str, Any] | None = None, *,
                    countdown: float | None = None,
                    eta: datetime | None = None, priority: int = 0,
                    key: str | None = None, onDuplicate: str = 'keep',
                    runAs: str | None = None, onSuccess: Any = None,
                    onFailure: Any = None) -> int:
        """Add a job, with options.

        Arguments: ``args``, ``kwargs``: what ``delay`` gets; ``countdown``
        (seconds) and ``eta`` (aware datetime) are ``delay`` and ``runAt`` of
        ``add``; the others, and what it returns and raises: as of ``add``.
        Raises: ServiceNotFound; InputRejected.
        """


class TaskFunction(_ApplyAsync, Protocol[_P, _R_co]):
    """What ``@task`` makes of a function: that, with ``delay``."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Call the function, here and now."""

    def delay(self, *args: _P.args, **kwargs: _P.kwargs) -> int:
        """Add a job that calls the function with these arguments.

        It adds to the service of the running job; outside of a job, to the
        one that the host finds: see IHost.default_service.
        Returns: the job's id.
        Raises: ServiceNotFound where that is none, or several;
        InputRejected, with a sentence for each argument that does not fit;
        what ``add`` raises.
        Txn: joins the caller's, as ``add``.
        """


class WholeTaskFunction(_ApplyAsync, Protocol[_I_contra, _R_co]):
    """The same of an f(service, jobid, input)."""

    def __call__(self, service: Any, jobid: int, input: _I_contra, /
                 ) -> _R_co:
        """Call the function, here and now."""

    def delay(self, input: _I_contra) -> int:
        """Add a job that calls the function with this input.

        See TaskFunction.
        """


# What apply_async passes on to ``add``.  Its ``delay`` and ``runAt`` are not
# among them: they have the names countdown and eta here.
_OPTIONS = frozenset(('priority', 'key', 'onDuplicate', 'runAs',
                      'concurrencyKey', 'queue', 'onSuccess', 'onFailure'))


# --- names -------------------------------------------------------------------

def marks(func: Any) -> tuple[tuple[str, Any], ...]:
    """The names and tasks that ``@task`` left on a function, mostly one."""
    found: tuple[tuple[str, Any], ...] = getattr(func, _MARK, ())
    return found


def mark(func: Callable[..., Any], name: str, made: Any) -> None:
    """Note that a function was decorated, and give it its methods.

    Arguments: ``made`` (FunctionTask), the task that it became.
    """
    def delay(*args: Any, **kwargs: Any) -> int:
        return _add(func, args, kwargs, {})

    def apply_async(args: Sequence[Any] = (),
                    kwargs: Mapping[str, Any] | None = None, *,
                    countdown: float | None = None,
                    eta: datetime | None = None, **options: Any) -> int:
        if countdown is not None and eta is not None:
            raise UsageError('countdown and eta exclude each other: give one '
                             'of them')
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            raise UsageError(
                f'{", ".join(unknown)}: apply_async takes no such option; '
                f'give countdown, eta, {", ".join(sorted(_OPTIONS))}, or call '
                f'add of the service')
        if isinstance(args, str | bytes):
            raise UsageError(f'args is {shown(args)}; give a list or tuple '
                             f'of the arguments')
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise UsageError(f'kwargs is {shown(kwargs)}; give a mapping of '
                             f'the arguments by name')
        return _add(func, args, kwargs or {},
                    {**options, 'delay': countdown, 'runAt': eta})

    delay.__doc__ = TaskFunction.delay.__doc__
    apply_async.__doc__ = _ApplyAsync.apply_async.__doc__
    for attribute, value in (
            (_MARK, (*marks(func), (name, made))),
            ('delay', delay), ('apply_async', apply_async)):
        setattr(func, attribute, value)


def name_of(task: Any) -> Any:
    """The name of a task that is given by name or by its function.

    Returns: the name (str); what is neither, as it is.
    Raises: UsageError for a function that has none, or several.
    """
    if isinstance(task, str) or not callable(task):
        return task
    return _mark_of(task)[0]


def _mark_of(func: Any) -> tuple[str, Any]:
    found = marks(func)
    if len(found) == 1:
        return found[0]
    if found:
        names = ', '.join(repr(name) for name, _ in found)
        raise UsageError(f'{func!r} is several tasks ({names}): add the job '
                         f'by the name of one')
    raise UsageError(f'{func!r} is not decorated with @task: do that, or add '
                     f'the job by the name of a task')


# --- jobs --------------------------------------------------------------------

def _add(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any],
         options: dict[str, Any]) -> int:
    name, made = _mark_of(func)
    input, violations = made.signature.bind(args, kwargs)
    if violations:
        raise InputRejected(
            f'the arguments do not fit the parameters of task {name!r}: '
            + '; '.join(violations), violations=violations)
    return _service().add(func, input, **options)


def _service() -> TaskService:
    job = job_of_thread()
    return current().default_service() if job is None else job.service
