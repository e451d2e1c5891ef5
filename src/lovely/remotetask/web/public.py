"""The address by which browsers know the pages, behind a proxy."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any
from typing import NamedTuple

# What may stand in a path that is put into links and headers as it is.
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


class Public(NamedTuple):
    """Attributes: ``scheme``; ``netloc``, host and port; ``path``, of the
    service's pages, without a slash behind; '': they are at the root.
    """

    scheme: str
    netloc: str
    path: str

    @classmethod
    def of(cls, url: str) -> Public:
        """Read an address.  Raises: ValueError."""
        parts = urllib.parse.urlsplit(url)
        path = parts.path.rstrip('/')
        if (parts.scheme not in ('http', 'https') or not parts.hostname
                or parts.query or parts.fragment or parts.username is not None
                or not url.isascii() or not _PATH.fullmatch(path)):
            raise ValueError(
                f'{url!r:.80} is no address of pages; give one like '
                f'https://tasks.example.org/tasks')
        _ = parts.port              # ValueError for one that is no number
        netloc = parts.netloc.lower()
        # As browsers write it in Origin.
        usual = {'http': ':80', 'https': ':443'}[parts.scheme]
        return cls(parts.scheme, netloc.removesuffix(usual), path)

    @property
    def host(self) -> str:
        """The name in the Host header, without a port."""
        return urllib.parse.urlsplit(f'//{self.netloc}').hostname or ''

    def seen_in(self, environ: dict[str, Any]) -> dict[str, Any]:
        """The environ of a request as if no proxy stood between."""
        return {**environ, 'wsgi.url_scheme': self.scheme,
                'HTTP_HOST': self.netloc}
