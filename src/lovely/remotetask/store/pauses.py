"""Pauses: who has let a queue rest, since when, why, and until when."""

from __future__ import annotations

from typing import Any
from typing import NamedTuple


class Pause(NamedTuple):
    """That a queue rests.

    Attributes: ``by``, the principal (str, as the host writes it), None where
    it is not known; ``since``, ``until`` (seconds since 1970), None: not
    known, and for ever; ``why`` (str), None: no reason was given.
    """

    by: str | None = None
    since: float | None = None
    why: str | None = None
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Does the queue rest at this moment?"""
        return self.until is None or now < self.until


def pause_of(stored: Any) -> Pause | None:
    """A pause, of the plain tuple or None that a record keeps."""
    return None if stored is None else Pause(*stored)
