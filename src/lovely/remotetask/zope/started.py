"""Importable only in a Zope that runs: the condition of configure.zcml.

Zope may be installed beside a worker that has nothing to do with it; its
directives and host are for processes that Zope has been started in.
"""

import sys

if 'Zope2.App.startup' not in sys.modules:
    raise ImportError('no Zope has been started in this process')
