"""Plain data: the only values that cross the wire, in either direction.

A pickle from outside could run code, and an object of a database means
nothing outside of it; so values are rebuilt here from a closed list of types.
"""

import base64
import datetime
import json
import math
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.payload import Reference

#: Data nested deeper than this is refused: it could exhaust the stack.
MAX_DEPTH = 32

# Python writes no int of more than 4,300 digits; these bits are 4,200.
_MAX_BITS = 13_952


def plain(value: object, depth: int = MAX_DEPTH) -> object:
    """Rebuild a value from None, bool, int, float, str, bytes, list, dict
    and datetime.

    Arguments: ``value``; ``depth`` (int), levels of nesting that are left.
    Returns: new plain data.  Tuples become lists; a value of a subclass or
    of one of xmlrpc.client's wrappers becomes one of the plain type, and a
    reference the text that describes it.
    Raises: InputRejected naming the first value that is not plain.
    Cost: O(size).
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise InputRejected('a whole number of more than 4,200 digits')
        return int(value)
    if isinstance(value, float):
        # Neither XML-RPC nor JSON has a notation for these: some clients
        # read them, and others fail.
        if not math.isfinite(value):
            raise InputRejected(f'{value} is not a finite number')
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, xmlrpc.client.Binary):
        return bytes(value.data)
    if isinstance(value, xmlrpc.client.DateTime):
        return datetime.datetime.strptime(value.value, '%Y%m%dT%H:%M:%S')
    if isinstance(value, (list, tuple, dict)):
        if depth == 0:
            raise InputRejected(
                f'nested deeper than {MAX_DEPTH} levels; flatten it')
        if isinstance(value, dict):
            return {_key(key): plain(item, depth - 1)
                    for key, item in value.items()}
        return [plain(item, depth - 1) for item in value]
    raise InputRejected(
        f'{_type_name(value)} is not plain data (None, bool, int, float, '
        f'str, bytes, list, dict, datetime)')


def read_json(text: str | bytes) -> Any:
    """Read JSON, and refuse what one reader takes otherwise than another.

    Raises: ValueError, also for NaN; UsageError for a key that an object has
    twice; RecursionError.
    """
    return json.loads(text, object_pairs_hook=_unique,
                      parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UsageError(f'the key {json.dumps(key):.80} stands twice in '
                             f'an object; leave one of them out')
        found[key] = value
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is no JSON')


def jsonable(value: object) -> object:
    """Make plain data fit for JSON: bytes as base64, datetimes as ISO 8601.

    Returns: new data.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode('ascii')
    if isinstance(value, datetime.datetime):
        return iso(value)
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    return value


def bytes_in(value: object, place: str = '') -> Iterator[str]:
    """Where plain data has bytes, which ``jsonable`` makes base64 of.

    Arguments: ``place``, the JSON pointer (RFC 6901) of the value itself.
    Yields: JSON pointers.
    """
    if isinstance(value, bytes):
        yield place
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from bytes_in(item, f'{place}/{number}')
    elif isinstance(value, dict):
        for key, item in value.items():
            escaped = key.replace('~', '~0').replace('/', '~1')
            yield from bytes_in(item, f'{place}/{escaped}')


def iso(moment: datetime.datetime | None) -> str | None:
    """A moment as ISO 8601 text, in UTC where it is aware."""
    if moment is None:
        return None
    return utc(moment).isoformat()


def utc(moment: datetime.datetime) -> datetime.datetime:
    """A moment in UTC; without a time zone, or where UTC has no such year:
    itself.
    """
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError:
        return moment


def _key(key: object) -> str:
    # A JSON writer would turn 1 and '1' into the same key without a word.
    if not isinstance(key, str):
        raise InputRejected(
            f'the dictionary key {key!r:.80} is not a string')
    return str(key)


def _type_name(value: object) -> str:
    kind = type(value)
    if kind.__module__ == 'builtins':
        return kind.__qualname__
    return f'{kind.__module__}.{kind.__qualname__}'
