"""The files with a server's token, by which the command line finds it.

Only the owner can read such a file, in a directory where no other user can
write: that user could put a link there and have the server overwrite a file,
or a token of their own and have the client talk to their server.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge import private

_NAME = 'remotetask'


def new_token() -> str:
    """A fresh token; each start of a server makes its own."""
    return secrets.token_urlsafe(32)


def runtime_directory() -> Path:
    """The user's own runtime directory for this program, made if missing.

    Raises: Failure where it cannot be trusted or made.
    """
    directory = private.places(_NAME)[0]
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failure(f'cannot make the directory {directory} for the token: '
                      f'{reason(error)}',
                      'set XDG_RUNTIME_DIR to a directory of your own'
                      ) from error
    _check_private(directory)
    return directory


@contextmanager
def published(token: str, port: int, data: Path | None) -> Iterator[None]:
    """Keep the token in files for clients as long as the block runs.

    Arguments: ``token``; ``port``, the server's; ``data``, its data
    directory, if it has one.
    Raises: Failure where that cannot be done safely.
    """
    places = [runtime_directory() / f'{port}.token']
    if data is not None:
        places.append(data / 'token')
    try:
        for place in places:
            _write(place, token)
        yield
    finally:
        for place in places:
            _remove(place, token)


def find(port: int) -> str | None:
    """The token of this user's server at a port, or None.

    Raises: Failure where its place cannot be trusted.
    """
    for directory in private.places(_NAME):
        if not os.path.lexists(directory):
            continue
        _check_private(directory)
        token = _read(directory / f'{port}.token')
        if token:
            return token
    return None


def _check_private(directory: Path) -> None:
    try:
        private.check(directory.lstat(), 0o077)
    except private.NotPrivate as error:
        raise Failure(f'{directory} {error.cause}: a token there is not safe',
                      error.cure) from error


def _write(place: Path, token: str) -> None:
    # Written beside and renamed: a client reads the whole token or none, and
    # a link that lies at this name is replaced, not followed.
    beside = place.with_name(f'.{place.name}.{secrets.token_hex(8)}')
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with open(os.open(beside, flags, 0o600), 'w') as file:
            file.write(token + '\n')
        os.replace(beside, place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Failure(f'cannot write the token to {place}: {reason(error)}',
                      'make room or give yourself the right to write there'
                      ) from error


def _read(place: Path) -> str | None:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(descriptor) as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return None
        return file.read(1000).strip()


def _remove(place: Path, token: str) -> None:
    # A server started since then at the same place keeps its own.
    if _read(place) == token:
        place.unlink(missing_ok=True)
