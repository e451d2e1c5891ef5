"""How a job's record is packed: one bytes object for most of it."""

from __future__ import annotations

import pickle
from typing import Any

from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.fields.upstream import converted

# The form of a job's record.  A release that reads another form writes a
# larger number; this one then leaves the record alone.
FORM = 1

# The attributes that are stored of every job, in this order.  New names go to
# the end, and no name is ever taken out, or stored jobs would be read wrongly.
# Of four, only plain data is packed.
FIRST = ('id', 'task', 'status', 'createdAt', 'position', 'attempts',
         'startedAt', 'claim', 'ready_key', 'completedAt', 'priority',
         'failures', 'interruptions', 'delay', 'anchor', 'missing_since',
         'submitter')
WEIGHED = ('key', 'error', 'input', 'output')
LAST = ('conflicts', 'stops', 'retry', 'timeout', 'member', 'follows')
_PACKED = FIRST + WEIGHED + LAST


def unpack(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a job, from the state that its record holds.

    Raises: NewerRecord.
    """
    packed = state.pop('', None)
    if packed is None:
        # 0.5.2 has stored all attributes one by one.
        converted(state)
    else:
        form, *values = pickle.loads(packed)
        if form > FORM:
            raise NewerRecord(
                f'a newer release of lovely.remotetask has written job '
                f'{values[0]!r} (form {form}, this one knows {FORM}): '
                f'upgrade, or let workers of that release run it')
        for name, value in zip(_PACKED, values, strict=False):
            if value is not None:
                state[name] = value
        if len(values) > len(_PACKED):
            # Of a newer release: they go back as they came.
            state['_unknown'] = values[len(_PACKED):]
    return state
