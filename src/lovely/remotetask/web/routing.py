"""Finds the route of a request by its method and path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic
from typing import TypeVar

from lovely.remotetask.web.requests import Refused

_R = TypeVar('_R')

# What may stand in the place of these words in a path.
_PARTS = {'ID': '(-?[0-9]{1,19})', 'NAME': '([^/]{1,200})'}


class Table(Generic[_R]):
    """The routes of a surface.

    Arguments: ``routes``, path -> method -> route; in a path ``ID`` stands for
    the id of a job, ``NAME`` for any one name; ``prefix``, before each path.
    """

    def __init__(self, routes: Mapping[str, Mapping[str, _R]],
                 prefix: str = '') -> None:
        self.routes = routes
        self._prefix = prefix
        self._patterns = [
            (re.compile(re.sub('ID|NAME',
                               lambda found: _PARTS[found.group()], path)),
             methods) for path, methods in routes.items()]

    def find(self, method: str, path: str) -> tuple[_R, str]:
        """The route, and the id or name in the path ('' where it has none).

        HEAD is answered as GET.
        Raises: Refused.
        """
        method = 'GET' if method == 'HEAD' else method
        for pattern, methods in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if method not in methods:
                allow = ', '.join(methods)
                raise Refused(405, f'{method:.20} does nothing here; use '
                                   f'{allow}', allow)
            return methods[method], (*found.groups(), '')[0]
        raise Refused(404, f'there is nothing at {self._prefix}{path:.80}; '
                           f'there are {self._known()}')

    def _known(self) -> str:
        return ', '.join(path or 'the overview' for path in self.routes)
