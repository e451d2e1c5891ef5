"""What is to follow a job: checks calls, and makes them fit to be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import payload
from lovely.remotetask.adding import checks
from lovely.remotetask.adding.options import Options
from lovely.remotetask.adding.options import check_options
from lovely.remotetask.edge import caller
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.edges import Edges
from lovely.remotetask.fields.edges import Link
from lovely.remotetask.follow import POLICIES
from lovely.remotetask.follow import STOP
from lovely.remotetask.follow import Call
from lovely.remotetask.follow import filled
from lovely.remotetask.schedule.rule import check_delay
from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: How many calls may follow one job, all together.
MOST_LINKS = 1000

# How long the stored links may be (bytes), beside inputs that have records of
# their own: each job of a chain loads them.
_LINK_BYTES = 200


@dataclass(frozen=True, eq=False, repr=False)
class OfChain(Call):
    """A call that follows because a list says so, not by its onSuccess.

    Attributes: ``place``, which of the list it is, for errors.
    """

    place: str = ''


def call_of(given: Any, what: str) -> Call:
    """The call that a name, a decorated function or a Call stands for.

    Arguments: ``what``, names the place in errors.
    Raises: UsageError.
    """
    if isinstance(given, Call):
        return given
    if isinstance(given, str) or callable(given):
        return Call(given)
    raise UsageError(f'{what} is {shown(given)}; give a Call, the name of a '
                     f'task or a decorated function')


def check_policy(policy: Any) -> None:
    """Raise UsageError for what is no policy."""
    if policy not in POLICIES:
        raise UsageError(f'policy is {shown(policy)}; one of '
                         f'{", ".join(map(repr, POLICIES))}')


def edges_of(service: TaskService, onSuccess: Any, onFailure: Any,
             policy: Any, named: str = 'onSuccess'
             ) -> tuple[Any, ...] | None:
    """What follows a job, as it is stored with it; None: nothing.

    Arguments: ``named``, what the caller calls the first of them.

    Raises: ValueError, InputRejected, UsageError as ``add``, each with a note
    that names the call; nothing is stored then.
    Cost: O(calls that follow).
    """
    if policy is not None:
        check_policy(policy)
    if onSuccess is None and onFailure is None:
        if policy is not None:
            raise UsageError('policy says what becomes of onSuccess: give '
                             'that, too')
        return None
    links = _Links(service)
    success = links.number(onSuccess, named)
    failure = links.number(onFailure, 'onFailure')
    links.resolve()
    stored = tuple(map(tuple, links.found))
    return tuple(Edges(payload.wrap(stored, links.size), success, failure,
                       policy or STOP))


def is_same(one: Any, other: Any) -> bool:
    """Does the same follow, by what is stored?"""
    if one is None or other is None:
        return one is other
    return _bare(one) == _bare(other)


def _bare(edges: Any) -> Any:
    links, *rest = edges
    return [[payload.unwrap(part) for part in link]
            for link in payload.unwrap(links)], rest


class _Links:
    """The calls that follow a job, numbered as they are met.

    Without recursion: there may be a thousand, one behind the other.
    Attributes: ``found``, those that are checked; ``size``, about how long
    they are (bytes).
    """

    def __init__(self, service: TaskService) -> None:
        self.found: list[Link] = []
        self.size = 0
        self._service = service
        # A call may stand in several places; each is stored once.
        self._numbers: dict[int, int] = {}
        self._calls: list[tuple[Call, str]] = []
        self._after: list[tuple[int | None, int | None]] = []

    def number(self, given: Any, place: str) -> int | None:
        """The number of a call that is to be stored; None: there is none."""
        if given is None:
            return None
        known = self._numbers.get(id(given))
        if known is not None and self._calls[known][0] is given:
            return known
        call = call_of(given, place)
        if isinstance(call, OfChain):
            place = call.place
        if len(self._calls) >= MOST_LINKS:
            raise UsageError(f'more than {MOST_LINKS} calls follow one job')
        number = self._numbers[id(given)] = len(self._calls)
        self._calls.append((call, place))
        return number

    def resolve(self) -> None:
        """Check all calls, and what follows them in turn."""
        at = 0
        while at < len(self._calls):
            call, place = self._calls[at]
            self._after.append((
                self.number(call.onSuccess, f'{place}.onSuccess'),
                self.number(call.onFailure, f'{place}.onFailure')))
            at += 1
        self._refuse_cycle()
        for (call, place), after in zip(
                self._calls, self._after, strict=True):
            try:
                self.found.append(self._checked(call, *after))
            except (ValueError, RemoteTaskError) as error:
                error.add_note(f'this is about {_short(place)}, '
                               f'task {shown(call.task)}')
                raise

    def _refuse_cycle(self) -> None:
        """Raise UsageError for a call that follows itself, near or far."""
        open_, over = set(), set()
        for root in range(len(self._after)):
            todo = [root]
            while todo:
                at = todo[-1]
                fresh = [number for number in self._after[at]
                         if number is not None and number not in over]
                if at in over or not fresh:
                    over.add(at)
                    open_.discard(at)
                    todo.pop()
                    continue
                open_.add(at)
                if fresh[0] in open_:
                    raise UsageError(
                        f'{self._calls[fresh[0]][0]!r} follows itself: such '
                        f'a chain would never end')
                todo.append(fresh[0])

    def _checked(self, call: Call, success: int | None, failure: int | None
                 ) -> Link:
        service = self._service
        name, task = checks.check_task(service, call.task)
        kept = kept_of(service, task, call)
        if call.priority is None:
            del kept['priority']
        # It runs for the submitter of the job before.
        del kept['submitter']
        jar, host = caller.jar_of(service), service.host
        blank, holds = filled(call.input, None)
        if holds:
            # Its schema is asked when the job runs: then the result is there.
            try:
                stored = host.pack(call.input)
                size = payload.check(filled(stored, None)[0], jar)
            except InputRejected as error:
                raise InputRejected(
                    f'the input for task {name!r} {error}') from error
        else:
            stored, size = checks.check_input(task, name, blank, jar, host)
        if call.policy is not None and success is None:
            raise UsageError('policy says what becomes of onSuccess: give '
                             'that, too')
        self.size += (min(size, payload.INLINE_BYTES) + _LINK_BYTES
                      + len(name))
        return Link(
            name, payload.wrap(payload.copied(stored), size),
            {**kept, 'shows': shown_keys(task)}, call.delay, success, failure,
            call.policy or STOP)


def _short(place: str) -> str:
    """The place of a call in a chain, for an error."""
    names = place.split('.')
    if len(names) < 4:
        return place
    return f'{names[-1]} of call {len(names) - 1} behind the first'


def options_of(call: Call) -> Options:
    """What ``add`` would be asked for, for a job of this call."""
    return Options(
        0 if call.priority is None else call.priority,
        concurrencyKey=call.concurrencyKey, queue=call.queue,
        retry=call.retry, timeout=call.timeout,
        onSuccess=call.onSuccess, onFailure=call.onFailure,
        policy=call.policy)


def kept_of(service: TaskService, task: Any, call: Call) -> dict[str, Any]:
    """The attributes of the job of a call, as ``put`` takes them.

    Raises: UsageError, InvalidSchedule for what cannot be.
    """
    if call.delay is not None:
        check_delay(call.delay)
    if call.policy is not None:
        check_policy(call.policy)
    return check_options(service, task, options_of(call))
