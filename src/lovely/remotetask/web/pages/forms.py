"""The form by which a job is added: fields of a schema, or one JSON text."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Mapping
from typing import Any

from zope.interface.interfaces import IInterface
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IBool
from zope.schema.interfaces import IChoice
from zope.schema.interfaces import IDate
from zope.schema.interfaces import IDatetime
from zope.schema.interfaces import IFloat
from zope.schema.interfaces import IInt
from zope.schema.interfaces import IIterableVocabulary
from zope.schema.interfaces import IText
from zope.schema.interfaces import ITextLine

from lovely.remotetask.task import check_against
from lovely.remotetask.task import parameters
from lovely.remotetask.web import plain

#: The name of a field in the form: this and the name of the schema's field.
PREFIX = 'input.'

# The first that a field provides decides; TextLine is a Text, Datetime a Date.
_KINDS = ((IChoice, 'choice'), (IBool, 'bool'), (IInt, 'int'),
          (IFloat, 'float'), (IDatetime, 'datetime'), (IDate, 'date'),
          (ITextLine, 'line'), (IText, 'text'))


def fields_of(task: Any, prefix: str = PREFIX
              ) -> list[dict[str, Any]] | None:
    """The fields of a form for a task's input.

    Arguments: ``prefix``, what the names in the form begin with.
    Returns: None where the input is one JSON text: the task has no schema, or
    one with a field that no form can show.
    """
    schema = getattr(task, 'inputSchema', None)
    if not IInterface.providedBy(schema):
        return None
    found = []
    for name, field in getFieldsInOrder(schema):
        kind = next((kind for interface, kind in _KINDS
                     if interface.providedBy(field)), None)
        if kind is None:
            return None
        choices = None
        if kind == 'choice':
            choices = _choices(field)
            if choices is None:
                return None
        found.append({
            'name': prefix + name, 'key': name, 'kind': kind,
            'choices': choices,
            'title': str(field.title or name),
            'description': str(field.description or ''),
            'required': bool(field.required) and kind != 'bool',
            'value': _shown(kind, field.default),
            'problem': None})
    return found


def skeleton(task: Any) -> str:
    """The JSON text of an input to begin with."""
    signature = parameters(task)
    if signature is None or signature.single or not signature.names:
        return ''
    return json.dumps({name: plain.jsonable(signature.defaults.get(name))
                       for name in signature.names}, indent=2, default=str)


def read(fields: list[dict[str, Any]], form: Mapping[str, list[str]]
         ) -> dict[str, Any]:
    """The input that a form has given.

    Each field keeps what was typed as its ``value``; where that cannot be read
    its ``problem`` says why.
    """
    found = {}
    for field in fields:
        text = form.get(field['name'], [''])[0]
        field['value'] = text
        name = field['key']
        try:
            value = _value(field, text)
        except ValueError as error:
            field['problem'] = str(error)
            continue
        if value is None and field['kind'] != 'bool':
            if field['required']:
                field['problem'] = 'this is needed'
            continue
        found[name] = value
    return found


def fill(fields: list[dict[str, Any]], value: Mapping[str, Any]) -> bool:
    """Let the fields show an input that is there.

    Returns: False where one of them cannot show what it has.
    """
    for field in fields:
        found = value.get(field['key'])
        if field['kind'] == 'choice':
            field['value'] = next(
                (token for token, _, one in field['choices'] if one == found),
                '')
        else:
            field['value'] = _shown(field['kind'], found)
        # A browser's field for a moment takes none with a zone.
        if getattr(found, 'tzinfo', None) is not None:
            return False
        with contextlib.suppress(ValueError):
            if _value(field, field['value']) in (found, found or False):
                continue
        return False
    return True


def has_violations(schema: Any, fields: list[dict[str, Any]],
                   value: Mapping[str, Any]) -> bool:
    """Does an input that was read break its schema?

    What is wrong is put beside the field that it is about.
    """
    for field in fields:
        key = field['key']
        found = check_against(schema[key], value[key]) if key in value else []
        if found:
            field['problem'] = '; '.join(found)
    return any(field['problem'] for field in fields)


def _value(field: dict[str, Any], text: str) -> Any:
    kind = field['kind']
    if kind == 'bool':
        return text == '1'
    if kind == 'text' and text:
        # Browsers send line breaks as CRLF.
        return text.replace('\r\n', '\n')
    stripped = text.strip()
    if not stripped:
        return None
    if kind == 'int':
        return _read(int, stripped, 'a whole number')
    if kind == 'float':
        return _read(float, stripped, 'a number')
    if kind == 'datetime':
        return _read(datetime.datetime.fromisoformat, stripped,
                     'a moment like 2026-12-31T12:00')
    if kind == 'date':
        return _read(datetime.date.fromisoformat, stripped,
                     'a date like 2026-12-31')
    if kind == 'choice':
        for token, _, value in field['choices']:
            if token == stripped:
                return value
        raise ValueError('choose one of the list')
    return text


def _read(convert: Any, text: str, what: str) -> Any:
    try:
        return convert(text)
    except (ValueError, OverflowError):
        raise ValueError(f'this has to be {what}') from None


def _choices(field: Any) -> list[tuple[str, str, Any]] | None:
    # None of one that is looked up by its name, in a context.
    vocabulary: Any = field.vocabulary
    if vocabulary is None or not IIterableVocabulary.providedBy(vocabulary):
        return None
    terms: Any = vocabulary
    return [(str(term.token), str(term.title or term.token), term.value)
            for term in terms]


def _shown(kind: str, value: Any) -> str:
    if value is None:
        return ''
    if kind == 'bool':
        return '1' if value else ''
    if kind in ('datetime', 'date'):
        return str(value.isoformat())
    return str(value)
