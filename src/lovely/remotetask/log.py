"""The loggers."""

import logging

log = logging.getLogger('lovely.remotetask')

# Applications print each record of the logger above and of those below it, so
# in normal running these get the records of 0.5.2 only.  Diagnostics have a
# logger that is silent until an operator sets its level.
trace = logging.getLogger('lovely.remotetask.trace')
if trace.level == logging.NOTSET:
    trace.setLevel(logging.CRITICAL + 1)
