"""Numbers that an operator may change: see docs/reference/settings.rst.

Each is changed by an environment variable, LOVELY_REMOTETASK_ and its name,
that is there when this module is imported, or by an assignment to the
attribute before processors start.  For that, every user reads ``settings.X``
at the time of use: ``from ...settings import X`` would keep the old number.
"""

import math
import os
from typing import TypeVar

from lovely.remotetask.errors import ConfigurationError

_PREFIX = 'LOVELY_REMOTETASK_'

_Number = TypeVar('_Number', int, float)

#: How often (seconds) an idle processor looks at its queue without a
#: notification, where notifications work (see peers/wakeup): one may get
#: lost.  A longer waitTime counts instead.
SAFETY_SECONDS = 30.0

#: The longest pickle (bytes) an input or output may have.  Longer ones belong
#: into a Blob: they would fill every connection's cache that lists the job.
PAYLOAD_BYTES = 64 * 2**20

#: How much of a traceback (characters) is stored with an error.
TRACEBACK_CHARS = 16 * 1024

#: How many jobs a bulk operation changes in one transaction: more would hold
#: up whoever commits meanwhile, and lose more to a conflict.
BULK_BATCH = 500

#: A job whose task is missing waits (seconds): first, at most, and until it
#: ends in an error.  A worker may be started before the code is deployed.
MISSING_FIRST = 10.0
MISSING_LAST = 300.0
MISSING_GIVE_UP = 24 * 3600.0

#: The runs of groupable tasks share a commit until it has been so long
#: (seconds), or so many: beyond, a commit is a small part of the cost.
GROUP_SECONDS = 0.05
GROUP_JOBS = 32

#: Sign of life, how long without one a worker counts as dead, and how often
#: others are looked at (seconds).
BEAT_SECONDS = 10.0
DEAD_SECONDS = 40.0
LOOK_SECONDS = 1.0

#: A job that was claimed by hand, and not run, comes back after this
#: (seconds).
MANUAL_SECONDS = 600.0

#: After so many interruptions a job is taken for the cause of them.
POISON = 5

#: What running jobs get at the end of a process to come to theirs (seconds).
END_GRACE = 5.0


def _from_environment(name: str, default: _Number) -> _Number:
    """The number that the environment gives, of the default's type."""
    variable = _PREFIX + name
    given = os.environ.get(variable)
    if given is None:
        return default
    try:
        number = type(default)(given)
    except ValueError:
        number = type(default)(0)
    if not 0 < number < math.inf:
        kind = 'whole number' if isinstance(default, int) else 'number'
        raise ConfigurationError(
            f'{variable} is {given!r}; give a {kind} greater than 0, or '
            f'remove the variable: the default is {default}')
    return number


# The numbers stand above as plain assignments, for readers and for mypy.
for _name, _default in list(globals().items()):
    if _name.isupper() and not _name.startswith('_'):
        globals()[_name] = _from_environment(_name, _default)

# Here, too: Liveness checks it in a processor's thread, where the error would
# be logged again and again, and no job would run.
if DEAD_SECONDS < 2 * BEAT_SECONDS:
    raise ConfigurationError(
        f'{_PREFIX}DEAD_SECONDS is {DEAD_SECONDS} with {_PREFIX}BEAT_SECONDS '
        f'{BEAT_SECONDS}; make it twice that or more: one late beat must not '
        f'cost a living worker its jobs')
