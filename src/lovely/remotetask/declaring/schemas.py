"""The schemas of tasks: which parts of an input or result violate them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from zope.interface import Invalid
from zope.interface.interfaces import IInterface
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IField

_absent = object()

# A refused value may be a whole document, and a message is one line.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def check_against(schema: Any, value: Any,
                  shown: tuple[str, ...] | None = None) -> list[str]:
    """The violations of a task's schema by a value.

    Arguments: ``schema``, a zope.schema field; or an interface, whose fields
    name keys (of a mapping) or attributes (of anything else); or None;
    ``shown``, the names of the parts that a sentence may quote, None: of all.
    Returns: a sentence for each violation; empty if there is none.  Parts that
    the schema does not name are let through: 0.5.2 let all through.
    """
    if schema is None:
        return []
    if IField.providedBy(schema):
        name = getattr(schema, '__name__', None) or 'the value'
        return _violations(schema, value, name, None, shown is None)
    if not IInterface.providedBy(schema):
        return [f'{schema!r} is neither a field nor an interface']
    # Not only dict: a PersistentMapping has no attributes of its own either.
    keyed = isinstance(value, Mapping)
    found = []
    for name, field in getFieldsInOrder(schema):
        part = (value.get(name, _absent) if keyed
                else getattr(value, name, _absent))
        if part is not _absent:
            found += _violations(field, part, name, value,
                                 shown is None or name in shown)
        elif field.required:
            found.append(f'{name} is missing')
    return found


def _violations(field: Any, value: Any, name: str, owner: Any,
                quotes: bool) -> list[str]:
    try:
        field.bind(owner).validate(value)
    # Not ValidationError alone: the constraint of a field may raise Invalid.
    except Invalid as error:
        reason = _reason(error, quotes).strip().rstrip('.')
        quoted = f' is {_short.repr(value)}' if quotes else ''
        return [f'{name}{quoted}: {reason}']
    return []


def _reason(error: Invalid, quotes: bool) -> str:
    if hasattr(error, 'doc'):
        return error.doc() or type(error).__name__
    # The words of a constraint of the application, which may be of the value.
    return (quotes and str(error)) or type(error).__name__
