from typing import Any

from BTrees._tree import Collection
from BTrees._tree import Tree
from BTrees._tree import V

class IOBucket(Collection[int, V]): ...

class IOBTree(Tree[int, V]):
    # Its values may be others than those of the tree.
    _bucket_type: type[IOBucket[Any]]
