"""When a failed attempt is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import IRetryPolicy


# Frozen: all jobs of a task share its policy, and all tasks the default one.
@implementer(IRetryPolicy)
@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter.  See IRetryPolicy

    Arguments: ``retries`` (int >= 0), how often a failed job is tried again;
    ``base`` (seconds), the upper bound of the first wait, doubled each time;
    ``cap`` (seconds), the upper bound of all waits.
    Raises: UsageError for numbers that make no sense.
    """

    retries: int = 3
    base: float = 1.0
    cap: float = 3600.0

    def __post_init__(self) -> None:
        if type(self.retries) is not int or self.retries < 0:
            raise UsageError(f'retries is {shown(self.retries)}; give a whole '
                             f'number from 0 on')
        for name in ('base', 'cap'):
            value = getattr(self, name)
            if not is_seconds(value):
                raise UsageError(f'{name} is {shown(value)}; give {SECONDS}')

    def delay(self, failures: int, rng: random.Random) -> float | None:
        """See IRetryPolicy"""
        if failures > self.retries:
            return None
        # 2.0 ** 1023 is the last power a float holds.
        bound = min(self.cap, self.base * 2.0 ** min(failures - 1, 1000))
        # Full jitter: jobs that failed together must not run again together.
        return rng.uniform(0.0, bound)


#: Three retries after at most 1, 2 and 4 seconds.
DEFAULT_POLICY = RetryPolicy()

NO_RETRY = RetryPolicy(retries=0)


def of_stored(stored: Any, policy: Any) -> Any:
    """The retries of a job (see IJob.retry), of what is stored of them.

    Arguments: ``stored``, a number, or the numbers of a RetryPolicy (tuple);
    None: ``policy``, one of the application, or None.
    """
    return (policy if stored is None else
            RetryPolicy(*stored) if type(stored) is tuple else stored)
