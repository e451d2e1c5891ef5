"""What is to come after a job: calls, as an application gives them.

::

    service.add('convert', film, onSuccess=Call('tell', {'file': RESULT}))
    service.addChain([Call('fetch', url), Call('convert', RESULT), 'tell'])
    service.addGroup([Call('render', page) for page in pages],
                     then=Call('bind', RESULT))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: What becomes of the jobs that are to follow one that has failed for good:
#: they stop until it is retried and completes, or go on without its result.
POLICIES = (STOP, CONTINUE) = ('stop', 'continue')

# How deep in a plain input a RESULT is looked for: as payload weighs it.
_DEPTH = 50


class _Result:
    """See RESULT."""

    def __reduce__(self) -> str:
        # By its name: there is one, and it is compared by identity.
        return 'RESULT'

    def __repr__(self) -> str:
        return 'RESULT'


#: Stands, in the input of a call that follows a job, for the result of that
#: job: as the input itself, or anywhere in the values of its dicts, lists and
#: tuples.  After a failure it is a dict with the ``type``, ``message`` and
#: ``attempt`` of the error; after a group, one that tells how its jobs have
#: ended.
RESULT: Any = _Result()


@dataclass(frozen=True, eq=False)
class Call:
    """A task and its input, which become a job when their turn comes.

    Arguments: ``task``, a name or a decorated function; ``input``, in which
    RESULT may stand.  It is copied when the call is given to a service: what
    is changed later does not count.
    ``priority`` (int): None takes that of the job before; ``delay``, seconds
    that it waits when its turn has come; ``queue``, ``concurrencyKey``,
    ``retry``, ``timeout``, as ``add`` takes them; ``onSuccess``,
    ``onFailure``: what follows it in turn, each a Call, the name of a task or
    a decorated function; ``policy``, what becomes of ``onSuccess`` when this
    one fails for good: ``'stop'``, it waits until a retry has completed, or
    ``'continue'``, it comes with None for RESULT.  None is what the chain
    says, else ``'stop'``.
    """

    task: str | Callable[..., Any]
    input: Any = None
    priority: int | None = None
    delay: float | None = None
    onSuccess: Any = None
    onFailure: Any = None
    policy: str | None = None
    queue: str | None = None
    concurrencyKey: str | None = None
    retry: Any = None
    timeout: float | None = None

    def __repr__(self) -> str:
        # What follows may be a thousand calls deep.
        return f'<{type(self).__name__} {self.task!r}>'


def filled(value: Any, result: Any) -> tuple[Any, bool]:
    """A copy of a plain value, its RESULTs replaced; and whether it had any.

    What is no dict, list or tuple by its exact type stays as it is, and so
    does what is nested deeper than 50.
    """
    return _filled(value, result, {}, _DEPTH)


def _filled(value: Any, result: Any, memo: dict[int, tuple[Any, bool]],
            depth: int) -> tuple[Any, bool]:
    if value is RESULT:
        return result, True
    kind = type(value)
    if depth == 0 or kind not in (dict, list, tuple):
        return value, False
    if id(value) not in memo:
        # In a container that contains itself, the inner one stays as it is.
        memo[id(value)] = value, False
        parts = [_filled(part, result, memo, depth - 1) for part in (
            value.values() if kind is dict else value)]
        new = [part for part, _ in parts]
        memo[id(value)] = (
            dict(zip(value, new, strict=True)) if kind is dict else kind(new),
            any(found for _, found in parts))
    return memo[id(value)]
