"""Which queues a worker serves, and which lanes of each it takes from."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.fields.limits import check_queue
from lovely.remotetask.run.lane_shares import LaneShares
from lovely.remotetask.store.claims import ALL_QUEUES
from lovely.remotetask.store.claims import Serves
from lovely.remotetask.store.ready import Ready

if TYPE_CHECKING:
    from lovely.remotetask.store.queue import JobQueue


def serves(queues: Any, notQueues: Any) -> Serves:
    """The queues of a worker, as its options name them.

    Arguments: ``queues``, the names of those that it serves, None: all;
    ``notQueues``, but for these.
    Raises: UsageError.
    """
    only = None if queues is None else tuple(_names(queues))
    found = Serves(only, tuple(_names(notQueues)))
    if only is not None and not any(map(found.has, only)):
        raise UsageError('this worker serves no queue: name at least one of '
                         'those that are not excluded')
    return found


def _names(names: Any) -> Any:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise UsageError(f'{shown(names)} are no queues: give a list of names')
    names = list(names)
    for name in names:
        check_queue(name)
    return names


class Served:
    """The queues whose jobs a worker runs.

    Attributes: ``queues`` (Serves), their names.
    """

    def __init__(self) -> None:
        self.queues = ALL_QUEUES
        self._shares: dict[str | None, LaneShares] = {}

    def ready(self, queue: JobQueue, now: float) -> list[Ready]:
        """The ready jobs of these queues, as far as they do not rest: first
        those of which the next job is to run first.
        """
        return queue.awake(now, self.queues.has)

    def has_others(self, queue: JobQueue, slot: int, now: float) -> bool:
        """Is the queue of a slot's page not the only one with jobs?

        Also if that one rests by now.
        """
        own = queue.slots[slot].claims.queue
        return queue.ready_of(own).pause(now) is not None or (
            bool(queue.named) and any(
                ready.queue != own and ready.first_key is not None
                for ready in self.ready(queue, now)))

    def may_take(self, queue: JobQueue, ready: Ready, slots: Sequence[int],
                 own_only: bool = False) -> Collection[int] | None:
        """See LaneShares.may_take"""
        shares = self._shares.get(ready.queue)
        if shares is None:
            shares = self._shares[ready.queue] = LaneShares()
        return shares.may_take(queue, ready, slots, own_only)

    def took(self, seconds: float) -> None:
        """Note how long the commit of a claim took (seconds)."""
        for shares in self._shares.values():
            shares.took(seconds)

    def look_anew(self) -> None:
        """Forget for which lanes the latest look has to wait."""
        for shares in self._shares.values():
            shares.waits_for = None

    @property
    def waits_for(self) -> float | None:
        """In how many seconds a lane of another thread may be taken from."""
        return min((shares.waits_for for shares in self._shares.values()
                    if shares.waits_for is not None), default=None)
