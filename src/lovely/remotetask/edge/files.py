"""Databases in files: which process has one open, and reading one of those."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from functools import wraps
from typing import Any

from zc.lockfile import LockError
from ZODB.FileStorage import FileStorage


def holder(error: Exception) -> str:
    """The process that has a file open, for people.

    Arguments: ``error``, zc.lockfile's LockError, which names the lock file;
    its holder has written its id there.
    """
    found = re.search(r"""lock (['"])(.+)\1$""", str(error))
    if found is not None:
        with suppress(OSError, ValueError), open(
                found[2], encoding='ascii') as file:
            return f'process {int(file.read(100))}'
    return 'another process'


@contextmanager
def reading_if_in_use() -> Iterator[None]:
    """Within the block, a FileStorage that another process has is only read.

    For a command that looks at the database of an application: that opens it
    by its own configuration, which says that it is written.  Where the file is
    free it may be written, for an application may do so when it starts.  Not
    for several threads at once.
    """
    # Not a subclass in its place: modules have the class under their own names
    # by now.
    original = FileStorage.__init__

    @wraps(original)
    def opened(self: Any, file_name: str, create: bool = False,
               read_only: bool = False, *more: Any, **options: Any) -> None:
        try:
            original(self, file_name, create, read_only, *more, **options)
            return
        except LockError:
            pass
        # It warns of an index that is older than the file: so is that of each
        # file in use.
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            original(self, file_name, create, True, *more, **options)
        finally:
            logging.disable(before)

    cls: Any = FileStorage
    cls.__init__ = opened
    try:
        yield
    finally:
        cls.__init__ = original
