"""A request and its answer, as the surface sees them in every host."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import kept
from lovely.remotetask.web.kept import Place

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.web.presenter import Run

#: How many bytes the body of a request may have.
DEFAULT_LIMIT = 1_000_000


#: permission -> its name for people.
_PERMISSIONS = {VIEW: 'Remote tasks: View', ADD: 'Remote tasks: Add jobs',
                MANAGE: 'Remote tasks: Manage'}


class Refused(Exception):
    """The request is answered with this status and this message.

    Arguments: ``status`` (int); ``message`` (str); ``allow`` (str), the
    methods that the path takes, for a 405.
    """

    def __init__(self, status: int, message: str, allow: str = '') -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.allow = allow

    def headers(self) -> dict[str, str]:
        """What the answer says to programs, besides its text."""
        found = {}
        if self.status in (429, 503):
            found['Retry-After'] = '1'
        if self.allow:
            found['Allow'] = self.allow
        return found


class Csrf(Protocol):
    """How a host tells its own forms from those of a foreign page."""

    #: The name of the form's hidden field.
    field: str

    def token(self) -> str:
        """The value of that field, for this user."""

    def is_valid(self, token: str) -> bool:
        """Is this a token that the user got from us lately?"""


class Transacts(Protocol):
    """``transact(function)`` calls ``function(service)`` in a transaction of
    its own, again after a conflict, and returns the result.  Without
    ``writes`` it is aborted.  It may be called in any thread.
    """

    def __call__(self, function: Callable[[TaskService], object],
                 writes: bool = True) -> object:
        ...


@dataclass(frozen=True)
class Request:
    """One request, without the framework that received it.

    Attributes: ``method``, HTTP's; ``path``, what follows the mount point,
    without a slash in front; ``query``, the parameters behind the question
    mark; ``headers``, their names in lower case; ``content_type``, without
    its parameters; ``body``, reads the bytes, or raises Refused; ``base``,
    the absolute path of the mount point, without a slash behind; ``origin``,
    scheme, host and port by which browsers know the host; ``user``, the name
    of the account, '' for none; ``may``, says whether that account has a
    permission (VIEW, ADD, MANAGE); ``csrf``, see there; ``run``, calls
    ``function(service)`` in the request's transaction, see presenter.Run;
    ``transact``, the same in transactions of its own, see bulk.Transact;
    ``links``, titles and addresses that lead back into the host; ``place``,
    tells the service from others, see kept; None: its ``base`` does; ``here``,
    the absolute path of a page that is not below the mount point.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content_type: str
    body: Callable[[], bytes]
    base: str
    origin: str
    user: str
    may: Callable[[str], bool]
    csrf: Csrf
    run: Run
    transact: Transacts
    address: str = ''
    links: Sequence[tuple[str, str]] = ()
    place: Place | None = None
    here: str = ''

    @property
    def kept(self) -> dict[str, Any]:
        """What this process keeps of the service; no database is asked."""
        return kept.at(self.place or (type(self), self.base))

    def demand(self, permission: str) -> None:
        """Raise Refused for an account that does not have a permission."""
        if self.may(permission):
            return
        name = _PERMISSIONS[permission]
        what = ('may not look at these jobs' if permission == VIEW
                or not self.may(VIEW) else 'may look, and not do this')
        raise Refused(403, f'this account {what}: it takes the permission '
                           f'"{name}"')

    @property
    def is_live(self) -> bool:
        """Does the script of a page that is open ask for its newer parts?"""
        return 'x-remotetask-live' in self.headers


@dataclass(frozen=True)
class Response:
    """The answer.

    Attributes: ``status`` (int); ``content_type``, with its parameters;
    ``body`` (bytes); ``headers``, further ones.
    """

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
