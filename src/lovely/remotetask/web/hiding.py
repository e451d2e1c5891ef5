"""Leaves out of inputs what their tasks hide: see ITaskOptions.show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def keys_of(service: TaskService, task: str | None, noted: Any
            ) -> tuple[str, ...] | None:
    """The keys of a job's input that may be shown; None: all of it.

    What its task said when the job was added counts, for this process may lack
    the task; and what the task says now, for the job may be older than that.
    Arguments: ``task``, its name; ``noted``, see Job.shows.
    """
    now = shown_keys(service._task(task))
    if noted is None or now is None:
        return now if noted is None else tuple(noted)
    return tuple(name for name in noted if name in now)


def shown(value: Any, keys: tuple[str, ...] | None) -> Any:
    """The part of an input that may be shown; None: nothing."""
    if keys is None:
        return value
    if not isinstance(value, Mapping):
        return None
    return {name: value[name] for name in keys if name in value} or None


def kept(value: Any, keys: tuple[str, ...] | None) -> dict[Any, Any]:
    """The part that is not shown, which an edit by what is shown keeps."""
    if keys is None or not isinstance(value, Mapping):
        return {}
    return {name: value[name] for name in value if name not in keys}


def note(value: Any, keys: tuple[str, ...] | None) -> str | None:
    """What to say of the part that is not shown; None: there is none.

    The names of keys are not told: of some inputs they are data, too.
    """
    if keys is None or value is None:
        return None
    if not isinstance(value, Mapping):
        return 'is hidden: its task shows none of it'
    left = sum(name not in keys for name in value)
    if not left:
        return None
    if left == len(value):
        return 'is hidden: its task shows none of it'
    return (f'is shown in part: its task hides {left} of its {len(value)} '
            f'keys')
