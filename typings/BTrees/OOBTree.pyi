from BTrees._tree import K
from BTrees._tree import Tree
from BTrees._tree import V

class OOBTree(Tree[K, V]): ...
