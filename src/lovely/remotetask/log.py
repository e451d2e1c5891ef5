"""The loggers."""

import logging

log = logging.getLogger('lovely.remotetask')

# Applications print each record of the logger above and of those below it, so
# in normal running these get the records of 0.5.2 only.  The others have
# loggers that are silent until an operator sets their levels: diagnostics, and
# the ends of runs that went well.
trace = logging.getLogger('lovely.remotetask.trace')
runs = logging.getLogger('lovely.remotetask.runs')
for _silent in (trace, runs):
    if _silent.level == logging.NOTSET:
        _silent.setLevel(logging.CRITICAL + 1)
