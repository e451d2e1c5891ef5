"""A child process, its time and its output limited: one call.

``subprocess.run`` waits for ever when a grandchild keeps a pipe open, kills
only the child when the time is over, and keeps all the output in memory.
"""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any
from typing import TypeAlias

from lovely.remotetask.commands.orphans import Orphans
from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import RuntimeFault

_CHUNK = 64 * 1024

# How often (seconds) we look whether the child has ended: the end of its
# output does not say that.  At first often, for most children end with their
# output, then rarely, for a conversion may take hours.
_FIRST_LOOK = 0.0005
_LAST_LOOK = 0.1

# How long (seconds) this process, at its end, waits for its children.
_LAST_CALL = 5.0

# How long (seconds) a child gets, at most, whose job was cancelled.
_LOST_GRACE = 0.5

# A child that is being started, or runs.
Start: TypeAlias = Future[subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Outcome:
    """How a child ended, and what is kept of its output.

    ``returncode``: as subprocess has it, negative for a signal; None for a
    child that was killed and does not end.  ``in_time``: it ended by itself
    within its time.
    """

    returncode: int | None
    in_time: bool
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool
    stderr_truncated: bool
    seconds: float


def run(argv: Sequence[str], data: bytes | None, *, timeout: float,
        grace: float, max_output: int, env: Mapping[str, str],
        cwd: str | None = None,
        is_lost: Callable[[], bool] = lambda: False) -> Outcome:
    """Run a program to its end, or to the end of its time.

    Nothing that it started outlives the call, or this process, except what
    leaves its process group by ``setsid``.

    Arguments: ``argv``, program and arguments; ``data``, for its stdin, None:
    it is empty; ``timeout`` (seconds); ``grace``, seconds between SIGTERM and
    SIGKILL, and for what the child left behind to close its output;
    ``max_output``, bytes kept of stdout (the first) and stderr (the last);
    ``env``, the whole environment; ``cwd``, a directory; ``is_lost()``, asked
    all the time: True: stop it, for no result of it can count any more.
    Raises: OSError for a program that cannot be started; RuntimeFault;
    RetryLater where this process ends first.
    """
    started = time.monotonic()
    start: Start = Future()
    # Before the child is started: otherwise this process could end in between,
    # and would not know of the child.
    _running.add(start)
    # Before the child is started, because it may fail: no file left to open.
    with selectors.DefaultSelector() as ready:
        try:
            _start(start, argv, bufsize=0, cwd=cwd, env=env,
                   stdin=(subprocess.DEVNULL if data is None
                          else subprocess.PIPE))
            process = start.result()
            child = _Child(process, ready, data, max_output, is_lost)
            in_time = child.serve(started + timeout)
            if not in_time:
                _signal(process, signal.SIGTERM)
                if child.lost:
                    grace = min(grace, _LOST_GRACE)
            # Waits for the last output: of a child that was told to stop, or
            # of processes that a child left behind.
            child.serve(time.monotonic() + grace, to_the_end=True)
        finally:
            # Done after an interrupt, too: Ctrl-C does not reach a process
            # that has a session of its own.  Where the start was interrupted,
            # the starting thread buries the child.
            start.add_done_callback(partial(_bury, patience=grace))
    if child.lost:
        raise LeaseLost(f'{argv[0]} was stopped: its job is no longer ours')
    if not in_time and _ending.is_set():
        raise _ended(argv)
    out, err = child.stdout, child.stderr
    return Outcome(process.returncode, in_time, bytes(out.kept),
                   bytes(err.kept), out.truncated, err.truncated,
                   time.monotonic() - started)


def _ended(argv: Sequence[str]) -> RetryLater:
    """The error by which the job runs again, uncharged: our process ends."""
    return RetryLater(0.0, reason=f'the process that ran {argv[0]} ended')


def _start(start: Start, argv: Sequence[str], **options: Any) -> None:
    """Start a child in a thread of its own.

    Python lets a signal interrupt the main thread only.  Ctrl-C between the
    fork and the moment at which we know the child would leave a command that
    nothing ends.
    """
    def run() -> None:
        try:
            if _ending.is_set():
                raise _ended(argv)
            _orphans.prepare()
            process = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                # A group of its own, so that all of it can be killed.
                start_new_session=True, **options)
            _orphans.watch(process.pid)
            start.set_result(process)
        except BaseException as error:
            start.set_exception(error)

    try:
        threading.Thread(target=run, daemon=True).start()
    # The system has no room for another thread.
    except RuntimeError as error:
        start.set_exception(error)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the whole group, if there still is one."""
    try:
        os.killpg(process.pid, number)
    # The group is gone, on some systems when only dead processes are left in
    # it; or it holds a set-user-id program, which we may not kill.
    except (ProcessLookupError, PermissionError):
        pass


def _bury(start: Start, patience: float) -> None:
    """Kill what still runs, close our ends, collect the exit status."""
    if start.exception() is None:
        process = start.result()
        _signal(process, signal.SIGKILL)
        # As long as its exit status is not collected, no other group can have
        # its number.
        _orphans.forget(process.pid)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(max(patience, 1.0))
        except subprocess.TimeoutExpired:
            # It hangs in the kernel, on a network drive for example.  The
            # worker must not hang with it.
            log.warning('process %s (%s) was killed and does not end',
                        process.pid, process.args)
    _running.discard(start)


class _Kept:
    """The part of an output that is kept: its first bytes, or its last."""

    def __init__(self, size: int, last: bool) -> None:
        self.kept = bytearray()
        self.truncated = False
        self._size = size
        self._last = last

    def add(self, chunk: bytes) -> None:
        """Add a chunk.  All output is read, so that the command does not
        block; bytes beyond the limit are dropped at once."""
        self.kept += chunk
        over = len(self.kept) - self._size
        if over > 0:
            self.truncated = True
            if self._last:
                del self.kept[:over]
            else:
                del self.kept[self._size:]


class _Child:
    """A process and its pipes, served by the thread that waits for it."""

    def __init__(self, process: subprocess.Popen[bytes],
                 ready: selectors.BaseSelector, data: bytes | None,
                 max_output: int, is_lost: Callable[[], bool]) -> None:
        self.process = process
        self.lost = False
        self._is_lost = is_lost
        self.stdout = _Kept(max_output, last=False)
        # An error is quoted by its end.
        self.stderr = _Kept(max_output, last=True)
        self._ready = ready
        self._data = memoryview(data or b'')
        self._ended = False
        self._outputs = 0
        for pipe, kept in ((process.stdout, self.stdout),
                           (process.stderr, self.stderr)):
            if pipe is not None:
                ready.register(pipe, selectors.EVENT_READ,
                               self._reader(kept))
                self._outputs += 1
        if process.stdin is not None:
            # The command may read slowly or never: then a write fills the pipe
            # and returns, and we go on reading the outputs.
            os.set_blocking(process.stdin.fileno(), False)
            ready.register(process.stdin, selectors.EVENT_WRITE, self._write)

    def serve(self, until: float, to_the_end: bool = False) -> bool:
        """Move data until the process has ended.

        Arguments: ``until`` (monotonic seconds), the limit; ``to_the_end``:
        until the outputs are closed as well, which processes that it left
        behind may hold open.
        Returns: False if the limit, or the end of our process, came first.
        """
        pause = _FIRST_LOOK
        while not self._has_ended() or (to_the_end and self._outputs):
            left = until - time.monotonic()
            if left <= 0 or (_ending.is_set() and not to_the_end):
                return False
            if not to_the_end and self._is_lost():
                self.lost = True
                return False
            events = self._ready.select(min(left, pause))
            pause = _FIRST_LOOK if events else min(pause * 2, _LAST_LOOK)
            for key, _ in events:
                key.data(key.fileobj)
        return True

    def _has_ended(self) -> bool:
        if not self._ended:
            self._ended = _is_over(self.process)
        return self._ended

    def _reader(self, kept: _Kept) -> Callable[[Any], None]:
        def read(pipe: Any) -> None:
            chunk = os.read(pipe.fileno(), _CHUNK)
            if chunk:
                kept.add(chunk)
            else:
                self._ready.unregister(pipe)
                self._outputs -= 1

        return read

    def _write(self, pipe: Any) -> None:
        try:
            sent = os.write(pipe.fileno(), self._data[:_CHUNK])
        except BlockingIOError:
            return
        # The command needs no more of its input, and that is no error.
        except BrokenPipeError:
            sent = len(self._data)
        self._data = self._data[sent:]
        if not self._data:
            self._ready.unregister(pipe)
            pipe.close()


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    """Has it ended?

    Its exit status stays uncollected where the system allows that: until we
    have killed the rest of its group, the system must not give the number of
    the group to another process.
    """
    if not hasattr(os, 'waitid'):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG
                         | os.WNOWAIT) is not None
    except ChildProcessError as error:
        # subprocess would call this exit code 0.
        raise RuntimeFault(
            'how the command ended is not known: something else in this '
            'process collects the exit status of all children, or ignores '
            'SIGCHLD; switch that off') from error


# --- the end of our process ------------------------------------------------

# Our children, noted before their start.  They have sessions of their own, so
# Ctrl-C does not reach them; the threads that wait for them are daemons, which
# the end of the process stops.  Without this, commands would outlive the
# server and run beside the second run of their job.
_running: set[Start] = set()
_ending = threading.Event()
_orphans = Orphans()


def _end_all() -> None:
    """Have the children ended by the threads that wait for them, or here."""
    _ending.set()
    until = time.monotonic() + _LAST_CALL
    pause = threading.Event()
    while _running and time.monotonic() < until:
        pause.wait(_LAST_LOOK / 10)
    for start in list(_running):
        if start.done() and start.exception() is None:
            _signal(start.result(), signal.SIGKILL)


atexit.register(_end_all)
# A fork does not have its parent's children, and must not hold the pipe that
# ends with its parent.
os.register_at_fork(after_in_child=_running.clear)
os.register_at_fork(after_in_child=_orphans.close)
