"""The options of tasks: their names, their defaults and their checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from zope.interface.interfaces import IInterface
from zope.schema.interfaces import IField

from lovely.remotetask.declaring.scheduled import TIMES
from lovely.remotetask.declaring.scheduled import split_options
from lovely.remotetask.declaring.signatures import Signature
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.limits import check_limit
from lovely.remotetask.fields.limits import check_queue
from lovely.remotetask.fields.limits import queue_named
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.interfaces import ITaskOptions
from lovely.remotetask.retry import RetryPolicy

#: The options of a task that sets none: see ITaskOptions.
_DEFAULTS: dict[str, Any] = {
    'retry': None, 'timeout': None, 'groupable': False, 'remote': None,
    'on_error': None, 'show': None, 'limit': None, 'rate': None,
    'keyLimit': None, 'queue': None, 'keep': None, 'schedule': None}


def task_option(task: Any, name: str) -> Any:
    """An option of a task: the one place that knows the defaults.

    Arguments: ``task`` (ITask, or None for one that is missing); ``name``, a
    name of ITaskOptions.
    """
    return getattr(task, name, _DEFAULTS[name])


def queue_of(task: Any, given: Any) -> str | None:
    """The queue of a job as ``queue_named`` has it; None given: its task's."""
    return queue_named(task_option(task, 'queue') if given is None else given)


def kept_seconds(task: Any) -> float | None:
    """How long jobs of a task are kept once they are over (seconds).

    None: as the service keeps them.
    """
    keep = task_option(task, 'keep')
    if isinstance(keep, timedelta):
        return keep.total_seconds()
    # Classes of applications may have a number of this name, too, and their
    # jobs must not go for it.
    ours = (isinstance(getattr(task, 'signature', None), Signature)
            or ITaskOptions.providedBy(task))
    return float(keep) if ours and _is_number(keep) else None


def shown_keys(task: Any) -> tuple[str, ...] | None:
    """The keys of a task's inputs that may be shown; None: all of it.

    Arguments: ``task`` (ITask, or None for one that is missing).
    """
    show = task_option(task, 'show')
    # Classes of applications may have an attribute of this name, too.
    if not _is_shown(show) or show is True:
        return None
    return tuple(show or ())


def set_options(made: Any, options: dict[str, Any]) -> None:
    """Give a task options, all of them or none.

    Arguments: ``options``, names and values of ITaskOptions; ``inputSchema``
    and ``outputSchema`` count as such.
    Raises: TypeError for a name or value that cannot be one.
    """
    options, times = split_options(options)
    if times:
        options['schedule'] = times
    unknown = set(options) - {*_CHECKS, 'inputSchema', 'outputSchema'}
    if unknown:
        raise TypeError(
            f'unknown task option {", ".join(sorted(unknown))}; there are '
            f'{", ".join(sorted(_CHECKS))}, inputSchema, outputSchema, and '
            f'for a schedule {", ".join(TIMES)}')
    if isinstance(options.get('keep'), timedelta):
        options = {**options, 'keep': options['keep'].total_seconds()}
    if type(options.get('retry')) is int:
        try:
            options = {**options, 'retry': RetryPolicy(options['retry'])}
        except UsageError as error:
            raise TypeError(f'the task option retry: {error}') from error
    for name, value in options.items():
        allowed, wanted = _CHECKS.get(name, (_is_schema, _SCHEMA))
        if value is not None and not allowed(value):
            raise TypeError(
                f'the task option {name} is {shown(value)}; it must be '
                f'{wanted}, or None')
    for name, value in options.items():
        # A list may be changed by its owner afterwards.
        setattr(made, name, tuple(value) if isinstance(
            value, list | set | frozenset) else value)


def _is_schema(value: Any) -> bool:
    return IField.providedBy(value) or IInterface.providedBy(value)


def _is_number(value: Any) -> bool:
    return is_seconds(value) and value > 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_limit(value: Any) -> bool:
    return _is_checked(value, None)


def _is_rate(value: Any) -> bool:
    return _is_checked(None, value)


def _is_queue(value: Any) -> bool:
    try:
        check_queue(value)
    except UsageError:
        return False
    return True


def _is_checked(limit: Any, rate: Any) -> bool:
    try:
        check_limit(limit, rate)
    except UsageError:
        return False
    return True


def _is_shown(value: Any) -> bool:
    return _is_flag(value) or (
        isinstance(value, list | tuple | set | frozenset)
        and all(isinstance(name, str) for name in value))


def _is_schedule(value: Any) -> bool:
    return isinstance(value, dict)


_SCHEMA = 'a zope.schema field or an interface'
_LIMIT = 'a whole number from 1 on'

# None means the default: see task_option.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'retry': (IRetryPolicy.providedBy, 'a number of retries, or an '
              'IRetryPolicy'),
    'timeout': (_is_number, 'a number of seconds'),
    'groupable': (_is_flag, 'True or False'),
    'remote': (_is_flag, 'True or False'),
    'on_error': (callable, 'a function on_error(context, error)'),
    'limit': (_is_limit, _LIMIT),
    'rate': (_is_rate, 'a pair: how many jobs may begin, and in how many '
             'seconds'),
    'keyLimit': (_is_limit, _LIMIT),
    'queue': (_is_queue, 'the name of a queue: 1 to 64 ASCII letters, '
              'digits, "-" and "_"'),
    'show': (_is_shown, 'True, False, or a list of the keys that are shown'),
    'keep': (_is_number, 'a number of seconds greater than 0, or a '
             'timedelta'),
    'schedule': (_is_schedule, 'a dict as addCronJob takes it'),
}
