from typing import Any

from BTrees.IOBTree import IOBTree

class _IO:
    BTree: type[IOBTree[Any]]

class _Family:
    maxint: int
    minint: int
    IO: _IO

family32: _Family
family64: _Family
