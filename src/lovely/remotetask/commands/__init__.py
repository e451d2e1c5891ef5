"""External commands as tasks: declared in advance, run without a shell.

A command is a list of arguments that the application declares.  Input may
fill in arguments or arrive on stdin; it never chooses the program.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from zope.interface import implementer

from lovely.remotetask.commands import childprocess
from lovely.remotetask.context import currentJob
from lovely.remotetask.context import job_of_thread
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskOptions
from lovely.remotetask.task import set_options
from lovely.remotetask.task import shown_keys

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

__all__ = ['CommandTask']

_NAME = '[A-Za-z_][A-Za-z0-9_]*'

# A whole argument, or all behind the = of one.  Amid other text a value could
# become a part of a script: `sh -c 'convert {x}'`.
_PLACEHOLDER = re.compile(rf'([\w.:+-]+=)?\{{({_NAME})\}}')

# {name} itself, written as {{name}}.
_LITERAL = re.compile(rf'\{{(\{{{_NAME}\}})\}}')
_ANYWHERE = re.compile(rf'\{{{_NAME}\}}')

#: The variables of the worker's environment that a command gets.  The others
#: may hold the passwords of databases.
INHERITED = ('PATH', 'HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TMPDIR', 'TZ')

#: How much of stderr (characters) an error quotes.
_QUOTED = 2000


@implementer(ITask, ITaskOptions)
class CommandTask:
    """Runs an external command, at most for a time.  See ITask, ITaskOptions

    Arguments: ``argv``, the program and its arguments (sequence of str);
    ``{name}`` as an argument, or behind the ``=`` of one (``--out={name}``),
    is replaced by the value of ``name`` in the input, a dict; ``{{name}}``
    is ``{name}`` itself.  ``stdin``: None, or how the input is written to
    stdin instead: ``'text'`` (str, as UTF-8), ``'bytes'``, ``'json'``.
    ``output``: ``'text'`` (UTF-8; other bytes are replaced) or ``'bytes'``.
    ``timeout``, seconds until the command is stopped, with everything that
    it started; ``grace``, seconds (float) between asking and killing, and
    for what the command left behind to close its output.  ``max_output``,
    bytes kept of stdout (the first) and of stderr (the last).  ``env``
    (mapping): variables beside INHERITED.  ``cwd``, default the worker's.
    Options as in ITaskOptions, ``inputSchema``, ``outputSchema``; ``remote``
    is False unless given.
    Returns: from the call, a dict: ``returncode`` (int), ``stdout`` and
    ``stderr`` (str or bytes), ``stdout_truncated``, ``stderr_truncated``
    (bool), ``seconds`` (float).
    Raises: UsageError or TypeError for a declaration that cannot work.  From
    the call, TaskError, final at once: an exit code that is not 0, the time
    limit, input that does not fit, a program that is not there.  With a
    ``retry`` policy, an exit code that is not 0 follows that.  A ``timeout``
    or ``retry`` with which a job was added counts before these.
    """

    inputSchema = None
    outputSchema = None
    retry = None
    groupable = False
    remote = False
    on_error = None
    show = None
    limit = rate = keyLimit = queue = keep = schedule = None

    #: The engine does not watch the time: the call does, and takes a moment
    #: longer to clean up.
    limits_itself = True

    def __init__(self, argv: Iterable[str | os.PathLike[str]], *,
                 stdin: str | None = None, output: str = 'text',
                 timeout: float = 3600.0, grace: float = 2.0,
                 max_output: int = 64 * 1024,
                 env: Mapping[str, str] | None = None,
                 cwd: str | os.PathLike[str] | None = None,
                 **options: Any) -> None:
        self.argv = _checked_argv(argv)
        self.placeholders = _placeholders_of(self.argv)
        if stdin not in (None, 'text', 'bytes', 'json'):
            raise UsageError(f"stdin is {stdin!r}; give 'text', 'bytes', "
                             f"'json' or None")
        if stdin and self.placeholders:
            raise UsageError(
                f'the input can reach {self.program} by stdin or by '
                f'placeholders, not by both: drop stdin={stdin!r} or '
                f'{{{self.placeholders[0]}}}')
        if output not in ('text', 'bytes'):
            raise UsageError(f"output is {output!r}; give 'text' or 'bytes'")
        if type(max_output) is not int or max_output < 0:
            raise UsageError(f'max_output is {shown(max_output)}; give a '
                             f'number of bytes from 0 on')
        # None is a limit that tasks may have, but commands may not: one that
        # hangs would hold a thread of the worker for ever.
        if timeout is None:
            raise UsageError('timeout is None; give a number of seconds: a '
                             'command always has a time limit')
        if not is_seconds(grace):
            raise UsageError(f'grace is {shown(grace)}; give {SECONDS}')
        self.stdin = stdin
        self.output = output
        self.grace = grace
        self.max_output = max_output
        self.env = dict(env or {})
        for text in (*self.env, *self.env.values()):
            _check_text(text, 'env')
        self.cwd = None if cwd is None else os.fspath(cwd)
        set_options(self, {**options, 'timeout': timeout})
        self.timeout = timeout

    @property
    def program(self) -> str:
        """The first of the arguments."""
        return self.argv[0]

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.program}>'

    def __call__(self, service: TaskService, jobid: int,
                 input: Any) -> dict[str, Any]:
        job = job_of_thread()
        own = None if job is None else job.ownTimeout
        timeout = self.timeout if own is None else own
        done = self._run(self._fill_in(input), self._stdin_of(input), timeout)
        if not done.in_time:
            raise TaskError(
                f'{self.program} did not end within {timeout:g} seconds '
                f'and was stopped, with everything that it had started; '
                f'raise its timeout or give it less to do'
                f'{_quote(done.stderr)}')
        if done.returncode:
            # A declaration, or a job, that says how to retry wants retries.
            final = self.retry is None and (
                job is None or job.ownRetry is None)
            kind = TaskError if final else RuntimeFault
            raise kind(f'{self.program} {_ending(done.returncode)}'
                       f'{_quote(done.stderr)}')
        return {
            'returncode': done.returncode,
            'stdout': self._as_output(done.stdout),
            'stderr': self._as_output(done.stderr),
            'stdout_truncated': done.stdout_truncated,
            'stderr_truncated': done.stderr_truncated,
            'seconds': done.seconds,
        }

    # -- input and output -----------------------------------------------------

    def _fill_in(self, input: Any) -> list[str]:
        """The arguments, with the values of the input in them."""
        values: Mapping[str, Any] = {}
        if self.placeholders:
            if not isinstance(input, Mapping):
                raise TaskError(
                    f'the input of {self.program} is a '
                    f'{type(input).__name__}; give a dict with '
                    f'{", ".join(self.placeholders)}')
            values = input
        elif self.stdin is None and input not in (None, '', {}):
            raise TaskError(f'{self.program} takes no input, and was given '
                            f'a {type(input).__name__}; give None')
        for problem, names in (
                ('lacks', [name for name in self.placeholders
                           if name not in values]),
                ('has unknown', [str(name) for name in values
                                 if name not in self.placeholders])):
            if names:
                raise TaskError(
                    f'the input of {self.program} {problem} '
                    f'{", ".join(names)}; it takes '
                    f'{", ".join(self.placeholders)}')
        filled = []
        for argument in self.argv:
            found = _PLACEHOLDER.fullmatch(argument)
            filled.append(
                self._argument(found[1] or '', found[2], values[found[2]])
                if found else _LITERAL.sub(r'\1', argument))
        return filled

    def _argument(self, option: str, name: str, value: Any) -> str:
        if type(value) in (int, float):
            value = str(value)
        if not isinstance(value, str):
            raise TaskError(
                f'{name} in the input of {self.program} is a '
                f'{type(value).__name__}; give a str or a number')
        # The program would take it for an option, and some options write
        # files or run programs.
        if value.startswith('-') and not option:
            keys = shown_keys(self)
            quoted = (f'is {value[:60]!r}' if keys is None or name in keys
                      else 'begins with "-"')
            raise TaskError(
                f'{name} in the input of {self.program} {quoted}, which the '
                f'program would take for an option; for a file put ./ in '
                f'front of it')
        _check_text(value, f'{name} in the input of {self.program}',
                    TaskError)
        return option + value

    def _stdin_of(self, input: Any) -> bytes | None:
        """What is written to stdin; None: there is no input."""
        wanted = self.stdin
        try:
            if wanted is None:
                return None
            if wanted == 'json':
                return json.dumps(input, ensure_ascii=False,
                                  allow_nan=False).encode()
            if wanted == 'text' and isinstance(input, str):
                return input.encode()
            if wanted == 'bytes' and isinstance(input, bytes | bytearray):
                return bytes(input)
        # In this order: a value that JSON has not; a NaN or half a character;
        # a value nested in itself.
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(f'the input of {self.program} cannot be written '
                            f'to its stdin as {wanted}: {error}') from error
        raise TaskError(f'the input of {self.program} is a '
                        f'{type(input).__name__}; its stdin takes {wanted}')

    def _as_output(self, kept: bytes) -> str | bytes:
        return (kept.decode('utf-8', 'replace') if self.output == 'text'
                else kept)

    # -- the process ----------------------------------------------------------

    def _run(self, argv: list[str], data: bytes | None, timeout: float
             ) -> childprocess.Outcome:
        env = {name: os.environ[name] for name in INHERITED
               if name in os.environ} | self.env
        try:
            return childprocess.run(
                argv, data, timeout=timeout, grace=self.grace,
                max_output=self.max_output, env=env, cwd=self.cwd,
                is_lost=_is_lost)
        # Other errors may pass (no memory, no process left), and follow the
        # retry policy.
        except FileNotFoundError as error:
            if self.cwd is not None and not os.path.isdir(self.cwd):
                raise TaskError(
                    f'{self.program} cannot run in {self.cwd}: there is no '
                    f'such directory on this machine; create it') from error
            raise TaskError(
                f'the command {self.program} was not found; install it on '
                f'the machine of this worker, or declare its full path '
                f'(PATH is {env.get("PATH")})') from error
        except (PermissionError, NotADirectoryError) as error:
            raise TaskError(
                f'the command {self.program} cannot be run: '
                f'{error.strerror}; correct the permissions or the path of '
                f'{error.filename or self.program}') from error


def _is_lost() -> bool:
    """Was the job of this thread cancelled, or taken over?"""
    try:
        return currentJob().lost
    except UsageError:
        return False            # called outside of a run


def _checked_argv(argv: Any) -> tuple[str, ...]:
    if isinstance(argv, str | bytes) or not isinstance(argv, Iterable):
        raise UsageError(
            f'the command is {argv!r}; give a list of the program and each '
            f'of its arguments: there is no shell to take it apart')
    checked = tuple(os.fspath(part) if isinstance(part, os.PathLike) else part
                    for part in argv)
    for part in checked:
        _check_text(part, 'an argument of the command')
    if not checked or not checked[0]:
        raise UsageError('the command is empty; give at least a program')
    # A user who may add a job must not choose the program.
    if _ANYWHERE.search(_LITERAL.sub('', checked[0])):
        raise UsageError(f'the program is {checked[0]!r}; the input may fill '
                         f'in arguments, not the program')
    for part in checked:
        amid = _ANYWHERE.search(_LITERAL.sub('', part))
        if amid and not _PLACEHOLDER.fullmatch(part):
            raise UsageError(
                f'the argument {part[:60]!r} has {amid[0]} amid other text; '
                f'give the value an argument of its own, or one like '
                f'--name={amid[0]}; to pass {amid[0]} on as it is, write '
                f'{{{amid[0]}}}')
    return checked


def _placeholders_of(argv: tuple[str, ...]) -> tuple[str, ...]:
    found = map(_PLACEHOLDER.fullmatch, argv)
    # A name may be used twice.
    return tuple(dict.fromkeys(match[2] for match in found if match))


def _check_text(value: Any, what: str,
                error: type[Exception] = UsageError) -> None:
    """Raise the error unless a program can be given this text."""
    if not isinstance(value, str):
        raise error(f'{what} is {value!r}; give a str')
    if '\0' in value:
        raise error(f'{what} contains a NUL character, which ends a text '
                    f'for the system; remove it')
    try:
        os.fsencode(value)
    except UnicodeEncodeError as reason:
        # Its own text names the characters, which may be of a secret.
        raise error(f'{what} cannot be encoded: {reason.reason}, at the '
                    f'character {reason.start + 1}') from None


def _ending(returncode: int) -> str:
    if returncode > 0:
        return f'ended with exit code {returncode}'
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = str(-returncode)
    return f'was ended by the signal {name}'


def _quote(stderr: bytes) -> str:
    text = stderr.decode('utf-8', 'replace').strip()
    if not text:
        return '; it said nothing on stderr'
    dots = '...' if len(text) > _QUOTED else ''
    return f': {dots}{text[-_QUOTED:]}'
