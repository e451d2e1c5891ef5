"""What a function of the API is called with, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import UsageError
from lovely.remotetask.web import plain

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.web.presenter import Run


@dataclass(frozen=True)
class Call:
    """A request as the functions of the routes get it.

    Attributes: ``query``, the parameters; ``body``, gives the bytes of a JSON
    request, and refuses any other; ``run``, see presenter.Run; ``transact``,
    see bulk.Transact; ``part``, the id or name in the path, where its route
    has one; ``headers``, their names in lower case; ``user``, who asks;
    ``demand(permission)`` raises Refused where the user lacks it.
    """

    query: Mapping[str, str]
    body: Callable[[], bytes]
    run: Run
    transact: Callable[[Callable[[TaskService], Any]], Any]
    part: str = ''
    headers: Mapping[str, str] = field(default_factory=dict)
    user: str = ''
    demand: Callable[[str], None] = lambda permission: None

    @property
    def jobid(self) -> int:
        """The id of the job in the path."""
        return int(self.part)


@dataclass(frozen=True)
class Answer:
    """An answer that is more than its data.

    Attributes: ``status``, HTTP's; ``data``, fit for JSON; ``headers``;
    ``place``, the path below ``api/v1/`` of what was made; ``text``, which
    stands for the data in an answer of another ``content_type``.
    """

    data: object
    status: int = 200
    place: str = ''
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ''
    content_type: str = 'application/json'


def arguments(body: bytes, needed: str, *more: str) -> dict[str, Any]:
    """The JSON object in a body; the key ``needed`` has to be there."""
    data = some(body, needed, *more)
    if needed not in data:
        # An empty object must not remove all jobs by mistake.
        raise UsageError(f'the key "{needed}" is missing')
    return data


def some(body: bytes, *keys: str) -> dict[str, Any]:
    """The JSON object in a body, with no other keys than these."""
    try:
        data = plain.read_json(body)
    except RecursionError:
        raise UsageError('the body is nested too deeply') from None
    except UnicodeDecodeError:
        raise UsageError('the body is not UTF-8') from None
    except ValueError as error:
        raise UsageError(f'the body is not JSON: {error}') from None
    if not isinstance(data, dict):
        keyed = f' with the key "{keys[0]}"' if keys else ''
        raise UsageError(f'the body has to be an object{keyed}')
    unknown = sorted(set(data) - set(keys))
    if unknown:
        raise UsageError(f'unknown key {unknown[0]!r:.80}; there are '
                         f'{", ".join(keys) or "none"}')
    return data


def nothing(body: bytes) -> None:
    """Raise UsageError unless a body is an empty JSON object.

    A body that is not JSON is refused: a form of a foreign page can send all
    others.
    """
    some(body)


def check_query(query: Mapping[str, str], *known: str) -> None:
    """Raise UsageError for a parameter that the route does not know."""
    unknown = sorted(set(query) - set(known))
    if unknown:
        there = f'there are {", ".join(known)}' if known else 'there are none'
        raise UsageError(f'unknown parameter {unknown[0]!r:.80}; {there}')
