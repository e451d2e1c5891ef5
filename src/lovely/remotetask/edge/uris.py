"""URIs of PostgreSQL databases, as PostgreSQL itself takes them.

RelStorage's own resolver writes ``None`` for each part that a URI leaves out:
a port of that name, a user, a password.  It does not know ``postgresql://``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import unquote

_SCHEMES = ('postgres', 'postgresql')


def resolve(uri: str) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The resolver of zodburi for ``postgresql://``, in every application.

    Arguments: ``uri``, ``postgresql://USER:PASSWORD@HOST:PORT/NAME?OPTIONS``;
    what is left out is libpq's default, and OPTIONS are those of RelStorage's
    ``postgres://``.
    Returns: a callable that opens the storage, and the options of zodburi.
    """
    from relstorage.zodburi_resolver import RelStorageURIResolver

    return RelStorageURIResolver(_adapter)(
        f'postgres://{uri.partition("://")[2]}')


def complete(uri: str) -> str:
    """A URI of PostgreSQL as ``resolve`` is asked for it; others as is."""
    scheme, separator, rest = uri.partition('://')
    if scheme in _SCHEMES and separator:
        return f'postgresql://{rest}'
    return uri


def _adapter(parts: SplitResult, options: dict[str, str]
             ) -> tuple[Callable[[Any], Any], dict[str, str]]:
    """See RelStorage's PostgreSQLAdapterHelper"""
    from relstorage.zodburi_resolver import PostgreSQLAdapterHelper

    ours, others = PostgreSQLAdapterHelper().interpret_kwargs(options)
    given = {'dbname': unquote(parts.path[1:]),
             'user': unquote(parts.username or ''),
             'password': unquote(parts.password or ''),
             'host': unquote(parts.hostname or ''),
             'port': parts.port, **ours}
    dsn = ' '.join(f"{name}='{_quoted(str(value))}'"
                   for name, value in given.items() if value)

    def make(storage_options: Any) -> Any:
        from relstorage.adapters.postgresql import PostgreSQLAdapter

        return PostgreSQLAdapter(dsn=dsn, options=storage_options)

    return make, others


def _quoted(text: str) -> str:
    return text.replace('\\', '\\\\').replace("'", "\\'")
