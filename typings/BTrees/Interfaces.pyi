from typing import Any

# Any: an implementer is not compared with the methods of IBTree.
IBTree: Any
