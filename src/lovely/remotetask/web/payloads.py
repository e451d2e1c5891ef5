"""Inputs, outputs and cursors of jobs, fit for JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.web import hiding
from lovely.remotetask.web import plain


def put_payload(answer: dict[str, Any], name: str,
                put: Callable[[], list[str]]) -> None:
    """Call ``put()``, which puts a payload into an answer.

    Where its record is lost, the answer gets None and a note.
    """
    try:
        places = put()
        if places:
            answer.setdefault('bytes', []).extend(places)
    except UNREADABLE as lost:
        # A large one has a record of its own.
        answer[name] = None
        answer[name + 'Note'] = (
            f'cannot be read: {describe(lost.__cause__ or lost)}')


def put_input(answer: dict[str, Any], value: object,
              keys: tuple[str, ...] | None) -> list[str]:
    """Put what may be shown of an input into an answer; see put."""
    places = put(answer, 'input', hiding.shown(value, keys))
    hidden = hiding.note(value, keys)
    if hidden is not None:
        answer.setdefault('inputNote', hidden)
    return places


def put(answer: dict[str, Any], name: str, value: object) -> list[str]:
    """Put a value into an answer, or None and a note why it is not there.

    Returns: the JSON pointers of its bytes.
    """
    try:
        value = plain.plain(value)
    except InputRejected as refused:
        answer[name] = None
        answer[name + 'Note'] = f'cannot be sent as JSON: {refused}'
        return []
    answer[name] = plain.jsonable(value)
    return list(plain.bytes_in(value, f'/{name}'))
