"""The names that zope.publisher, and Zope, find below a view."""

from __future__ import annotations

from typing import Any


class Names:
    """Takes every name below a view; in front of the view's base class.

    One class for Zope, plone.restapi and the ZTK: they know the surface's
    addresses as one view with a rest.
    """

    def __init__(self, context: Any, request: Any) -> None:
        super().__init__(context, request)  # type: ignore[call-arg]
        self._names: list[str] = []

    def publishTraverse(self, request: Any, name: str) -> Any:
        """See IPublishTraverse"""
        self._names.append(name)
        return self

    def browserDefault(self, request: Any) -> Any:
        """See IBrowserPublisher"""
        return self, ()
