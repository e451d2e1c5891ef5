"""The latest runs of a schedule: how each of them has ended."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from persistent import Persistent

from lovely.remotetask.errors.bounds import as_utc

#: The outcome of a time at which no run began, because it was missed.
SKIPPED = 'skipped'

# How many are kept, and how much (bytes in UTF-8) of an error: with a long one
# each, a record has less than 2,000 bytes.
_KEPT = 20
_ERROR_BYTES = 56


class Run(NamedTuple):
    """A scheduled run that has ended.

    Attributes: ``endedAt``, an aware UTC datetime; ``seconds`` (float), how
    long its last attempt took; ``outcome``, 'completed', 'error', 'cancelled'
    or 'skipped'; ``error``, the first words of its error or of what was
    skipped (str), or None.
    """

    endedAt: datetime | None
    seconds: float
    outcome: str
    error: str | None


class LatestRuns(Persistent):
    """How the latest runs of a schedule have ended.

    A record of its own, so that it is not loaded with each job; written in
    the commit that ends a run.
    """

    _packed = b''

    def note(self, now: float, seconds: float, outcome: str,
             error: str | None) -> None:
        """Add the run that has just ended; the oldest goes."""
        if error is not None:
            error = ' '.join(error.split()).encode('utf-8', 'replace')[
                :_ERROR_BYTES].decode('utf-8', 'ignore')
        kept = self._ends()[1 - _KEPT:]
        kept.append((round(now, 3), round(seconds, 3), outcome, error))
        self._packed = pickle.dumps(
            [part for end in kept for part in end], 3)

    def _ends(self) -> list[tuple[float, float, str, str | None]]:
        if not self._packed:
            return []
        parts = pickle.loads(self._packed)
        return list(zip(*[iter(parts)] * 4, strict=True))

    def __iter__(self) -> Iterator[Run]:
        """The runs, the latest first."""
        for now, seconds, outcome, error in reversed(self._ends()):
            yield Run(as_utc(now), seconds, outcome, error)
