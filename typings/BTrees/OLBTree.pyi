from BTrees._tree import K
from BTrees._tree import Tree

class OLBTree(Tree[K, int]): ...
