"""Text from elsewhere, made fit for a line of a log or a terminal."""

import difflib
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TypeVar

from lovely.remotetask.errors.bounds import middle_out

_T = TypeVar('_T')

#: How much (characters) of a text from elsewhere is told in one place.
MESSAGE_CHARS = 1000

# With the spaces around them: a line break and its indentation become one
# space.  The look behind keeps a long row of spaces from being searched anew
# at each of them.
_CONTROL = re.compile('(?<! ) *[\x00-\x1f\x7f-\x9f\u2028\u2029]'
                      '[\x00-\x1f\x7f-\x9f\u2028\u2029 ]*')

# Halves of a character, which no file can hold, and those that turn the
# direction of the text behind them.
_UNFIT = re.compile('[\ud800-\udfff\u202a-\u202e\u2066-\u2069]')

# Of a URI, and of a connection string or a query.  A password with a space
# that was not quoted is still hidden to its end.
_IN_URI = re.compile(r'(://[^/@:\s]*:)[^@/\n]*@')
_IN_STRING = re.compile(
    r"((?:password|passwd) *= *)('(?:[^'\\]|\\.)*'|[^&\s]*)")


def one_line(text: str) -> str:
    """Text without line breaks and other control characters.

    A task's error message must not be able to steer the reader's terminal.
    """
    return _UNFIT.sub('\ufffd', _CONTROL.sub(' ', text)).strip()


def indented(line: str) -> str:
    """A line without control characters, its indentation kept."""
    return line[:len(line) - len(line.lstrip(' '))] + one_line(line)


def cut(text: str, chars: int = MESSAGE_CHARS) -> str:
    """The beginning of a text; behind it how long it is, where more follows.
    """
    return text if len(text) <= chars else (
        f'{text[:chars]}... ({len(text):,} characters)')


def some(found: Sequence[_T], most: int, joint: str = ', ',
         text: Callable[[_T], str] = str) -> str:
    """The first of what was found, and how many more there are.

    Arguments: ``most``, how many are told; ``text(one)``, how one is written.
    """
    told = [text(one) for one in found[:most]]
    if len(found) > most:
        told.append(f'and {len(found) - most} more')
    return joint.join(told)


def some_lines(text: str, chars: int) -> str:
    """A text of several lines, each fit for a terminal; see middle_out."""
    return '\n'.join(map(indented, middle_out(text, chars).split('\n')))


def without_passwords(text: str) -> str:
    """Text in which the passwords of URIs and connection strings are ``***``.

    Drivers like to name what they could not open.
    """
    return _IN_STRING.sub(r'\1***', _IN_URI.sub(r'\1***@', text))


def meant(name: str, known: Iterable[str]) -> str:
    """``: did you mean 'x'?`` where a known name is like this one, else ''."""
    found = difflib.get_close_matches(name[:80], known, 1)
    return f': did you mean {found[0]!r}?' if found else ''


def message_of(error: object) -> str:
    """An error's message in one line, with its notes, cut, without passwords.

    Arguments: ``error``, an exception, or what a task gives as a reason.
    """
    # Cut at last: half of a URI does not look like one.
    return cut(without_passwords(one_line(with_notes(error))))


def with_notes(error: object) -> str:
    """An error's message with its notes, as it is."""
    try:
        text = str(error)
    except Exception:
        text = ''           # an error of an application may be broken, too
    notes = getattr(error, '__notes__', None)
    # A traceback shows them, and few of those who read this have that.
    if isinstance(notes, list) and notes:
        told = '; '.join(note for note in notes if isinstance(note, str))
        text = f'{text} ({told})' if text else told
    return text


def describe(error: BaseException) -> str:
    """An error's type and message in one line, cut, without passwords."""
    message = message_of(error)
    name = type(error).__name__
    return f'{name}: {message}' if message else name


def retry_text(retry: object) -> str:
    """The retries of a job, for people.

    Arguments: ``retry``, a number, the numbers of a RetryPolicy (dict), or the
    name of a class.
    """
    if not isinstance(retry, dict):
        return str(retry)
    return (f'{retry["retries"]}, after up to {retry["base"]:g} s, doubled '
            f'each time, {retry["cap"]:g} s at most')
