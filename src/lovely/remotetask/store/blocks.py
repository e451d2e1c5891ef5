"""Blocks: the mapping of all jobs, which behaves like one IOBTree.

Built from plain BTrees classes, as the lanes are.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any
from typing import overload

from BTrees.Interfaces import IBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError
from zope.interface import implementer

if TYPE_CHECKING:
    from BTrees.IOBTree import IOBTree
    from BTrees.IOBTree import IOBucket

    from lovely.remotetask.job import Job
    from lovely.remotetask.store.local import Local

_SHIFT = 4      # blocks of 16 ids: the fastest of 8, 16, 32 and 64
_LAST_OF_BLOCK = (1 << _SHIFT) - 1


@implementer(IBTree)
class Blocks(Persistent):
    """A mapping int -> object that behaves like an IOBTree.

    Consecutive ids share a bucket of 16, and only the connection that drew a
    block adds to it: four producers conflict 1 to 3 times in 1,000 adds, with
    one flat tree 94 times, and an add writes half the bytes.

    Arguments: ``family``, BTrees.family32 or family64.
    """

    def __init__(self, family: Any) -> None:
        # block number -> a bucket of that block's ids
        self._tree: IOBTree[IOBucket[Job]] = family.IO.BTree()
        self._last = family.maxint >> _SHIFT

    @property
    def end(self) -> int:
        """The number behind the largest id."""
        return (self._last + 1) << _SHIFT

    def load(self) -> None:
        """Load what all jobs hang on; raises where that cannot be read."""
        self._p_activate()
        self._tree._p_activate()

    def _block(self, key: Any) -> Any:
        # A key that is no integer is in no IOBTree, and to look for it is no
        # error there.
        try:
            block = self._tree.get(key >> _SHIFT)
        except TypeError:
            return ()
        if block is None:
            return ()
        # One whose record is lost raises POSKeyError here.  The truth of a
        # bucket would not: BTrees leaves the error for a later line.
        if block._p_changed is None:
            block._p_activate()
        return block

    def blocks_of(self, ids: Iterable[int]) -> list[IOBucket[Job]]:
        """The blocks that have these ids, not loaded."""
        found = (self._tree.get(number)
                 for number in {key >> _SHIFT for key in ids})
        return [block for block in found if block is not None]

    def has_block(self, key: int) -> bool:
        """Is there a block for this id?  (Ids are drawn with this.)"""
        return key >> _SHIFT in self._tree

    def draw_id(self, mine: Local, last: int) -> int:
        """An id that is not taken: consecutive ones in one connection.

        Consecutive ids share a block, and only the connection that drew a
        block adds to it: that keeps concurrent adders apart.
        Arguments: ``mine``, the connection's Local; ``last``, the largest id.
        """
        while True:
            if mine.next_id is None and mine.reserved is not None:
                mine.next_id = self.free(mine.reserved)
                if mine.next_id is not None:
                    mine.own_end = mine.reserved[1]
                mine.reserved = None
            jobid = mine.next_id
            drawn = jobid is None
            if jobid is None:
                # From the module-level generator: applications seed it to
                # predict ids.
                jobid = random.randrange(0, last)
            mine.next_id = jobid + 1
            if jobid == mine.own_end:
                mine.own_end = None
            enters = jobid % 16 == 0 and not drawn and mine.own_end is None
            if (jobid <= last and self._is_free(jobid)
                    and not (enters and self.has_block(jobid))):
                return jobid
            mine.next_id = None

    def _is_free(self, jobid: int) -> bool:
        try:
            return jobid not in self
        except POSKeyError:
            # Where all blocks are lost, no id would ever be free.
            self.load()
            return False            # its block is lost

    def reserve(self, draw: Callable[[int], int]) -> tuple[int, int]:
        """Make an empty block, for ids that are given out later.

        A connection that adds to a block of its own which is there already
        writes no object that others write, however old its snapshot is.
        Arguments: ``draw(n)``, a random int below ``n``.
        Returns: its first id, and the one behind its last.
        """
        number = draw(self._last)
        while number in self._tree:
            number = draw(self._last)
        self._tree[number] = self._tree._bucket_type()
        return number << _SHIFT, (number + 1) << _SHIFT

    def free(self, ids: tuple[int, int]) -> int | None:
        """The first of these ids that is behind all that are taken.

        Returns: None if none is left, or their block is gone or lost.
        """
        try:
            block = self._block(ids[0])
        except POSKeyError:
            return None
        if block == ():
            return None
        first = max(ids[0], block.maxKey() + 1) if block else ids[0]
        return first if first < ids[1] else None

    def is_front(self, key: int) -> bool:
        """Is this the first id of a block to which others may come?

        To delete it conflicts with each add there; to delete others does not.
        """
        block = self._block(key)
        return bool(block) and block.minKey() == key and (
            (key | _LAST_OF_BLOCK) not in block)

    def __contains__(self, key: Any) -> bool:
        return key in self._block(key)

    def __getitem__(self, key: Any) -> Job:
        block = self._block(key)
        if key not in block:
            raise KeyError(key)
        return block[key]

    @overload
    def get(self, key: Any) -> Job | None: ...

    @overload
    def get(self, key: Any, default: Any) -> Any: ...

    def get(self, key: Any, default: Any = None) -> Any:
        # One look into the block: each step of a run calls this.
        block = self._block(key)
        return block.get(key, default) if block else default

    def __setitem__(self, key: int, value: Any) -> None:
        block = self._block(key)
        if block == ():
            block = self._tree._bucket_type()
            # First into the bucket: a key that is no id must not change the
            # tree.
            block[key] = value
            self._tree[key >> _SHIFT] = block
        else:
            block[key] = value

    def __delitem__(self, key: int) -> None:
        try:
            block = self._block(key)
        except POSKeyError:
            # It cannot be stored without this one: the others go with it.
            del self._tree[key >> _SHIFT]
            return
        if key not in block:
            self._tree.get(key)         # TypeError for a key of another type
            if not isinstance(key, int):
                raise TypeError('expected integer key')
            raise KeyError(key)
        del block[key]
        if not block:
            del self._tree[key >> _SHIFT]

    def ids(self, start: int | None = None) -> Iterator[int]:
        """The keys from ``start`` on; of a block that is lost, all it may have
        held.
        """
        first = None if start is None else start >> _SHIFT
        for number, block in self._tree.items(first):
            try:
                block._p_activate()
                found: Any = block.keys()
            except POSKeyError:
                found = range(number << _SHIFT, (number + 1) << _SHIFT)
            yield from (key for key in found if start is None or key >= start)

    def insert(self, key: int, value: Any) -> int:
        if key in self:
            return 0
        self[key] = value
        return 1

    def setdefault(self, key: int, default: Any) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    _absent = object()

    def pop(self, key: int, default: Any = _absent) -> Any:
        if not isinstance(key, int):
            raise TypeError('expected integer key')
        value = self.get(key, default)
        if value is Blocks._absent:
            raise KeyError(key)
        if key in self:
            del self[key]
        return value

    def popitem(self) -> tuple[int, Any]:
        for key in self:
            return key, self.pop(key)
        raise KeyError('popitem(): empty BTree.')

    def update(self, items: Any) -> None:
        for key, value in (items.items() if hasattr(items, 'items')
                           else items):
            self[key] = value

    def clear(self) -> None:
        self._tree.clear()

    def byValue(self, minValue: Any) -> list[tuple[Any, int]]:
        # An IOBTree has it, although jobs have no order.
        return sorted(((value, key) for key, value in self.items()
                       if value >= minValue), reverse=True)

    def has_key(self, key: Any) -> bool:
        return key in self

    def minKey(self, key: int | None = None) -> int:
        for found in self.keys(key):
            return found
        raise ValueError('empty tree' if not self else
                         'no key satisfies the conditions')

    def maxKey(self, key: int | None = None) -> int:
        # From the right: to list all keys would load all blocks.
        tree = self._tree
        number = None if key is None else key >> _SHIFT
        while tree:
            try:
                number = tree.maxKey() if number is None else tree.maxKey(
                    number)
                return tree[number].maxKey(key)
            except ValueError:
                if number is None or number < tree.minKey():
                    break
                number -= 1
        raise ValueError('empty tree' if not tree else
                         'no key satisfies the conditions')

    def keys(self, min: int | None = None, max: int | None = None,
             excludemin: bool = False, excludemax: bool = False) -> _Items:
        return _Items(self, 'keys', (min, max, excludemin, excludemax))

    def values(self, min: int | None = None, max: int | None = None,
               excludemin: bool = False, excludemax: bool = False) -> _Items:
        return _Items(self, 'values', (min, max, excludemin, excludemax))

    def items(self, min: int | None = None, max: int | None = None,
              excludemin: bool = False, excludemax: bool = False) -> _Items:
        return _Items(self, 'items', (min, max, excludemin, excludemax))

    def iterkeys(self, *args: Any, **kw: Any) -> Iterator[int]:
        return iter(self.keys(*args, **kw))

    def itervalues(self, *args: Any, **kw: Any) -> Iterator[Any]:
        return iter(self.values(*args, **kw))

    def iteritems(self, *args: Any, **kw: Any) -> Iterator[tuple[int, Any]]:
        return iter(self.items(*args, **kw))

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys())

    def __len__(self) -> int:
        return sum(map(len, self._tree.values()))

    def __bool__(self) -> bool:
        return any(self._tree.values())

    # Set operations give a set of keys, as those of BTrees do.
    def _set(self, other: Any = None) -> Any:
        kind = type(self._tree & self._tree)
        return kind(self.keys() if other is None else other)

    def __and__(self, other: Any) -> Any:
        return self._set() & self._set(other)

    def __or__(self, other: Any) -> Any:
        return self._set() | self._set(other)

    def __sub__(self, other: Any) -> Any:
        return self._set() - self._set(other)

    __rand__ = __and__
    __ror__ = __or__

    def __rsub__(self, other: Any) -> Any:
        return self._set(other) - self._set()


class _Items:
    """A lazy range of keys, values or items; as a BTree's: len and index."""

    def __init__(self, blocks: Blocks, kind: str,
                 limits: tuple[int | None, int | None, bool, bool]) -> None:
        self._blocks = blocks
        self._kind = kind
        self._limits = limits

    def __iter__(self) -> Iterator[Any]:
        low, high, excludemin, excludemax = self._limits
        # To exclude an end without a limit means the end of the whole tree,
        # not that of each block.
        if low is None and excludemin and self._blocks:
            low = self._blocks.minKey()
        if high is None and excludemax and self._blocks:
            high = self._blocks.maxKey()
        for block in self._blocks._tree.values(
                None if low is None else low >> _SHIFT,
                None if high is None else high >> _SHIFT):
            yield from getattr(block, self._kind)(
                low, high, excludemin, excludemax)

    def __len__(self) -> int:
        if self._limits == (None, None, False, False):
            return len(self._blocks)
        return sum(1 for _ in self)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) or index < 0:
            return list(self)[index]
        for found in islice(self, index, None):
            return found
        raise IndexError(index)
