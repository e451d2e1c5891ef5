"""Directories of this user alone, for files that no other user may touch.

Another user who can write there could put a link in the place of a file, and
have us overwrite what it points to, or a file that we then believe.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


class NotPrivate(Exception):
    """A directory is not to be trusted.

    Attributes: ``cause`` (str), goes on from the directory's name; ``cure``
    (str), what to do about it.
    """

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause, cure)
        self.cause = cause
        self.cure = cure


def places(name: str) -> Iterator[Path]:
    """Where a directory of this name of the user's may be, the best first.

    In the user's runtime directory, where there is one, and in the temporary
    directory: a process started by a service manager may have no
    XDG_RUNTIME_DIR while the shell of the same user has one.
    Cost: the last ones list the temporary directory.
    """
    given = _runtime_directory()
    if given is not None:
        yield given / name
    usual = _in_temporary(name)
    if not _is_taken(usual):
        yield usual
    yield from _spare(usual)


def place(name: str) -> Path:
    """The place for a directory of this name, for files of this process.

    In the temporary directory another user can be the first to make a
    directory of our name; then ours gets another name, and is made here.
    The caller makes it where it is missing, and has ``check`` look at it.
    """
    given = _runtime_directory()
    if given is not None:
        return given / name
    usual = _in_temporary(name)
    if not _is_taken(usual):
        return usual
    if not _spare(usual):
        # Without room or rights there is no other: ``check`` refuses the
        # usual one, and says why.
        with suppress(OSError):
            tempfile.mkdtemp(prefix=f'{usual.name}-', dir=usual.parent)
    return next(iter(_spare(usual)), usual)


def check(found: os.stat_result, forbidden: int,
          cure: str = 'remove it, or set XDG_RUNTIME_DIR to a directory of '
                      'your own') -> None:
    """Refuse a directory that other users can do something with.

    Arguments: ``found``, what lstat says of it, or fstat of the open one; not
    stat, which looks through a link that another user may have made;
    ``forbidden``, the rights that others must not have (mode bits);
    ``cure``, what to do about a directory that is not the user's.
    Raises: NotPrivate.
    """
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivate('is a link, or a file, which another user may have '
                         'put there', cure)
    if found.st_uid != os.geteuid():
        raise NotPrivate(f'belongs to the user {found.st_uid}, not to '
                         f'{os.geteuid()}: another user has made it', cure)
    if found.st_mode & forbidden:
        verb = 'write to' if found.st_mode & 0o022 else 'look into'
        raise NotPrivate(
            f'is open to other users: others may {verb} it (mode '
            f'{stat.S_IMODE(found.st_mode):04o})', 'run chmod 700 on it')


def _runtime_directory() -> Path | None:
    given = os.environ.get('XDG_RUNTIME_DIR')
    # Under sudo it may be the other user's, who could swap what we leave
    # there.
    if given and os.path.isabs(given) and _is_own(given):
        return Path(given)
    return None


def _in_temporary(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f'{name}-{os.geteuid()}'


def _is_taken(directory: Path) -> bool:
    """Has another user made it, or a link or file in its place?"""
    try:
        return directory.lstat().st_uid != os.geteuid()
    except FileNotFoundError:
        return False


def _spare(usual: Path) -> list[Path]:
    """Directories of the user's under other names, in a fixed order."""
    found = []
    for one in sorted(usual.parent.glob(f'{usual.name}-*')):
        # Other users may make many, and remove them at this moment.
        with suppress(OSError, NotPrivate):
            check(one.lstat(), 0o077)
            found.append(one)
    return found


def _is_own(directory: str) -> bool:
    try:
        found = os.stat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() \
        and not found.st_mode & 0o022
