"""The files with a server's token, by which the command line finds it.

Only the owner can read such a file, in a directory where no other user can
write: that user could put a link there and have the server overwrite a file,
or a token of their own and have the client talk to their server.

``PORT.token`` in the runtime directory has a line with the token, then one for
each address that the server listens on.  A server that is killed leaves it
behind, so its token is sent to none that cannot prove to know it (see
``web.guard.proof``), nor to one on another address: that could pass on the
proof of the true server.  ``token`` in the data directory has the token alone.
``token-view`` there, and ``PORT.token-view``, have one that lets look alone,
to be given to others.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge import private

_NAME = 'remotetask'


@dataclass(frozen=True)
class Token:
    """The token of a server.

    Arguments: ``text``; ``addresses``, those that the server listens on.
    """

    text: str
    addresses: tuple[str, ...]

    def is_of(self, address: str) -> bool:
        """Does its server listen on this address?"""
        found = ip_address(address)
        for one in map(ip_address, self.addresses):
            # As long as a server listens on every address of a kind, no other
            # program can listen on one of them.
            if one == found or (one.is_unspecified
                                and one.version == found.version):
                return True
        return False


def new_token() -> str:
    """A fresh token; each start of a server makes its own."""
    return secrets.token_urlsafe(32)


def runtime_directory() -> Path:
    """The user's own runtime directory for this program, made if missing.

    Raises: Failure where it cannot be trusted or made.
    """
    directory = private.place(_NAME)
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
def published(token: Token, port: int, data: Path | None,
              view: str | None = None) -> Iterator[None]:
    """Keep the token in files for clients as long as the block runs.

    Arguments: ``token``; ``port``, the server's; ``data``, its data
    directory, if it has one; ``view``, the text of the token that lets look.
    Raises: Failure where that cannot be done safely.
    """
    places = {runtime_directory() / f'{port}.token':
              '\n'.join((token.text, *token.addresses))}
    if data is not None:
        places[data / 'token'] = token.text
    if view is not None:
        places[runtime_directory() / f'{port}.token-view'] = view
        if data is not None:
            places[data / 'token-view'] = view
    try:
        for place, text in places.items():
            _write(place, text)
        yield
    finally:
        for place, text in places.items():
            _remove(place, text)


def find(port: int) -> Token | None:
    """The token of this user's server at a port, or None.

    Raises: Failure where its place cannot be trusted.
    """
    for directory in private.places(_NAME):
        if not os.path.lexists(directory):
            continue
        _check_private(directory)
        text = _read(directory / f'{port}.token')
        if text:
            token, *addresses = text.split('\n')
            return Token(token, tuple(addresses))
    return None


def _check_private(directory: Path) -> None:
    try:
        private.check(directory.lstat(), 0o077)
    except private.NotPrivate as error:
        raise Failure(f'{directory} {error.cause}: a token there is not safe',
                      error.cure) from error


def _write(place: Path, text: str) -> None:
    # Written beside and renamed: a client reads the whole token or none, and
    # a link that lies at this name is replaced, not followed.
    beside = place.with_name(f'.{place.name}.{secrets.token_hex(8)}')
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with open(os.open(beside, flags, 0o600), 'w') as file:
            file.write(text + '\n')
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


def _remove(place: Path, text: str) -> None:
    # A server started since then at the same place keeps its own.
    if _read(place) == text:
        place.unlink(missing_ok=True)
