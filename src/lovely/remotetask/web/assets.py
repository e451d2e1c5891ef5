"""The styles, the scripts and the icon; a browser may keep them for ever.

Their names have a hash of what is in them: a new release has new names.  The
names without it, which pages of an application may have, lead there.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

_TYPES = {'css': 'text/css; charset=utf-8',
          'js': 'text/javascript; charset=utf-8',
          'svg': 'image/svg+xml'}

_NAMES = ('styles.css', 'live.js', 'status.js', 'icon.svg', 'list.css',
          'list.js')


@functools.cache
def _assets() -> dict[str, tuple[str, bytes]]:
    """name -> (name with its hash, content)."""
    found = {}
    folder = resources.files(__package__) / 'pages' / 'static'
    for name in _NAMES:
        content = (folder / name).read_bytes()
        stem, _, extension = name.partition('.')
        digest = hashlib.sha256(content).hexdigest()[:16]
        found[name] = (f'{stem}.{digest}.{extension}', content)
    return found


def address(base: str, name: str) -> str:
    """The address of an asset below a mount point."""
    return f'{base}/static/{_assets()[name][0]}'


def serve(request: Request, name: str) -> Response:
    """Answer with an asset; everybody may see it, nothing in it is secret."""
    for hashed, content in _assets().values():
        if hashed == name:
            return Response(
                200, _TYPES[name.rpartition('.')[2]], content,
                {'Cache-Control': 'public, max-age=31536000, immutable',
                 'X-Content-Type-Options': 'nosniff'})
    if name in _assets():
        return Response(302, 'text/plain; charset=utf-8', b'', {
            'Location': address(request.base, name),
            'Cache-Control': 'no-cache'})
    raise Refused(404, 'there is no such file; reload the page')
