"""Persistent jobs in your ZODB, added, run and finished in its transactions.

``lovely`` is a namespace shared with other distributions.  Importing this
package costs nothing: the service and the submodules are loaded when first
asked for, so that the command line and ``errors`` do not pay for ZODB.
"""

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

__all__ = ['TaskService']

# 0.5.2 imported these with the package: ``from lovely import remotetask;
# remotetask.task.SimpleTask`` has to work without a further import.
_SUBMODULES = frozenset(
    ('errors', 'interfaces', 'job', 'processor', 'service', 'task',
     'testing'))


def __getattr__(name: str) -> Any:
    if name == 'TaskService':
        from lovely.remotetask.service import TaskService
        return TaskService
    if name in _SUBMODULES:
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
