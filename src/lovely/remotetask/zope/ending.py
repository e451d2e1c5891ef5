"""The end of a Zope server that runs jobs.

Zope's own servers do not handle SIGTERM, and at Ctrl-C they close the
database before the interpreter's exit handlers run.
"""

from __future__ import annotations

import functools
import signal
import threading
from typing import Any

import Zope2

from lovely.remotetask.edge import db
from lovely.remotetask.run.sigterm import end_first
from lovely.remotetask.run.startup import is_looking_out
from lovely.remotetask.run.threads import ServiceThread


def install(event: Any) -> None:
    """End the processors first when a signal ends the server.

    Also where no service is started now: a request may call startProcessing()
    later, in a thread that can install no handler.
    Listens to IProcessStarting.
    """
    always = is_looking_out() or any(isinstance(thread, ServiceThread)
                                     for thread in threading.enumerate())
    end_first(signal.SIGTERM, signal.SIG_DFL, SystemExit, _leave_open, always)
    end_first(signal.SIGINT, signal.default_int_handler,
              KeyboardInterrupt, _leave_open, always)


def _leave_open() -> None:
    # The server closes them all, and would stumble over the connection of a
    # job that still runs.
    for database in Zope2.opened:
        database.close = functools.partial(db.close, database)
