"""Checks at add(), not at commit, whether a value can be stored with a job.

A value that cannot be pickled fails deep inside a commit, far from the call
that gave it; a result that cannot be pickled made 0.5.2 commit the same job
again for ever.  So inputs are checked when they are added, and results when a
task returns them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from persistent import Persistent
from persistent.wref import WeakRef
from ZODB.broken import Broken
from zodbpickle import pickle

from lovely.remotetask import settings
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.follow import RESULT

if TYPE_CHECKING:
    from ZODB.Connection import Connection

#: An input or output whose pickle is longer (bytes) gets a record of its own,
#: so that a change of status does not write it again.
INLINE_BYTES = 2000

_ATOMS = frozenset((type(None), bool, int, float))
_DEPTH = 50


class Payload(Persistent):
    """A large input or output in a record of its own."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Reference:
    """What stands, in a stored input, for an object that is elsewhere.

    ``str()`` tells people where and what that is.
    """


def weigh(value: Any, depth: int = _DEPTH) -> int | None:
    """About how long the pickle of plain data is (bytes); None: not plain.

    Plain data needs no trial pickling, which is most of the cost of a check.
    Only exact types are plain: a subclass may pickle itself in any way.
    """
    kind = type(value)
    if kind is str:
        return (len(value) if value.isascii() else _utf8_length(value)) + 5
    if kind in _ATOMS:
        return 9 if kind is not int or -2**30 < value < 2**30 else (
            _int_length(value))
    if kind is bytes:
        return len(value) + 5
    if kind is dict:
        parts = [*value, *value.values()]
    elif kind is list or kind is tuple:
        parts = value
    else:
        return None
    if depth == 0:
        return None
    total = 5
    for part in parts:
        # Each add runs this loop: most parts need no call of their own.
        kind = type(part)
        if kind is str:
            total += (len(part) if part.isascii()
                      else _utf8_length(part)) + 5
        elif kind is int:
            total += 9 if -2**30 < part < 2**30 else _int_length(part)
        elif kind in _ATOMS:
            total += 9
        else:
            size = weigh(part, depth - 1)
            if size is None:
                return None
            total += size
    return total


def _utf8_length(text: str) -> int:
    return len(text.encode('utf-8', 'surrogatepass'))


def _int_length(number: int) -> int:
    return 9 + number.bit_length() // 8


