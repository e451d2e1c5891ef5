"""The record of a job as 0.5.2 wrote it: read as one of today's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lovely.remotetask.errors.bounds import seconds_of
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.failure import Failure

# Attribute of 0.5.2, a naive local datetime -> ours, seconds since 1970.
_MOMENTS = {'created': 'createdAt', 'started': 'startedAt',
            'completed': 'completedAt'}


def converted(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a job, from a record of 0.5.2.

    Moments become seconds since 1970, a stored exception becomes text; all
    others stay, the application's own among them.
    """
    for name, ours in _MOMENTS.items():
        moment = state.pop(name, None)
        if isinstance(moment, datetime):
            state[ours] = seconds_of(moment)
    # The queue says when a job runs next.
    state.pop('scheduledFor', None)
    attempt = NO_ATTEMPT
    if state.get('startedAt') is not None:
        # 0.5.2 has not counted them: there was one, at least.
        attempt = state['attempts'] = 1
    error = state.get('error')
    if error is not None and type(error) is not tuple:
        ended = state.get('completedAt') or state.get('startedAt') or 0.0
        state['error'] = tuple(_failure(error, attempt, ended))
    return state


def _failure(error: Any, attempt: int, moment: float) -> Failure:
    if isinstance(error, BaseException):
        # 0.5.2 has kept no traceback.
        return Failure.of(error, attempt, moment)._replace(traceback='')
    # The class of an exception may be gone: its arguments tell the most.
    kind = type(error)
    texts = getattr(error, '__Broken_newargs__', None) or (error,)
    return Failure(f'{kind.__module__}.{kind.__qualname__}',
                   ', '.join(map(_text, texts)), '', attempt, moment)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return type(value).__name__
