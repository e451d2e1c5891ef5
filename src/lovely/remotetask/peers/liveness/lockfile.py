"""Liveness on one host: a file that is locked while its process lives.

The kernel frees the lock when the process ends, however it ends.  Never put
the directory on NFS: there a lock may outlast its process, or be lost while
the process lives.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress

from zope.interface import implementer

from lovely.remotetask.edge import private
from lovely.remotetask.edge.log import log
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.peers.forks import call_after_fork

KIND = 'lock'

#: A file without a lock is kept for so long (seconds) after its process last
#: announced itself, so that all observers see that the process is dead: an
#: absent file says nothing, and costs them DEAD_SECONDS of waiting for beats.
KEEP_SECONDS = 24 * 3600.0

_NAME = re.compile('[0-9a-f]{32}')
_BOOT_ID = '/proc/sys/kernel/random/boot_id'


class Refused(Exception):
    """The directory cannot be trusted; the message says why."""


def default_directory() -> str:
    """The path of this user's lock files (str)."""
    return str(private.place('remotetask-workers'))


def boot_id() -> str | None:
    """Names this run of the machine (str), until its next start.

    Containers of one machine share it; their directories differ.
    Returns: None where the system has no such name.
    """
    try:
        with open(_BOOT_ID, encoding='ascii') as source:
            return source.read().strip() or None
    except (OSError, ValueError):
        return None


@implementer(ILiveness)
class LockFile:
    """Alive while its file is locked; on the same host.  See ILiveness

    Arguments: ``directory`` (str), on a local disk, made if it is missing; by
    default ``default_directory()``.  A directory that belongs to another
    user, that other users may write to, or that is a link is refused, with a
    warning: those users could make living workers look dead, and dead ones
    alive.
    Attributes: ``directory`` (str).
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory or default_directory()
        self._evidence: tuple[object, ...] = ()
        self._file: int | None = None
        self._release: weakref.finalize[..., LockFile] | None = None
        self._warned = False
        self._guard = threading.Lock()
        # A child made by fork shares the lock: its dead parent would count as
        # alive for as long as the child lives.  (A child that runs another
        # program loses the lock by close-on-exec.)
        call_after_fork(self._forget)

    @property
    def lost(self) -> bool:
        """See ILiveness; the file was removed from the directory."""
        with self._guard:
            return self._is_lost()

    def announce(self) -> tuple[object, ...]:
        """See ILiveness"""
        with self._guard:
            if self._is_lost():
                self._let_go()
            if self._file is None:
                self._take()
            else:
                # Other workers remove files that were not used for long, and
                # so does systemd in /tmp.
                with suppress(OSError):
                    os.utime(self._file)
            return self._evidence

    def alive(self, evidence: object, beat: object) -> bool | None:
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
                _remove_old(folder)
                file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL,
                               0o600, dir_fd=folder)
                try:
                    # No other process knows the name yet, so this succeeds
                    # wherever the file system has locks.
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
        # Called at the end of the process, too, so that no file stays behind.
        self._release = weakref.finalize(
            self, _remove, file, os.path.join(self.directory, name))

    def _let_go(self) -> None:
        if self._release is not None:
            self._release()
        self._file = self._release = None
        self._evidence = ()

    def _forget(self) -> None:
        self._guard = threading.Lock()
        if self._release is not None:
            # The file is the parent's, and stays.
            self._release.detach()
        if self._file is not None:
            # Only closed: to unlock the file would unlock the parent's, too.
            os.close(self._file)
        self._file = self._release = None
        self._evidence = ()


def _remove(file: int, path: str) -> None:
    # In this order: an observer that finds the file without a lock takes this
    # process for dead, and it may still have jobs to give back.
    with suppress(OSError):
        os.unlink(path)
    os.close(file)


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    """A descriptor of the directory.

    Raises: Refused; OSError.
    """
    # Before it is opened: O_NOFOLLOW would call a link "not a directory".
    if stat.S_ISLNK(os.lstat(directory).st_mode):
        raise Refused('it is a symbolic link; replace it by a directory of '
                      'mode 0700')
    # A descriptor, so that the directory that was checked is the one in use.
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            private.check(os.fstat(folder), 0o022)
        except private.NotPrivate as error:
            raise Refused(f'it {error.cause}; {error.cure}') from error
        yield folder
    finally:
        os.close(folder)


def _place(folder: int) -> tuple[int, int]:
    """Device and inode of a directory, by which observers know it again."""
    found = os.fstat(folder)
    return found.st_dev, found.st_ino


def _is_locked(folder: int, name: str) -> bool:
    """Does a process hold the lock of this file?

    Raises: OSError for an absent file.
    """
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK,
                   dir_fd=folder)
    try:
        # Shared: two observers who look at the same moment must not take each
        # other for the holder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _remove_old(folder: int) -> None:
    """Remove the files that killed processes left behind long ago."""
    for name in os.listdir(folder):
        # Another process may remove the same file at this moment.
        with suppress(OSError):
            age = time.time() - os.stat(name, dir_fd=folder).st_mtime
            if (_NAME.fullmatch(name) and age > KEEP_SECONDS
                    and not _is_locked(folder, name)):
                os.unlink(name, dir_fd=folder)