class _Counter:
    """A file that counts what is written, keeps none of it, and has a limit.
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self.limit = limit

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > self.limit:
            raise InputRejected(_too_long(self.size, self.limit))
        return len(data)


def _too_long(size: int, limit: int) -> str:
    return (f'longer than {limit} bytes when pickled (at least {size}): '
            f'pass a ZODB Blob, or a reference to where the data is')


def check(value: Any, jar: Connection | None = None,
          limit: int | None = None) -> int:
    """Make sure that a value can be stored with a job.

    Arguments: ``jar``, the ZODB connection it will be stored by, None
    without a database; ``limit``, bytes.
    Returns: about how long its pickle is (bytes).
    Raises: InputRejected with the reason.
    Cost: plain data is only counted; all else is pickled once, together with
    every persistent object in it that has not been stored yet.
    """
    if limit is None:
        limit = settings.PAYLOAD_BYTES
    size = weigh(value)
    if size is not None:
        if size > limit:
            raise InputRejected(_too_long(size, limit))
        return size
    # A value that is no plain data gets a record of its own, however short it
    # is: without its class it cannot be loaded, and the job still can.
    return max(_trial(value, jar, limit), INLINE_BYTES + 1)


def _trial(value: Any, jar: Connection | None, limit: int) -> int:
    out = _Counter(limit)
    # Objects that have no oid yet will be stored with the job: each is pickled
    # as it will be then.  None gets an oid here, for the caller may abort.
    todo = [value]
    seen: dict[int, Any] = {}

    def persistent_id(obj: Any) -> Any:
        for refuse in refusals:
            refuse(obj)
        if isinstance(obj, WeakRef):
            return ['w', b'']
        if not isinstance(obj, Persistent):
            return None
        if obj._p_oid is not None and obj._p_jar is not None:
            _refuse_foreign(obj, jar)
            return obj._p_oid
        if id(obj) not in seen:
            seen[id(obj)] = obj
            todo.append(obj)
        return b'new'

    pickler = pickle.Pickler(out, 3)
    pickler.persistent_id = persistent_id
    while todo:
        obj = todo.pop()
        for refuse in refusals:
            refuse(obj)
        # ZODB stores a persistent object by its state.  The value itself is
        # stored as a reference, where it is persistent.
        try:
            pickler.dump(obj.__getstate__() if id(obj) in seen else obj)
        except InputRejected:
            raise
        except Exception as reason:
            raise InputRejected(
                f'cannot be pickled: {type(obj).__name__}: {reason}; pass '
                f'plain data, module-level classes or persistent objects'
            ) from reason
        pickler.clear_memo()
    return out.size


def _refuse_proxy(obj: Any) -> None:
    # No security proxy exists before zope.security is loaded, and this module
    # must not load it.
    security = sys.modules.get('zope.security.proxy')
    if security is not None and type(obj) is security.Proxy:
        raise InputRejected(
            'contains a security proxy: pass the bare object '
            '(zope.security.proxy.removeSecurityProxy); permissions are '
            'checked again when the job runs as its submitter')


def _refuse_wrapper(obj: Any) -> None:
    # The same for Acquisition.  The host has packed the wrapped inputs that it
    # finds; one that is left would be stored without its place, or not at all.
    acquisition = sys.modules.get('Acquisition')
    if acquisition is not None and acquisition.aq_base(obj) is not obj:
        raise InputRejected(
            f'contains an acquisition-wrapped object ({obj.__class__.__name__}'
            f') where it cannot keep its place: as the input, or in a dict, '
            f'list or tuple of it, it can in Zope; anywhere else, and in '
            f'results, pass its path or the bare object (Acquisition.aq_base)')


def _refuse_result(obj: Any) -> None:
    # Where it can stand it was replaced before: see adding/following.
    if obj is RESULT:
        raise InputRejected(
            'contains RESULT where no result can take its place: it stands '
            'for the result of the job before, as the input of a call that '
            'follows one, or as a value in a dict, list or tuple of it')


#: Functions that are called with each object before its trial pickling, and
#: raise InputRejected.  A host adds its own.
refusals: list[Callable[[Any], None]] = [
    _refuse_proxy, _refuse_wrapper, _refuse_result]


def _refuse_foreign(obj: Any, jar: Connection | None) -> None:
    """Raise InputRejected for an object that ``jar`` cannot refer to."""
    other = obj._p_jar
    if jar is None or other is jar:
        return
    try:
        name = other.db().database_name
        ours = jar.db()
        reachable = (ours.xrefs and ours.databases.get(name) is other.db()
                     and jar.get_connection(name) is other)
    except Exception:
        # A connection that has been closed no longer knows its database.
        reachable = False
    if not reachable:
        raise InputRejected(
            f'contains a persistent object of another database or '
            f'connection ({type(obj).__name__}): load it through the '
            f'connection of the service')
    # ZODB would refuse it, too, at the commit: it does not know in which of
    # the two databases to store it.
    if other._implicitlyAdding(obj._p_oid):
        raise InputRejected(
            f'contains an object ({type(obj).__name__}) that is new in the '
            f'database {name}, while the job is stored in {ours.database_name}'
            f': commit it before, or add it to its database by '
            f'Connection.add()')


def copied(value: Any) -> Any:
    """A copy of a value that can be stored, for another job.

    Persistent objects in it stay the same ones: the copy refers to them.
    Cost: it is pickled once.
    """
    if type(value) in _ATOMS or type(value) in (str, bytes):
        return value
    others: list[Any] = []

    def persistent_id(obj: Any) -> Any:
        if not isinstance(obj, Persistent | WeakRef):
            return None
        others.append(obj)
        return len(others) - 1

    out = io.BytesIO()
    pickler = pickle.Pickler(out, 3)
    pickler.persistent_id = persistent_id
    pickler.dump(value)
    out.seek(0)
    unpickler = pickle.Unpickler(out)
    unpickler.persistent_load = others.__getitem__
    return unpickler.load()


def wrap(value: Any, size: int) -> Any:
    """The value as it is kept in a job record: itself, or a Payload."""
    # A persistent object is stored as a reference, however large it is.
    if size > INLINE_BYTES and not isinstance(value, Persistent):
        return Payload(value)
    return value


def find_broken(value: Any) -> str | None:
    """The name of a class that is gone, if an instance of it is in here.

    ZODB loads such objects as placeholders that do nothing.
    Cost: looks at no more than 10,000 objects that are not plain.
    """
    todo = [value]
    seen: set[int] = set()
    while todo and len(seen) < 10_000:
        obj = todo.pop()
        if isinstance(obj, Broken):
            return f'{type(obj).__module__}.{type(obj).__name__}'
        if id(obj) in seen or isinstance(
                obj, (bool, int, float, str, bytes, type(None))):
            continue
        seen.add(id(obj))
        if isinstance(obj, dict):
            todo += [*obj, *obj.values()]
        elif isinstance(obj, list | tuple | set | frozenset):
            todo += obj
        # A persistent object is not loaded here: the task may never use it.
        elif not isinstance(obj, Persistent):
            todo += getattr(obj, '__dict__', {}).values()
    return None


def unwrap(stored: Any) -> Any:
    """The value that ``wrap`` was given."""
    return stored.value if type(stored) is Payload else stored


def seal(value: Any, size: int) -> bytes | Payload:
    """The value as it is kept where code may go on to change it in place.

    What it does to the value later must neither be stored with the next
    commit, nor be there for a run that begins anew on the same connection.
    """
    return (pickle.dumps(value, 3) if size <= INLINE_BYTES
            else Payload(value))


def unseal(stored: bytes | Payload) -> Any:
    """The value that ``seal`` was given, as it was stored: a new object.

    Persistent objects in it are those of the connection.
    """
    if isinstance(stored, bytes):
        return pickle.loads(stored)
    # What the code before has made of it in memory is forgotten; a record
    # that is not committed yet stays.
    stored._p_deactivate()
    return stored.value
