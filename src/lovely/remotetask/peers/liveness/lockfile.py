"""Liveness on one host: a file that is locked while its process lives.

The kernel lets go of the lock when the process ends, however it ends.  Never
put the directory on NFS: there a lock may survive its process, or vanish
under it.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from typing import Any

from zope.interface import implementer

from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.log import log
from lovely.remotetask.peers.forks import forgets_after_fork

KIND = 'lock'

#: A dead file is kept so long (seconds) after its process last announced
#: itself.  Everybody must be able to see that it is dead: an absent file says
#: nothing, and costs DEAD_SECONDS of waiting for beats.
KEEP_SECONDS = 24 * 3600.0

_NAME = re.compile('[0-9a-f]{32}')
_BOOT_ID = '/proc/sys/kernel/random/boot_id'


class Refused(Exception):
    """The directory is not one to trust; the message says why."""


def default_directory() -> str:
    """Where the lock files of this user are (str)."""
    runtime = os.environ.get('XDG_RUNTIME_DIR')
    # Under sudo it may still be the other user's.
    if runtime and os.path.isdir(runtime) \
            and os.stat(runtime).st_uid == os.geteuid():
        return os.path.join(runtime, 'remotetask-workers')
    return os.path.join(tempfile.gettempdir(),
                        f'remotetask-workers-{os.geteuid()}')


def boot_id() -> str | None:
    """What differs after each start of this machine; None: it does not say.

    Containers of one machine share it: they are told apart by the directory.
    """
    try:
        with open(_BOOT_ID, encoding='ascii') as source:
            return source.read().strip() or None
    except (OSError, ValueError):
        return None


@implementer(ILiveness)
class LockFile:
    """Alive while its file is locked; on the same host.  See ILiveness

    Arguments: ``directory``, a local one that belongs to this user; made
    where it is missing.  One that belongs to somebody else, that others may
    write to, or that is a link is refused: they could declare our workers
    dead, or keep dead ones alive.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory or default_directory()
        self._evidence: tuple[Any, ...] = ()
        self._file: int | None = None
        self._release: Any = None
        self._warned = False
        self._guard = threading.Lock()
        # A child made by fork shares the lock: while it lived, its parent
        # would live on.  (A child that runs another program loses it by
        # close-on-exec.)
        forgets_after_fork(self._forget)

    @property
    def lost(self) -> bool:
        """See ILiveness; somebody cleaned up in the directory."""
        with self._guard:
            return self._is_lost()

    def announce(self) -> tuple[Any, ...]:
        """See ILiveness"""
        with self._guard:
            if self._is_lost():
                self._let_go()
            if self._file is None:
                self._take()
            else:
                # Keeps those away who remove what was not used for long: our
                # own kind, and systemd in /tmp.
                with suppress(OSError):
                    os.utime(self._file)
            return self._evidence

    def alive(self, evidence: Any, beat: Any) -> bool | None:
        """See ILiveness"""
        match evidence:
            case ('lock', str() as boot, (int(), int()) as place,
                  str() as name) if _NAME.fullmatch(name):
                pass
            case _:
                return None
        if boot != boot_id():
            return None
        try:
            with _opened(self.directory) as folder:
                if _place(folder) != tuple(place):
                    return None
                locked = _is_locked(folder, name)
        except (OSError, Refused):
            return None
        return locked

    def close(self) -> None:
        """See ILiveness"""
        with self._guard:
            self._let_go()

    # -- inside; the guard is held --------------------------------------------

    def _is_lost(self) -> bool:
        return self._file is not None and not os.fstat(self._file).st_nlink

    def _take(self) -> None:
        boot = boot_id()
        name = uuid.uuid4().hex
        try:
            if boot is None:
                raise Refused('this system has no boot id')
            with suppress(FileExistsError):
                os.mkdir(self.directory, 0o700)
            with _opened(self.directory) as folder:
                _sweep(folder)
                file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL,
                               0o600, dir_fd=folder)
                try:
                    # Nobody else knows the name yet.
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.unlink(name, dir_fd=folder)
                    os.close(file)
                    raise
                place = _place(folder)
        except (OSError, Refused) as reason:
            if not self._warned:
                self._warned = True
                log.warning(
                    'workers cannot hold a lock file in %s: %s; without, '
                    'those that are killed on this host may be found later',
                    self.directory, reason)
            return
        self._file = file
        self._evidence = (KIND, boot, place, name)
        # Also at the end of the process, so that no file is left behind.
        self._release = weakref.finalize(
            self, _remove, file, os.path.join(self.directory, name))

    def _let_go(self) -> None:
        if self._release is not None:
            self._release()
        self._file = self._release = None
        self._evidence = ()

    def _forget(self) -> None:
        self._guard = threading.Lock()
        if self._file is not None:
            self._release.detach()
            # Only closed: to unlock would unlock our parent's, too.
            os.close(self._file)
        self._file = self._release = None
        self._evidence = ()


def _remove(file: int, path: str) -> None:
    # In this order: who finds the file without a lock takes us for dead, and
    # a process that ends may still have jobs to give back.
    with suppress(OSError):
        os.unlink(path)
    os.close(file)


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    """A descriptor of the directory, if it is to be trusted."""
    # By its descriptor, so that what was checked is what is used.
    if stat.S_ISLNK(os.lstat(directory).st_mode):
        raise Refused('it is a symbolic link; replace it by a directory of '
                      'mode 0700')
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise Refused(
                f'it belongs to the user {found.st_uid}, not to '
                f'{os.geteuid()}; remove it, or set XDG_RUNTIME_DIR to a '
                f'directory of your own')
        if found.st_mode & 0o022:
            raise Refused(
                f'others may write to it (mode '
                f'{stat.S_IMODE(found.st_mode):04o}); set its mode to 0700')
        yield folder
    finally:
        os.close(folder)


def _place(folder: int) -> tuple[int, int]:
    """Which directory this is: device and inode."""
    found = os.fstat(folder)
    return found.st_dev, found.st_ino


def _is_locked(folder: int, name: str) -> bool:
    """Does anybody hold the lock?  Raises OSError for an absent file."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK,
                   dir_fd=folder)
    try:
        # Shared: two observers who look at once must not take each other for
        # the holder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _sweep(folder: int) -> None:
    """Remove what processes that were killed left behind long ago."""
    for name in os.listdir(folder):
        # Others sweep as well.
        with suppress(OSError):
            age = time.time() - os.stat(name, dir_fd=folder).st_mtime
            if (_NAME.fullmatch(name) and age > KEEP_SECONDS
                    and not _is_locked(folder, name)):
                os.unlink(name, dir_fd=folder)
