"""What a job follows, what follows it, and which group it is of."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.losses import UNREADABLE

if TYPE_CHECKING:
    from lovely.remotetask.job import Job


def of(job: Job) -> dict[str, Any]:
    """``follows``, ``group`` and ``followUps`` of a job, fit for JSON."""
    answer: dict[str, Any] = {
        'follows': job.follows, 'group': job.group, 'followUps': []}
    # What follows may have a record of its own, and that may be lost.
    with suppress(*UNREADABLE):
        answer['followUps'] = job.followUps
    return answer
