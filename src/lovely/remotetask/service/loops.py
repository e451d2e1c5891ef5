"""Which loop runs the jobs of a service: one at a time, or several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


def set_threads(service: TaskService, count: int) -> None:
    """Let a service run so many jobs at once, from its next start on.

    Txn: the caller's; it writes nothing where that is so already.
    """
    # Imported here and not above: see _SimpleProcessor.
    from lovely.remotetask import processor

    factory: Any = (processor.SimpleProcessor if count == 1
                    else processor.MultiProcessor)
    arguments: dict[str, Any] = {'waitTime': 1.0}
    if count > 1:
        arguments['maxThreads'] = count
    if service.processorFactory is not factory \
            or service.processorArguments != arguments:
        service.processorFactory = factory
        service.processorArguments = arguments
