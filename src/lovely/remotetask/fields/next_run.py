"""When a recurring job runs next, and what waits for that."""

from __future__ import annotations

from typing import Any

from persistent import Persistent


class NextRun(Persistent):
    """When a recurring job runs next.

    A record of its own: the next time is noted while the job may be running,
    and to write the Job would conflict with its run.  A task that takes longer
    than its period could never commit.
    Attributes: ``key`` (int), in the lanes ``due``; ``enabled`` (bool): False:
    the schedule rests, and the key is one that never comes; ``edit`` (dict, as
    ``put`` takes it), what an edit amid a run has changed for the next ones;
    ``owed``: runs are to be made up for the times from the first to the second
    one (seconds since 1970); None: for none; ``offset``, how far the clock of
    its time zone is before UTC at that time (seconds); None: it is UTC.
    """

    enabled = True
    edit: dict[str, Any] = {}       # noqa: RUF012
    owed: tuple[float, float] | None = None
    offset: int | None = None

    def __init__(self, key: int) -> None:
        self.key = key
