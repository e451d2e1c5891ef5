"""What becomes of a run that conflicts again and again.

::

    ten conflicts in a row    a WARNING; the job waits for a while, uncharged,
                              and its thread is free for other jobs
    CONFLICTS, since its      the job ends in an error: it conflicts with
    last success              itself
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import NamedTuple

from transaction.interfaces import TransientError
from ZODB.utils import oid_repr

from lovely.remotetask import settings
from lovely.remotetask.edge import db
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import TooManyConflicts
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.peers import wakeup
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.finder import ServiceGone

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.run.executor import Executor
    from lovely.remotetask.service import TaskService

#: After how many conflicts in a row a run backs off.
IN_A_ROW = 10

# How long (seconds) a job waits after so many, at first and at most; doubles.
_WAIT_FIRST = 0.1
_WAIT_LAST = 10.0


class How(NamedTuple):
    """What ends the runs of a job again and again, as texts.

    Attributes: ``kind``, the class of the error; ``verb``, what the task has
    done; ``last``, at or by what, the last time; ``remedy``.
    """

    kind: str
    verb: str
    last: str
    remedy: str


def how(error: BaseException) -> How:
    """What a conflict has done to a run; or Ctrl-C, in direct processing."""
    kind = type(error).__name__
    if isinstance(error, TransientError):
        return How(kind, 'has conflicted', f'at {_place_of(error)}',
                   'let the task write what no other transaction writes at '
                   'the same time, not even one of its own')
    return How(kind, 'was broken off', f'by {describe(error)}',
               'find out why')


def set_aside(executor: Executor, claim: Claim, error: TransientError,
              session: db.Session, jitter: float) -> bool:
    """Let a job wait that has conflicted IN_A_ROW times, or end it.

    Arguments: ``jitter``, from 0.5 to 1: jobs that met must not meet again.
    Returns: False where that cannot be stored now.
    Txn: a short one of its own.
    """
    try:
        text = executor.write(lambda service: park(
            service, executor.own(service, claim), how(error),
            service.clock.now(), jitter),
            f'{claim.task} job {claim.jobid} waits')
        log.warning('Job %s: %s', claim.jobid, text)
    except TooManyConflicts as reason:
        reason.__cause__ = error
        executor.fail(claim, reason, session)
    except (LeaseLost, ServiceGone) as reason:
        trace.info('job %s: dropped: %s', claim.jobid, reason)
    except Exception:
        trace.exception('job %s cannot be set aside', claim.jobid)
        return False
    wakeup.notify(executor.home)
    return True


def park(service: TaskService, job: Job, how: How, now: float,
         jitter: float = 1.0) -> str:
    """Let a job wait whose runs have ended in that way IN_A_ROW times.

    Returns: what to log.
    Raises: TooManyConflicts: the job is to end, with this error.
    """
    count = job.conflicts + IN_A_ROW
    text = f'task {job.task!r} {how.verb} {count} times, last {how.last}'
    if count >= settings.CONFLICTS:
        raise TooManyConflicts(f'{text}: {how.remedy}, then retry the job')
    wait = jitter * min(
        _WAIT_FIRST * 2.0 ** min(job.conflicts // IN_A_ROW, 30), _WAIT_LAST)
    job.put(conflicts=count)
    service.jobqueue.park(job, now + wait, Failure(
        how.kind, f'{text}; the job runs again, uncharged', '',
        NO_ATTEMPT, now), charged=False, now=now)
    return f'{text}; it waits for {wait:.1f} s, and runs again, uncharged'


def is_of_queue(error: TransientError) -> bool:
    """Has a transaction conflicted at a record of the queue, not of the task?

    As where the claim of the next job shares the commit of a run.
    """
    name = getattr(error, 'class_name', None) or ''
    return name.startswith('lovely.remotetask.')


def _place_of(error: TransientError) -> str:
    """The object at which a transaction has conflicted, as a text."""
    name = getattr(error, 'class_name', None)
    oid = getattr(error, 'oid', None)
    if oid is None:
        return describe(error)
    return f'{name or "an object"} {oid_repr(oid)} ({type(error).__name__})'
