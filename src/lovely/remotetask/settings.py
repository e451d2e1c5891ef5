"""Numbers that an operator may change: see docs/reference/settings.rst.

Each is changed by an environment variable, LOVELY_REMOTETASK_ and its name,
that is there when this module is imported, or by an assignment to the
attribute before processors start.  For that, every user reads ``settings.X``
at the time of use: ``from ...settings import X`` would keep the old number.
"""

import os
from typing import TypeVar

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import bounds

_PREFIX = 'LOVELY_REMOTETASK_'

_Number = TypeVar('_Number', int, float)

#: How often (seconds) an idle processor looks at its queue without a
#: notification, where notifications work (see peers/wakeup): one may get
#: lost.  A longer waitTime counts instead.
SAFETY_SECONDS = 30.0

#: The longest pickle (bytes) an input or output may have.  Longer ones belong
#: into a Blob: they would fill the caches of connections that list the job.
PAYLOAD_BYTES = 64 * 2**20

#: How much of a traceback (characters) is stored with an error.
TRACEBACK_CHARS = 16 * 1024

#: How many jobs a bulk operation changes in one transaction: more would hold
#: up other commits for longer, and lose more work to a conflict.
BULK_BATCH = 500

#: How long (seconds) a worker leaves a job that it lacks the task of to
#: others, until the job is set aside; how often it looks at those; and after
#: how long such a job ends in an error.
MISSING_FIRST = 10.0
MISSING_LAST = 300.0
MISSING_GIVE_UP = 24 * 3600.0

#: How long (seconds), and for how many jobs, the runs of groupable tasks go
#: on before they share a commit: beyond, it is a small part of their cost.
GROUP_SECONDS = 0.05
GROUP_JOBS = 128

#: How often a worker gives a sign of life, how long after the last one it
#: counts as dead, and how often a worker looks at the others (seconds).
BEAT_SECONDS = 10.0
DEAD_SECONDS = 40.0
LOOK_SECONDS = 1.0

#: How long (seconds) an idle worker waits before it looks over all jobs once
#: more, a few at a time, for those that stand in no lane and in no claim.
CHECK_SECONDS = 300.0

#: How long (seconds) a worker waits between two looks for jobs that are over
#: and were kept for long enough, while there are none.
PRUNE_SECONDS = 60.0

#: How long (seconds) no worker may know the task of a schedule that the code
#: has declared, until that schedule is paused.
GONE_SECONDS = 60.0

#: How long (seconds) after ``claimNextJob()`` a job that was not run is
#: queued again.
MANUAL_SECONDS = 600.0

#: How often the workers of one job may die before that job is taken for the
#: cause, and ends in an error.
POISON = 5

#: How often a job may conflict, since its last success, before it ends in an
#: error: it seems to conflict with itself.
CONFLICTS = 100

#: How long (seconds) a job that ran when its worker died runs with no other
#: job beside it in its process, and waits for such a process at most.
SUSPECT_SECONDS = 60.0

#: How often (seconds) a worker of several services looks which there are, and
#: a server whether autostart names new ones.
SERVICES_SECONDS = 30.0

#: How long (seconds) the end of a process waits for its running jobs.
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
    whole = isinstance(default, int)
    if not (number > 0 and (whole or number <= bounds.LONGEST)):
        kind = 'whole number' if whole else 'number'
        most = '' if whole else f' and at most {bounds.LONGEST}'
        raise ConfigurationError(
            f'{variable} is {bounds.shown(given)}; give a {kind} greater than '
            f'0{most}, or remove the variable: the default is {default}')
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
