"""Text from elsewhere, made fit for a line of a log or a terminal."""

import re

# With the spaces around them: a line break and its indentation become one
# space.
_CONTROL = re.compile(r' *[\x00-\x1f\x7f-\x9f][\x00-\x1f\x7f-\x9f ]*')

# Of a URI, and of a connection string or a query.  A password with a space
# that was not quoted is still hidden to its end.
_IN_URI = re.compile(r'(://[^/@:\s]*:)[^@/\n]*@')
_IN_STRING = re.compile(r"((?:password|passwd) *= *)('[^']*'|[^&\s]*)")


def one_line(text: str) -> str:
    """Text without line breaks and other control characters.

    A task's error message must not be able to steer the reader's terminal.
    """
    return _CONTROL.sub(' ', text).strip()


def without_passwords(text: str) -> str:
    """Text in which the passwords of URIs and connection strings are ``***``.

    Drivers like to name what they could not open.
    """
    return _IN_STRING.sub(r'\1***', _IN_URI.sub(r'\1***@', text))


def message_of(error: BaseException) -> str:
    """An error's message in one line, without passwords."""
    try:
        text = str(error)
    except Exception:
        text = ''           # an error of an application may be broken, too
    return without_passwords(one_line(text))


def describe(error: BaseException) -> str:
    """An error's type and message in one line, without passwords."""
    message = message_of(error)
    name = type(error).__name__
    return f'{name}: {message}' if message else name
