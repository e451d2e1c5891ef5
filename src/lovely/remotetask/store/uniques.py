"""Unique keys: which job holds a key that no two jobs may have at once."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from typing import Any
from zlib import crc32

from BTrees.OLBTree import OLBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import KEY_CHARS
from lovely.remotetask.errors.bounds import is_key
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.store import states
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.blocks import Blocks

_SHARDS = 64

# After how many jobs the cache of a connection that reads all is shrunk.
_READ_BATCH = 500


def check_key(key: Any) -> None:
    """Raise UsageError unless this can be a unique key."""
    if not is_key(key):
        raise UsageError(f'key is {shown(key)}; give a text of 1 to '
                         f'{KEY_CHARS} characters')


def _is_whole(tree: OLBTree[str]) -> bool:
    try:
        for _ in tree.items():
            pass
    except POSKeyError:
        return False
    return True


def _note_open(trees: tuple[OLBTree[str], ...], jobs: Blocks) -> None:
    """Note in the new ones of these trees who has which key.

    Each job that is not over knows its key.
    """
    found: dict[str, tuple[float, int]] = {}
    for number, jobid in enumerate(jobs.ids()):
        entry = _open_key(look(jobs, jobid))
        if entry is not None:
            key, since = entry
            # A job that runs may have been replaced: the later one has it.
            found[key] = max(found.get(key, (since, jobid)), (since, jobid))
        if jobs._p_jar is not None and number % _READ_BATCH == 0:
            jobs._p_jar.cacheGC()
    for key, (_, jobid) in found.items():
        tree = trees[_shard(key)]
        # Others may write those that were not lost.
        if tree._p_jar is None:
            tree[key] = jobid


def _open_key(job: Job | None) -> tuple[str, float] | None:
    """The key of a job that is not over, and when it was added."""
    if job is None:
        return None
    key, status = ((job.known.get('key'), job.known.get('status'))
                   if isinstance(job, UnreadableJob)
                   else (job.key, job.status))
    if key is None or status is None or states.is_final(status):
        return None
    since = job.createdAt
    return key, 0.0 if since is None else since.timestamp()


def _shard(key: str) -> int:
    # Not hash(): its value for a text differs from process to process.
    return crc32(key.encode('utf-8', 'surrogatepass')) % _SHARDS


class UniqueKeys(Persistent):
    """A mapping key (str) -> job id, which many may write at once.

    An entry stays when its job ends, so that a finish need not write here: an
    add with the key looks at the job.  Two transactions that take one key at
    the same time write the same entry, and one of them conflicts.

    Built from plain BTrees classes, as the lanes are, and spread over many
    trees: a split conflicts with each other write in a small tree.
    """

    def __init__(self) -> None:
        self._trees: tuple[OLBTree[str], ...] = tuple(
            OLBTree() for _ in range(_SHARDS))

    def _tree(self, key: str) -> OLBTree[str]:
        return self._trees[_shard(key)]

    def holder(self, key: str, jobs: Blocks) -> Job | None:
        """The job that has this key, over or not; None: no job has it.

        Arguments: ``jobs``, the mapping of all jobs.
        Raises: NewerRecord.
        Cost: O(log n).
        """
        job = look(jobs, self._tree(key).get(key))
        if isinstance(job, UnreadableJob):
            if job.newer:
                raise NewerRecord(str(job.error))
            # Another process may run it, but for a record that is lost.
            return (job if job.known.get('key') == key
                    and not states.is_final(job.known.get('status'))
                    else None)
        # ``del service.jobs[id]`` leaves the entry, and the id is used again.
        return job if job is not None and job.key == key else None

    def take(self, key: str, job: Job, before: Job | None) -> None:
        """Give the key to a job.

        Arguments: ``before``, the holder of the key until now, or None.
        """
        if before is not None and states.is_final(before.status):
            # Written, so that a retry of it at the same time conflicts.  Never
            # while it runs: that would undo its work.  It keeps the text of
            # its key: a later retry of it has to see who has the key now.
            before.put(key=key)
        job.put(key=key)
        self._tree(key)[key] = job.id

    def has(self, key: str, jobid: int) -> bool:
        """Was the key given to this job, and to no other one since?"""
        found: int | None = self._tree(key).get(key)
        return found == jobid

    def release(self, job: Job) -> None:
        """Forget the key, if any, of a job that is about to be deleted."""
        self.drop(job.key, job.id)

    def drop(self, key: str | None, jobid: int) -> None:
        """Forget a key, if it still is this job's."""
        if key is None:
            return
        tree = self._tree(key)
        if tree.get(key) == jobid:
            del tree[key]

    def renew(self, jobs: Blocks) -> bool:
        """Put a tree in the place of each that has lost a record.

        The keys of the jobs that are not over are noted there again.
        Returns: was there any?
        Raises: POSKeyError where the mapping of jobs is lost, too.
        Cost: O(keys), and O(jobs) where any is lost.
        """
        trees = tuple(tree if _is_whole(tree) else OLBTree()
                      for tree in self._trees)
        if trees == self._trees:
            return False
        _note_open(trees, jobs)
        self._trees = trees
        return True

    def note_open(self, jobs: Blocks) -> None:
        """Note the keys of all jobs that are not over, in new trees.

        Raises, Cost: as ``renew``.
        """
        _note_open(self._trees, jobs)

    def some(self, shard: int, start: str | None, limit: int
             ) -> tuple[list[tuple[str, int]], tuple[int, str | None] | None]:
        """The keys of a tree and their jobs' ids, at most ``limit``.

        Arguments: ``shard``, the number of the tree; ``start``, a key.
        Returns: the keys, and shard and start of the next call, None at the
        end.
        """
        if not 0 <= shard < _SHARDS:
            return [], None
        found = list(islice(self._trees[shard].items(start), limit + 1))
        if len(found) > limit:
            return found[:limit], (shard, found[limit][0])
        return found, None if shard + 1 == _SHARDS else (shard + 1, None)
