"""Limits that people have set: they stand above those of the code."""

from __future__ import annotations

from persistent import Persistent

from lovely.remotetask.fields.limits import Limit


class Limits(Persistent):
    """The limits of a queue that people have set.

    A record of its own, which each claim reads, and no claim writes.
    Attributes: ``stored``, name of a gate -> Limit; never changed in place, so
    that a worker sees by the identity of the dict whether it is another one.
    """

    def __init__(self) -> None:
        self.stored: dict[str, tuple[int | None, tuple[int, float] | None]] = (
            {})

    def get(self, name: str) -> Limit | None:
        """The limit of a gate; None: the code decides."""
        found = self.stored.get(name)
        return None if found is None else Limit(*found)

    def set(self, name: str, limit: Limit | None) -> None:
        """Set the limit of a gate; None: the code decides."""
        stored = {key: value for key, value in self.stored.items()
                  if key != name}
        if limit is not None:
            stored[name] = limit.limit, limit.rate
        if stored != self.stored:
            self.stored = stored
