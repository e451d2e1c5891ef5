from BTrees._tree import Tree
from BTrees._tree import V

class LOBTree(Tree[int, V]): ...
