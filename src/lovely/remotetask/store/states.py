"""The life of a job as a table.

::

        add            add(startLater)     addCronJob / add(delay)
         |                   |                       |
         v      startJob     v          due          v
      queued <---------- start later      +----- cronjob, delayed
       ^  |  <----------------------------+          ^
       |  | claim                                    |
       |  v                                          |
    processing ------- finish or fail, recurring ----+
       |
       +--- finish ---> completed
       +--- fail -----> error
       +--- retry ----> queued (it waits there)

    cancel leads from every state that is not final to cancelled.
    completed, error and cancelled are final: only clean follows, and
    retryJob, which queues what failed or was cancelled once more.
    rescue and give-back lead from processing to queued.

The queue asks here before it writes; nothing here knows the database.
"""

from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER

#: status -> the statuses that may follow.  A queued job may end without
#: being claimed in between: direct process() runs it in one transaction.
#: None is a job that has been made but not added.
TRANSITIONS = {
    None: {QUEUED, STARTLATER, CRONJOB, DELAYED},
    STARTLATER: {QUEUED, CANCELLED},
    DELAYED: {QUEUED, DELAYED, CRONJOB, CANCELLED, ERROR},
    CRONJOB: {QUEUED, CRONJOB, DELAYED, CANCELLED, ERROR},
    QUEUED: {PROCESSING, QUEUED, CRONJOB, DELAYED, COMPLETED, ERROR,
             CANCELLED},
    PROCESSING: {PROCESSING, QUEUED, CRONJOB, COMPLETED, ERROR, CANCELLED},
    COMPLETED: set(),
    ERROR: {QUEUED, CRONJOB},
    CANCELLED: {QUEUED, CRONJOB},
}


def is_final(status: str | None) -> bool:
    """Is a job with this status over?"""
    return status in FINAL


def check(jobid: int, source: str | None, target: str) -> None:
    """Raise InvalidTransition unless ``target`` may follow ``source``."""
    if target not in TRANSITIONS[source]:
        raise InvalidTransition(jobid, str(source), target)
