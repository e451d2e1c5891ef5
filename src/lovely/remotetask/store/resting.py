"""Which queues rest: their jobs wait, although threads are free."""

from __future__ import annotations

from collections.abc import Callable

from lovely.remotetask.store.lanes import LAST
from lovely.remotetask.store.pauses import Pause
from lovely.remotetask.store.pauses import pause_of
from lovely.remotetask.store.places import Places
from lovely.remotetask.store.ready import Ready


class Resting(Places):
    """The part of a queue that knows whether jobs are started at all."""

    # The types stand in comments: see job.
    paused = False
    # The Pause, as a plain tuple.  None: it is not paused, or nothing is known
    # of that.
    pausing = None  # type: tuple[object, ...] | None

    def pause_now(self, now: float) -> Pause | None:
        """By which all queues of this service rest now; None: jobs are run."""
        if not self.paused:
            return None
        found = pause_of(self.pausing) or Pause()
        return found if found.holds(now) else None

    def pauses(self, now: float) -> list[Pause]:
        """All pauses that hold now, of this service and of one queue."""
        return [pause for pause in (
            self.pause_now(now), *(ready.pause(now)
                                   for ready in self.all_ready()))
            if pause is not None]

    def rests(self, name: str | None, now: float) -> bool:
        """Are no jobs of this queue to be started now?

        Arguments: ``name``, None: of the default one.
        """
        return (self.pause_now(now) is not None
                or self.ready_of(name).pause(now) is not None)

    def awake(self, now: float,
              serves: Callable[[str | None], bool] = lambda name: True
              ) -> list[Ready]:
        """The ready jobs of each queue that does not rest: first those of
        which the next job is to run first.

        A pause of the whole service is not asked for.
        Arguments: ``serves(name)``: are the jobs of that queue wanted?
        """
        found = [ready for ready in self.all_ready()
                 if serves(ready.queue) and ready.pause(now) is None]
        # Most services have one queue, and a look at its lanes costs.
        return found if len(found) < 2 else sorted(found, key=_first_key)


def _first_key(ready: Ready) -> int:
    first = ready.first_key
    return LAST if first is None else first
