"""Which requests are answered: those with the right Host header and the token.

A server on loopback can be reached by every page that a browser on the same
machine shows: by DNS rebinding, a name of the page's own comes to point here.
So the Host header must name this server, and each request needs the token.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from collections.abc import Iterable

_LOOPBACK = frozenset(('localhost', '127.0.0.1', '::1'))


#: What a login is for: all that may be done, or to look.
ALL, LOOK = 'all', 'look'


class HostCheck:
    """Says whether a Host header names this server.

    Arguments: ``bound`` (str), the address that the server listens on;
    ``extra``, further names, of a proxy in front for instance.
    """

    def __init__(self, bound: str, extra: Iterable[str] = ()) -> None:
        names = set(_LOOPBACK)
        names.update(name.lower().rstrip('.') for name in extra)
        names.add(bound.lower().strip('[]'))
        self._any_address = _is_wildcard(bound)
        if self._any_address:
            names.add(socket.gethostname().lower())
            names.add(socket.getfqdn().lower())
        self._names = frozenset(names)

    def __call__(self, header: str | None) -> bool:
        name = _host_name(header or '')
        if name in self._names:
            return True
        # An attacker's page has a name; a literal address cannot be rebound.
        return self._any_address and _is_address(name)


class TokenCheck:
    """Says whether an Authorization header carries the token.

    Arguments: ``token`` (str); accepted as ``Bearer TOKEN`` and as the
    password of any user by ``Basic``.
    """

    def __init__(self, token: str) -> None:
        if not token:
            # '' would equal the password of `Basic Og==`.
            raise ValueError('an empty token lets everybody in')
        self._token = token.encode()

    def __call__(self, header: str | None) -> bool:
        scheme, _, value = (header or '').strip().partition(' ')
        value = value.strip()
        offered = value.encode('utf-8', 'replace')
        if scheme.lower() == 'basic':
            try:
                decoded = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                return False
            offered = decoded.partition(b':')[2]
        elif scheme.lower() != 'bearer':
            return False
        # A comparison that stops at the first wrong byte would tell by its
        # time how many are right.
        return hmac.compare_digest(offered, self._token)

    def proof(self, challenge: str) -> str:
        """Shows that this server knows the token; see ``proof``."""
        return proof(self._token.decode(), challenge)


class Logins:
    """Lets browsers in: a link that works once, then a cookie.

    Either is for all that may be done, or to look alone.

    Arguments: ``token`` (str), of the server; ``now``, gives seconds since
    1970.
    """

    #: How long a link works, and how long a cookie does (seconds).
    LINK_SECONDS = 600
    COOKIE_SECONDS = 12 * 3600

    # A program that holds the token may ask for links without end.
    _MOST_LINKS = 100

    def __init__(self, token: str, now: Callable[[], float]) -> None:
        self._key = token.encode()
        self._now = now
        self._lock = threading.Lock()
        self._codes: dict[str, tuple[float, str]] = {}

    def new_code(self, role: str = ALL) -> str:
        """The code of a fresh link, for ALL or LOOK."""
        code = secrets.token_urlsafe(16)
        with self._lock:
            while len(self._codes) >= self._MOST_LINKS:
                del self._codes[next(iter(self._codes))]
            self._codes[code] = self._now() + self.LINK_SECONDS, role
        return code

    def redeem(self, code: str) -> str | None:
        """The value of a cookie for a code, which is used up by that.

        Returns: None for a code that is unknown, used or too old.
        """
        with self._lock:
            end, role = self._codes.pop(code, (0.0, ''))
        if not role or end < self._now():
            return None
        until = int(self._now()) + self.COOKIE_SECONDS
        text = f'{until}.{role}.{secrets.token_urlsafe(16)}'
        return f'{text}.{self._sign(text)}'

    def role(self, cookie: str | None) -> str | None:
        """What the value of a cookie of ours is for: ALL or LOOK.

        Returns: None for any other, and for one that has run out.
        """
        text, _, signature = (cookie or '').rpartition('.')
        if not hmac.compare_digest(signature.encode('utf-8', 'replace'),
                                   self._sign(text).encode()):
            return None
        # Only we have signed it, so it has these parts.
        until, role, _ = text.split('.')
        return role if int(until) >= self._now() else None

    def _sign(self, text: str) -> str:
        return hmac.new(
            self._key, b'remotetask cookie\0' + text.encode(
                'utf-8', 'replace'), hashlib.sha256).hexdigest()


def proof(token: str, challenge: str) -> str:
    """What only a program that knows the token can answer to a challenge.

    A client asks for it before it sends the token: the server that wrote it
    may have ended, and another user's program may listen in its place.
    Arguments: ``challenge``, random text of the client.
    """
    return hmac.new(token.encode(), b'remotetask proof\0' + challenge.encode(),
                    hashlib.sha256).hexdigest()


def _host_name(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    header = header.strip().lower()
    if header.startswith('['):
        return header[1:].partition(']')[0]
    return header.partition(':')[0].rstrip('.')


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_wildcard(bound: str) -> bool:
    try:
        return ipaddress.ip_address(bound.strip('[]')).is_unspecified
    except ValueError:
        return False
