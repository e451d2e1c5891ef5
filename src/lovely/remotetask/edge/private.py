"""Directories of this user alone, for files that no other user may touch.

Another user who can write there could put a link in the place of a file, and
have us overwrite what it points to, or a file that we then believe.
"""

import os
import stat
import tempfile
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


def places(name: str) -> list[Path]:
    """Where a directory of this name may be, the best place first.

    In the user's runtime directory, where there is one, and in the temporary
    directory: a process started by a service manager may have no
    XDG_RUNTIME_DIR while the shell of the same user has one.
    """
    fallback = Path(tempfile.gettempdir()) / f'{name}-{os.geteuid()}'
    given = os.environ.get('XDG_RUNTIME_DIR')
    # Under sudo it may be the other user's, who could swap what we leave
    # there.
    if given and os.path.isabs(given) and _is_own(given):
        return [Path(given) / name, fallback]
    return [fallback]


def check(found: os.stat_result, forbidden: int) -> None:
    """Refuse a directory that other users can do something with.

    Arguments: ``found``, what lstat says of it, or fstat of the open one; not
    stat, which looks through a link that another user may have made;
    ``forbidden``, the rights that others must not have (mode bits).
    Raises: NotPrivate.
    """
    cure = 'remove it, or set XDG_RUNTIME_DIR to a directory of your own'
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


def _is_own(directory: str) -> bool:
    try:
        found = os.stat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() \
        and not found.st_mode & 0o022
