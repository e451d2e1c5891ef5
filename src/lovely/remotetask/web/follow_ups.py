"""Reads, from JSON, the calls that follow a job or make up a chain or group.

A call is the name of a task, or an object with the names that
``lovely.remotetask.follow.Call`` has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding import following
from lovely.remotetask.edge.texts import meant
from lovely.remotetask.errors import TaskNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.web import changes
from lovely.remotetask.web import presenter

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

#: What follows a job, by the names that ``add`` has for it.
AFTER = ('onSuccess', 'onFailure')

#: The keys of a call.
KEYS = ('task', 'input', 'priority', 'delay', *AFTER, 'policy', *changes.MORE,
        *changes.OWN)

#: Stands, in the input of a call, for RESULT: an object with this key alone,
#: whose value is true.
MARK = 'RESULT'

#: How many calls may stand inside of each other; a chain is longer.
MOST_NESTED = 50

#: How many calls one request may have, all together.
MOST_CALLS = 10_000


def has_own(given: object, depth: int = MOST_NESTED) -> bool:
    """Does a call, or one that follows it, take the permission to manage?

    Arguments: ``given``, as JSON has it, and not checked yet.
    """
    if not isinstance(given, dict) or depth < 0:
        return False
    return (any(given.get(name) is not None for name in changes.OWN)
            or any(has_own(given.get(name), depth - 1) for name in AFTER))


def is_followed_by(service: TaskService, job: Job, given: dict[str, Any]
                   ) -> bool:
    """Does the same follow a job as a request says?"""
    after = Reader(service).read(given)
    return following.is_same(job.edges, following.edges_of(
        service, after.get('onSuccess'), after.get('onFailure'), None))


class Reader:
    """Reads the calls of one request.

    Its functions raise UsageError for what is no call; TaskNotFound, also for
    a task that may not be added from outside; InputRejected.
    """

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._left = MOST_CALLS

    def read(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a job, those of AFTER as ``add`` takes them."""
        return {name: self.call(value, name)
                if name in AFTER and value is not None else value
                for name, value in options.items()}

    def calls(self, given: object) -> list[Call]:
        """The calls of a list."""
        if not isinstance(given, list):
            raise UsageError(f'calls is {given!r:.80}; give a list with a '
                             f'call for each job')
        return [self.call(one, f'calls[{number}]')
                for number, one in enumerate(given)]

    def call(self, given: object, place: str, depth: int = MOST_NESTED
             ) -> Call:
        """The call that JSON describes.

        Arguments: ``place``, names it in errors.
        """
        self._left -= 1
        if self._left < 0:
            raise UsageError(f'the request has more than {MOST_CALLS} calls')
        if depth == 0:
            raise UsageError(f'more than {MOST_NESTED} calls stand inside of '
                             f'each other; add a chain')
        given = _checked(given, place)
        options = self._options(given, place)
        options['input'] = _with_result(options['input'])
        for key in AFTER:
            if given.get(key) is not None:
                options[key] = self.call(given[key], f'{place}.{key}',
                                         depth - 1)
        return Call(**options)

    def _options(self, given: dict[str, Any], place: str) -> dict[str, Any]:
        """The arguments of a call, but for the calls that follow it."""
        try:
            return changes.read_call(self._service, **{
                key: given[key] for key in KEYS
                if key not in AFTER and given.get(key) is not None})
        except UsageError as error:
            error.add_note(f'this is about {place}')
            raise
        except ValueError:
            known = presenter.available_tasks(self._service)
            raise TaskNotFound(
                f'Task does not exist: {given["task"]!r:.80}'
                f'{meant(given["task"], known)} (this is about {place})'
                ) from None


def _checked(given: object, place: str) -> dict[str, Any]:
    if isinstance(given, str):
        return {'task': given}
    if not isinstance(given, dict):
        raise UsageError(f'{place} is {given!r:.80}; give the name of a task, '
                         f'or an object with the key "task"')
    unknown = sorted(set(given) - set(KEYS))
    if unknown:
        raise UsageError(f'{place} has the unknown key {unknown[0]!r:.80}; '
                         f'there are {", ".join(KEYS)}')
    if given.get('task') is None:
        raise UsageError(f'{place} lacks the key "task"')
    return given


def _with_result(value: Any) -> Any:
    """Plain data, with RESULT in the place of each object that means it."""
    if isinstance(value, list):
        return [_with_result(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and value.get(MARK) is True:
        return RESULT
    return {key: _with_result(one) for key, one in value.items()}
