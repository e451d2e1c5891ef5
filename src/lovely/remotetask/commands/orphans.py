"""Kills the commands of a process that was itself killed.

A process that SIGKILL ends can end nothing any more: its commands would go on
beside the second run of their jobs.  So a shell, which outlives us by a
moment, reads from a pipe which process groups are ours; the pipe ends with us,
however we end, and the shell kills what is left.

The kernel could do it (PR_SET_PDEATHSIG), but that signal comes when the
*thread* ends that has started a command, reaches the command alone and nothing
that it has started, and asks for Python code between fork and exec, which may
hang in a process with threads.
"""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import suppress

from lovely.remotetask.edge.log import log

# Lines "+ GROUP" and "- GROUP" come in.  The shell ends at once, and leaves
# the part in parentheses behind, which the system's first process adopts: it
# is no child of ours that we would have to wait for.  It ignores the signals
# that a service manager sends to all processes of a service: it must not end
# before us.
_SCRIPT = '''
cd /
trap '' HUP INT TERM
exec 3<&0 </dev/null
(
    groups=
    while read -r sign group; do
        rest=
        for one in $groups; do
            [ "$one" = "$group" ] || rest="$rest $one"
        done
        groups=$rest
        [ "$sign" = - ] || groups="$groups $group"
    done <&3
    for one in $groups; do
        kill -s KILL -- "-$one"
    done
) &
'''


class Orphans:
    """The process groups that are killed when this process ends.

    Its methods raise nothing: a command works without, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe: int | None = None
        self._groups: set[int] = set()
        self._warned = False

    def prepare(self) -> None:
        """Start the shell, where none runs: before a command is started."""
        with self._lock:
            self._prepare()

    def watch(self, group: int) -> None:
        """From now on, this group ends with our process."""
        with self._lock:
            self._groups.add(group)
            self._send(f'+ {group}')

    def forget(self, group: int) -> None:
        """The group is gone, and its number may become another one's."""
        with self._lock:
            self._groups.discard(group)
            self._send(f'- {group}')

    def close(self) -> None:
        """Let the shell end; for a child made by fork, with its own copy."""
        self._lock = threading.Lock()
        self._groups.clear()
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    # -- the lock is held -----------------------------------------------------

    def _send(self, line: str) -> None:
        for _ in range(2):
            self._prepare()
            if self._pipe is None:
                return
            try:
                # As one piece: it is shorter than any pipe's.
                os.write(self._pipe, f'{line}\n'.encode())
                return
            except BlockingIOError:
                # The shell was stopped (SIGSTOP).  Without the pipe it would
                # kill all groups once it goes on.
                log.warning('the shell remotetask-orphans does not read: %s '
                            'was not noted', line)
                return
            except BrokenPipeError:
                # Killed by an administrator, or for want of memory; the next
                # one is told of all groups.
                os.close(self._pipe)
                self._pipe = None

    def _prepare(self) -> None:
        if self._pipe is not None:
            return
        try:
            source, self._pipe = os.pipe()
            # No command may wait for the shell.
            os.set_blocking(self._pipe, False)
            with open(source, 'rb') as stdin:
                subprocess.Popen(
                    ['/bin/sh', '-c', _SCRIPT, 'remotetask-orphans'],
                    stdin=stdin, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, env={'PATH': os.defpath},
                    # Ctrl-C is for us alone.
                    start_new_session=True).wait()
            for group in self._groups:
                os.write(self._pipe, f'+ {group}\n'.encode())
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning('commands will outlive this process if it is '
                            'killed by SIGKILL: /bin/sh cannot be run (%s)',
                            error)
            if self._pipe is not None:
                with suppress(OSError):
                    os.close(self._pipe)
                self._pipe = None
