"""The loggers, and what a record of theirs may say."""

import io
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lovely.remotetask import settings
from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.edge.texts import some_lines

# The longest message of a record (characters): a text of an application, and
# what we say about it.
_RECORD_CHARS = 4 * 1024


class _Here(threading.local):
    """For which service this thread works; see working_for."""

    service: str | None = None
    is_told = False


_here = _Here()


@contextmanager
def working_for(service: str, is_told: bool) -> Iterator[None]:
    """Within the block, the records of this thread name a service.

    Each has its path in the field ``service``.
    Arguments: ``service``, its path as people read it; ``is_told``: at the
    end of the text, too: this thread works for several in turn.
    """
    before = _here.service, _here.is_told
    _here.service, _here.is_told = one_line(service), is_told
    try:
        yield
    finally:
        _here.service, _here.is_told = before


def _name_service(record: logging.LogRecord) -> bool:
    """A filter: name the service for which the thread works."""
    service = record.service = _here.service
    if (service is None or not _here.is_told
            or not isinstance(record.args, tuple)):
        return True
    try:
        message = record.getMessage()
    except Exception:
        return True         # see _fit
    if any(f'{words} {service}' in message
           for words in ('service', 'service at')):
        return True
    # The text of 0.5.2 stays in front, and arguments stay arguments.
    text = str(record.msg)
    if not record.args:
        text = text.replace('%', '%%')
    record.msg, record.args = f'{text} (service %s)', (*record.args, service)
    return True


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
    # Behind it: the end of a long text is cut.
    _logger.addFilter(_name_service)
