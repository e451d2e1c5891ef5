"""What a job has of its own, and what it has reached, fit for JSON."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

from lovely.remotetask.edge.clock import iso
from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.retry import RetryPolicy


def own(retry: Any, timeout: float | None) -> dict[str, Any]:
    """The retry policy and the time limit with which a job was added."""
    if retry is not None and type(retry) is not int:
        # Of a policy of the application its class is all that is known.
        retry = (asdict(retry) if type(retry) is RetryPolicy
                 else f'{type(retry).__module__}.{type(retry).__qualname__}')
    return {'retry': retry, 'timeout': timeout}


def facts(record: Any) -> dict[str, Any]:
    """What a job's Checkpoint tells beside its cursor."""
    with suppress(*UNREADABLE):
        return {'at': iso(record.at), 'count': record.count,
                'steps': record.stepCount, 'latestStep': record.latestStep}
    return {}       # it is lost; then the note about the cursor says so
