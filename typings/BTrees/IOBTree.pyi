from BTrees._tree import Tree
from BTrees._tree import V

class IOBTree(Tree[int, V]): ...
