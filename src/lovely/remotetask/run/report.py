"""What the log tells of runs: one record at the end of each.

===========  =======  ========================  ============================
outcome      level    logger                    what has happened
===========  =======  ========================  ============================
completed    INFO     lovely.remotetask.runs    its result is stored
parked       INFO     lovely.remotetask.runs    the task asked for a later run
cancelled    INFO     lovely.remotetask.runs    the task has cancelled its job
given back   INFO     lovely.remotetask.runs    it runs again, uncharged
left         INFO     lovely.remotetask.runs    another worker is to run it
conflict     INFO     lovely.remotetask.runs    it runs again at once
dropped      INFO     lovely.remotetask.runs    the job is no longer ours
interrupted  INFO     lovely.remotetask.runs    its worker died; it runs again
retried      WARNING  lovely.remotetask         failed, and is tried again
failed       ERROR    lovely.remotetask         failed for good
poison       ERROR    lovely.remotetask         its worker died once too often
===========  =======  ========================  ============================

Each record has the fields ``job_id``, ``task``, ``attempt``, ``seconds``,
``worker``, ``outcome``, ``next_at`` and ``error``; see docs/reference/logging.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import runs
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import message_of
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import WrongWorker
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.steps import Verdict


def ended(claim: Claim, outcome: str, seconds: float | None = None,
          reason: object = '', until: float | None = None) -> None:
    """Tell of a run that has not failed.

    Arguments: ``outcome``, see above; ``seconds``, how long it took, None: it
    is not known; ``reason``, why; ``until``, when it is tried next (seconds
    since 1970).
    Cost: one ``isEnabledFor`` where no operator listens.
    """
    if runs.isEnabledFor(logging.INFO):
        when = None if until is None else as_utc(until)
        if isinstance(reason, BaseException):
            reason = describe(reason)
        runs.info('%s %s%s%s%s', _subject(claim), outcome, _after(seconds),
                  f': {reason}' if reason else '', _next(when),
                  extra=_extra(claim, outcome, seconds, when))


def since(began: float) -> float:
    """Seconds since a moment of the monotonic clock."""
    return SYSTEM_CLOCK.monotonic() - began


def failed(claim: Claim, verdict: Verdict, seconds: float | None,
           known: bool = True) -> None:
    """Tell of a run that has failed, with the words of 0.5.2 in front.

    Arguments: ``known``: False if it is decided later, once the database
    answers, whether the job is tried again.
    """
    error, until = verdict
    if isinstance(error, RetryLater) and until is not None:
        ended(claim, 'parked', seconds, message_of(error.reason), until)
        return
    if isinstance(error, CancelJob):
        ended(claim, 'cancelled', seconds, message_of(error))
        return
    final = known and until is None
    when = None if until is None else as_utc(until)
    outcome = 'failed' if final else 'retried'
    subject, text = _subject(claim), describe(error)
    trace: Any = None
    if isinstance(error, WrongWorker):
        message = message_of(error)
        front = f'{message}{"" if message[-1:] == "!" else ":"} {subject}'
        text = ''
    elif isinstance(error, TaskError):
        front = subject
    else:
        front = (f'Caught a generic exception, preventing thread from '
                 f'crashing: {subject}')
        trace = error
    log.log(logging.ERROR if final else logging.WARNING, '%s failed%s%s; %s',
            front, _after(seconds), f': {text}' if text else '',
            _next(when)[2:] if when else 'this is final' if final
            else 'the database does not answer, so what follows is not known',
            exc_info=trace, extra=_extra(
                claim, outcome, seconds, when, describe(error)))


def interrupted(claim: Claim, poison: str | None) -> None:
    """Tell of a run whose worker died.

    Arguments: ``poison``: the error with which its job has ended; None: the
    job runs again.
    """
    if poison is None:
        ended(claim, 'interrupted')
        return
    log.error('%s failed: %s; this is final', _subject(claim), poison,
              extra=_extra(claim, 'poison', None, None, poison))


def _subject(claim: Claim) -> str:
    return (f'Job {claim.jobid} (task {claim.task!r}, attempt '
            f'{claim.attempt}, worker {claim.token[0]})')


def _after(seconds: float | None) -> str:
    return '' if seconds is None else f' after {seconds:.3f} s'


def _next(when: datetime | None) -> str:
    return '' if when is None else (
        f'; it is tried again at {when:%Y-%m-%d %H:%M:%S} UTC')


def _extra(claim: Claim, outcome: str, seconds: float | None,
           when: datetime | None, error: str | None = None
           ) -> dict[str, Any]:
    return {'job_id': claim.jobid, 'task': claim.task,
            'attempt': claim.attempt, 'seconds': seconds,
            'worker': claim.token[0], 'outcome': outcome,
            'next_at': None if when is None else when.isoformat(),
            'error': error}
