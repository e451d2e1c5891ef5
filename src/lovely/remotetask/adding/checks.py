"""What a call that adds jobs refuses: unknown tasks, and inputs that do not
fit or cannot be stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import payload
from lovely.remotetask.declaring.decorated import name_of
from lovely.remotetask.edge.texts import some
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.task import check_against
from lovely.remotetask.task import misfits
from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from ZODB.Connection import Connection

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

# Of how many refused inputs an error message gives the reason, and how much
# (characters) of each.
_REASONS = 20
_REASON_CHARS = 200


def check_task(service: TaskService, given: Any) -> tuple[str, Any]:
    """The name and the task that a name, or a decorated function, stands for.

    Raises: ValueError.
    """
    name = name_of(given)
    task = service._task(name)
    if task is None:
        error = service._no_task(name)
        if given is not name:
            error.add_note(
                f'{name!r}, which {given!r} declares, is not registered here: '
                f'scan its module where the application starts '
                f'(lovely.remotetask.task.scan)')
        raise error
    return name, task


def check_input(task: Any, name: str, input: Any, jar: Connection | None,
                host: IHost) -> tuple[Any, int]:
    """The input as it is stored, and about how long it is (bytes).

    Raises: InputRejected.
    """
    misfit, violations = violations_of(task, input)
    if violations:
        raise InputRejected(
            f'the input does not fit the {misfit} of task {name!r}: '
            + '; '.join(violations), violations=violations)
    try:
        packed = host.pack(input)
        return packed, payload.check(packed, jar)
    except InputRejected as reason:
        raise InputRejected(
            f'the input for task {name!r} {reason}') from reason


def violations_of(task: Any, input: Any) -> tuple[str, list[str]]:
    """What an input does not fit, and a sentence for each violation."""
    wrong = misfits(task, input)
    schema = getattr(task, 'inputSchema', None)
    found = wrong + ([] if schema is None else check_against(
        schema, input, shown_keys(task)))
    # A parameter that is missing may be a key of the schema, too.
    return ('parameters' if wrong else 'inputSchema',
            list(dict.fromkeys(found)))


def check_inputs(task: Any, name: str, inputs: list[Any],
                  jar: Connection | None, host: IHost
                  ) -> tuple[list[Any], list[int]]:
    packed, sizes, refused = [], [], []
    for index, input in enumerate(inputs):
        try:
            stored, size = check_input(task, name, input, jar, host)
            packed.append(stored)
            sizes.append(size)
        except InputRejected as reason:
            refused.append((index, str(reason)))
    if refused:
        reasons = some(
            refused, _REASONS, '; ',
            lambda one: f'[{one[0]}] {one[1]:.{_REASON_CHARS}}')
        if len(refused) > _REASONS:
            reasons += ", see the error's indexes"
        raise InputRejected(
            f'{len(refused)} of {len(inputs)} inputs are refused, and nothing '
            f'is stored: {reasons}',
            indexes=[index for index, _ in refused])
    return packed, sizes
