"""The loggers."""

import io
import logging
import traceback

from lovely.remotetask import settings
from lovely.remotetask.texts import cut
from lovely.remotetask.texts import one_line
from lovely.remotetask.texts import some_lines

# The longest message of a record (characters): a text of an application, and
# what we say about it.
_RECORD_CHARS = 4 * 1024


def _fit(record: logging.LogRecord) -> bool:
    """A filter: shorten what is long, and take control characters away.

    The texts of tasks stand in many records, and whole in their tracebacks.
    A record that is fit stays as it is, for formatters and handlers that make
    more of it than a text.
    """
    try:
        message = record.getMessage()
    except Exception:
        return True         # a handler tells of it, and raises nothing
    fit = cut(one_line(message), _RECORD_CHARS)
    if fit != message:
        record.msg, record.args = fit, ()
    if record.exc_info and record.exc_info[1] and not record.exc_text:
        lines = _traceback(record.exc_info[1])
        fit = some_lines(lines, settings.TRACEBACK_CHARS)
        if fit != lines:
            record.exc_text = fit
    return True


def _traceback(error: BaseException) -> str:
    # As logging.Formatter makes it.
    lines = io.StringIO()
    traceback.print_exception(error, file=lines)
    return lines.getvalue().removesuffix('\n')


log = logging.getLogger('lovely.remotetask')

#: What the web surface could not answer.
web = logging.getLogger('lovely.remotetask.web')

# Applications print each record of the logger above and of those below it, so
# in normal running these get the records of 0.5.2 only.  The others have
# loggers that are silent until an operator sets their levels: diagnostics, and
# the ends of runs that went well.
trace = logging.getLogger('lovely.remotetask.trace')
runs = logging.getLogger('lovely.remotetask.runs')
for _silent in (trace, runs):
    if _silent.level == logging.NOTSET:
        _silent.setLevel(logging.CRITICAL + 1)

# At each logger: a record passes the filters of that alone which made it.
for _logger in (log, web, trace, runs):
    _logger.addFilter(_fit)
