"""How 0.5.2 published a job: for applications that import it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge import db as database_edge

if TYPE_CHECKING:
    from ZODB import DB

# Applications of 0.5.2 publish requests of their own with it.  zope.app is for
# surfaces only, and imported here all the same: a class needs its base when it
# is made.  It costs 6 ms, and next to nothing where it is not installed.
try:
    from zope.app.publication.zopepublication import ZopePublication
    from zope.security.management import newInteraction
    from zope.security.proxy import removeSecurityProxy
    from zope.traversing.api import traverse
except ImportError:
    class ProcessorPublication:
        """How 0.5.2 published a job; nothing here calls it.

        Argument: ``db``, the ZODB database.
        """

        def __init__(self, db: DB) -> None:
            self.db = db
else:
    class ProcessorPublication(ZopePublication):  # type: ignore[no-redef]
        """How 0.5.2 published a job; nothing here calls it.

        It authenticates nobody, and looks at no permission on its way.
        Argument: ``db``, the ZODB database.
        """

        def beforeTraversal(self, request: Any) -> None:
            """See zope.publisher.interfaces.IPublication"""
            newInteraction(request)
            # The publication's own transaction: it commits it, too.
            database_edge.begin()

        def traverseName(self, request: Any, ob: Any, name: str) -> Any:
            """See zope.publisher.interfaces.IPublication"""
            return traverse(removeSecurityProxy(ob), name)
