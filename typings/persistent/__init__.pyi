from typing import Any
from typing import TypeAlias
from typing import overload

from ZODB.Connection import Connection

MaybeNone: TypeAlias = Any

class _Changed:
    @overload
    def __get__(self, instance: None, owner: Any) -> _Changed: ...
    @overload
    def __get__(self, instance: Persistent, owner: Any) -> bool | None: ...
    def __set__(self, instance: Persistent, value: bool | None) -> None: ...

class Persistent:
    # None while the object is in no database.
    _p_jar: Connection | MaybeNone
    _p_oid: bytes | MaybeNone
    _p_serial: bytes
    # None: a ghost.
    _p_changed: _Changed
    def _p_activate(self) -> None: ...
    def _p_deactivate(self) -> None: ...
    def _p_invalidate(self) -> None: ...
    def __getstate__(self) -> Any: ...
    def __setstate__(self, state: Any) -> None: ...
