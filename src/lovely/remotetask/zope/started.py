"""Can be imported only in a Zope that runs: the condition of configure.zcml.

Zope may be installed beside a worker that does not use it; its directives and
its host are for processes in which Zope was started.
"""

import sys
from typing import Any

if 'Zope2.App.startup' not in sys.modules:
    raise ImportError('no Zope has been started in this process')


def prepare_pages(event: Any) -> None:
    """Let the first page be quick; listens to IPubStart.

    The first request of any page tells a server from a script, which fires
    all events of a start as well, and is to have no thread.
    """
    # Imported here and not above: scripts read this module, too.
    from lovely.remotetask.web.pages import compiled

    compiled.begin()
