"""The participation in which a job runs."""

from __future__ import annotations

from typing import Any

# An application asks "am I in a job?" by isinstance(participation,
# ProcessorRequest) and registers multi-adapters for it, so it is a request
# where there are requests.
try:
    from zope.publisher.base import BaseRequest
except ImportError:
    BaseRequest = None


class _Participation:
    """A participation where zope.publisher is not installed."""

    interaction = None
    principal = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def setPrincipal(self, principal: Any) -> None:
        """See zope.publisher.interfaces.IPublicationRequest"""
        self.principal = principal


if BaseRequest is None:
    ProcessorRequest: Any = type(
        'ProcessorRequest', (_Participation,),
        {'__doc__': 'The participation in which a job runs.',
         '__module__': __name__})
else:
    class ProcessorRequest(BaseRequest):  # type: ignore[no-redef]
        """The participation in which a job runs: a request of nobody's."""

        def __init__(self, *args: Any) -> None:
            super().__init__(None, {}, positional=args)
