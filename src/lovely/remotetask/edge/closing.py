"""Ends what belongs to a database when the application closes that.

ZODB tells it to none: a session or a file beside a database would stay until
Python's collector finds the database, which may be never.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.log import trace

if TYPE_CHECKING:
    from ZODB import DB

    _Functions = dict[Callable[[DB], None], None]

#: What may refuse that a database is closed: each is called with it, and
#: raises then.
checks: list[Callable[[DB], None]] = []

_asked: weakref.WeakKeyDictionary[DB, _Functions] = (
    weakref.WeakKeyDictionary())


def call_on_close(database: DB, function: Callable[[DB], None],
                  first: bool = False) -> None:
    """Call ``function(database)`` once, before a database is closed.

    Equal functions are called once.
    Arguments: ``function``, of a module: it is kept as long as the database;
    ``first``: before all that was asked for earlier.
    """
    asked = _asked.get(database)
    if asked is None:
        asked = _asked.setdefault(database, {})
        # ZODB itself replaces the method of a closed database so.
        opened: Any = database
        opened.close = partial(_close, database, database.close)
    if first and function not in asked:
        asked = _asked[database] = {function: None, **asked}
    asked[function] = None


def closes(database: DB) -> None:
    """Call what is to be called before a database is closed."""
    for function in list(_asked.pop(database, ())):
        try:
            function(database)
        except Exception:
            trace.exception('a part of a database cannot be closed')


def _close(database: DB, close: Callable[[], None]) -> None:
    for check in checks:
        check(database)
    closes(database)
    close()
