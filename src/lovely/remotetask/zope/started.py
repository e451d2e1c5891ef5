"""Can be imported only in a Zope that runs: the condition of configure.zcml.

Zope may be installed beside a worker that does not use it; its directives and
its host are for processes in which Zope was started.
"""

import sys

if 'Zope2.App.startup' not in sys.modules:
    raise ImportError('no Zope has been started in this process')
