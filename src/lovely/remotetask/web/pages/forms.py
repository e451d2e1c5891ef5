"""The form for the input of a job: fields of a schema, or one JSON text.

What a form asks for is a dict, ``asked``: ``name``, what it is sent as;
``fields``, None for a JSON text; ``text``, that; ``schema``.
"""

from __future__ import annotations

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

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.task import check_against
from lovely.remotetask.task import parameters
from lovely.remotetask.task import shown_keys
from lovely.remotetask.web import plain

# The first that a field provides decides; TextLine is a Text, Datetime a Date.
_KINDS = ((IChoice, 'choice'), (IBool, 'bool'), (IInt, 'int'),
          (IFloat, 'float'), (IDatetime, 'datetime'), (IDate, 'date'),
          (ITextLine, 'line'), (IText, 'text'))


def asked(task: Any, keys: tuple[str, ...] | None, name: str
          ) -> dict[str, Any]:
    """What a form asks for, to begin with.

    Arguments: ``keys``, those that may be shown, see hiding.keys_of.
    """
    return {'name': name, 'fields': fields_of(task, keys, f'{name}.'),
            'text': skeleton(task),
            'schema': getattr(task, 'inputSchema', None)}


def take(asked: dict[str, Any], form: Mapping[str, list[str]]) -> Any:
    """The input that a form has given.

    Raises: InputRejected; each field whose value does not fit says so by its
    ``problem``.
    """
    fields = asked['fields']
    if fields is None:
        asked['text'] = form.get(asked['name'], [''])[0]
        return _read_json(asked['text'])
    found = read(fields, form)
    for field in fields:
        name = field['key']
        if field['problem'] is None and name in found:
            field['problem'] = '; '.join(check_against(
                asked['schema'][name], found[name],
                () if field['hidden'] else None)) or None
    if any(field['problem'] for field in fields):
        raise InputRejected('See the fields below.')
    return found


def fill(asked: dict[str, Any], value: Any, data: Any) -> bool:
    """Let a form begin with an input that there is.

    Arguments: ``value``, the mapping, of which hidden keys are not shown;
    ``data``, the part of it that may be shown, fit for JSON.
    Returns: False where a field cannot show what it has, and would make
    something else of it.
    """
    fits = True
    if asked['fields'] is None:
        asked['text'] = '' if data is None else json.dumps(
            data, indent=2, ensure_ascii=False)
    for field in asked['fields'] or ():
        name = field['key']
        if name not in value:
            continue
        if field['hidden']:
            field['required'] = False
            field['description'] += ' It is hidden; leave it empty to keep it.'
            continue
        field['value'] = next(
            (token for token, _, choice in field['choices'] or ()
             if choice == value[name]), _shown(field['kind'], value[name]))
        fits &= _comes_back(field, value[name])
    return fits


def _comes_back(field: dict[str, Any], value: Any) -> bool:
    """Does a field that is sent as it is shown mean the same value?"""
    if getattr(value, 'tzinfo', None) is not None:
        # A browser's field for a moment takes none with a zone.
        return False
    try:
        found = _value(field, field['value'])
    except ValueError:
        return False
    if found is None:
        return not field['required'] and (value is None or value == '')
    return bool(found == value)


def changed(fields: list[dict[str, Any]], before: Mapping[str, Any],
            found: Mapping[str, Any]) -> dict[str, Any]:
    """The input that an edit makes of ``before``; keys without a field stay.

    Arguments: ``found``, what ``take`` gave.
    """
    new = dict(before)
    for field in fields:
        name = field['key']
        value = found.get(name)
        if name in found and (name in before or value is not False) and (
                name not in before or before[name] != value):
            new[name] = value
        elif (name not in found and not field['hidden']
              and new.get(name) not in (None, '')):
            del new[name]
    return new


def _read_json(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return plain.read_json(text)
    except json.JSONDecodeError as error:
        raise InputRejected(
            f'The input is not JSON: {error.msg} (line {error.lineno}, '
            f'character {error.colno}).  A text stands in double quotes.'
            ) from None
    except RecursionError:
        raise InputRejected('The input is nested too deeply.') from None


def fields_of(task: Any, keys: tuple[str, ...] | None, prefix: str
              ) -> list[dict[str, Any]] | None:
    """The fields of a form for a task's input.

    Arguments: ``keys``, those that may be shown; ``prefix``, what the names
    in the form begin with.
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
        hidden = keys is not None and name not in keys
        if hidden and kind == 'bool':
            # A box would be as good as an answer.
            kind, choices = 'choice', [('1', 'yes', True), ('0', 'no', False)]
        found.append({
            'name': prefix + name, 'key': name, 'kind': kind,
            'choices': choices, 'hidden': hidden,
            'title': str(field.title or name),
            'description': str(field.description or ''),
            'required': bool(field.required) and kind != 'bool',
            'value': '' if hidden else _shown(kind, field.default),
            'problem': None})
    return found


def skeleton(task: Any) -> str:
    """The JSON text of an input to begin with."""
    signature = parameters(task)
    if signature is None or signature.single or not signature.names:
        return ''
    keys = shown_keys(task)
    return json.dumps({
        name: plain.jsonable(signature.defaults.get(name))
        if keys is None or name in keys else None
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
        # What is hidden is not sent back either.
        field['value'] = '' if field['hidden'] else text
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
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)
