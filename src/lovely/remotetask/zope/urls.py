"""The public URLs of objects, for requests that no client sent.

::

    <product-config lovely.remotetask>
      base-url https://www.example.org
    </product-config>

is enough where the root of Zope is published.  A folder that is published as
the root of a site is written before its URL; several are separated by commas::

      base-url /one https://one.example.org, /two https://example.org/two
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from App.config import getConfiguration

from lovely.remotetask.edge.log import log

_PORTS = {'http': 80, 'https': 443}

#: The text that was parsed last, and its result: tests and applications may
#: set another configuration.
_read: tuple[str, list[tuple[tuple[str, ...], Any]]] = ('', [])


def publish(request: Any, path: tuple[str, ...]) -> None:
    """Let a request give the public URLs of the objects in its PARENTS.

    Arguments: ``path``, the physical path (tuple of str) of the innermost of
    these.
    """
    for root, url in _bases():
        if path[:len(root)] == root:
            request.setServerURL(url.scheme, url.hostname, url.port)
            parents = request['PARENTS']
            # It takes the last of the PARENTS for the published root.
            request['PARENTS'] = [parents[len(path) - len(root)]]
            request.setVirtualRoot(url.path)
            request['PARENTS'] = parents
            return


def _bases() -> list[tuple[tuple[str, ...], Any]]:
    """The roots and their URLs, the longest root first."""
    global _read
    sections = getattr(getConfiguration(), 'product_config', None) or {}
    text = sections.get('lovely.remotetask', {}).get('base-url', '')
    if text != _read[0]:
        _read = (text, _parse(text))
    return _read[1]


def _parse(text: str) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for entry in text.split(','):
        place, _, address = entry.strip().rpartition(' ')
        url = urlsplit(address)
        if url.scheme not in _PORTS or not url.hostname:
            log.error('base-url: %r is not of the form [/path/of/root] '
                      'http(s)://host[:port][/prefix]; it is ignored',
                      entry.strip())
            continue
        names = tuple(name for name in place.strip().split('/') if name)
        found.append((('', *names), url))
    return sorted(found, key=lambda one: -len(one[0]))
