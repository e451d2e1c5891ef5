"""The loggers, and what their messages say of the errors of libraries."""

import logging
import re

log = logging.getLogger('lovely.remotetask')

# In normal running nothing but the records of 0.5.2 may reach the logger
# above or one below it (applications print everything they find there), so
# diagnostics have a logger that is silent until its level is set.
trace = logging.getLogger('lovely.remotetask.trace')
if trace.level == logging.NOTSET:
    trace.setLevel(logging.CRITICAL + 1)

# In the address of a server, and behind the name of an option.
_PASSWORDS = re.compile(
    r"(://[^/@:\s]*:)[^/@]*(?=@)"
    r"|((?:password|passwd)\s*=\s*)(?:'(?:\\.|[^'\\])*'|[^&\s]*)")


def without_passwords(text: str) -> str:
    """The same text with ``***`` for each password.

    Drivers like to name the address that they could not open.
    Arguments: ``text`` (str), with URIs (``scheme://user:password@host``) or
    options (``password=...``) in it.
    """
    return _PASSWORDS.sub(
        lambda found: f'{found[1] or found[2]}***', text)


def one_line(error: BaseException) -> str:
    """What an error of a library says, in one line and without passwords."""
    return without_passwords(' '.join(str(error).split()) or repr(error))
