"""The loggers."""

import logging

log = logging.getLogger('lovely.remotetask')

# In normal running nothing but the records of 0.5.2 may reach the logger
# above or one below it (applications print everything they find there), so
# diagnostics have a logger that is silent until somebody sets its level.
trace = logging.getLogger('lovely.remotetask.trace')
if trace.level == logging.NOTSET:
    trace.setLevel(logging.CRITICAL + 1)
