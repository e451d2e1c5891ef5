"""Records of jobs that cannot be read: what one of them does, no other feels.

The class of a job may be gone, its record may be lost, or a newer release may
have written it.  Such a record is left where it stands, for another process
may be able to read it: its entries in the lanes are skipped, and listings show
an UnreadableJob in its place.  Each look at jobs that may be such goes through
``look``, but for the two in the path of a claim, which catch UNREADABLE.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from ZODB import POSException
from ZODB.broken import Broken

from lovely.remotetask import settings
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.losses import UNREADABLE
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.packing import unpack
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.job import Job
from lovely.remotetask.store.lanes import prefetch

if TYPE_CHECKING:
    from lovely.remotetask.store.blocks import Blocks

# For how long (seconds) a record is not tried again: ZODB logs a traceback
# each time.
_RETRY_SECONDS = 30.0

# How many jobs a look at many loads in one round trip.
_MOST_AHEAD = 100

# How many are remembered and logged, for each database.
_NOTES = 10_000


class _Note(NamedTuple):
    """Attributes: ``gone``, is only its class gone?  ``position``, where it
    stands then, if its record tells.
    """

    reason: str
    newer: bool
    gone: bool
    position: Any
    until: float


#: Those that could not be read lately, for each database of this process:
#: (oid of the mapping of jobs, job id) -> _Note.
_notes: weakref.WeakKeyDictionary[Any, dict[Any, _Note]] = (
    weakref.WeakKeyDictionary())

#: Has this process found any?  The path of a claim asks this alone.
found_any = False


class UnreadableJob(Job):
    """Shown in place of a job whose record cannot be read; never stored.

    Attributes: ``known`` (dict), the attributes that the record holds, where
    only its class is gone, else empty; ``newer`` (bool): a newer release has
    written it, and it is left alone.
    """

    def __init__(self, jobid: int, note: _Note, known: dict[str, Any]
                 ) -> None:
        shown = {name: known[name] for name in (
            'task', 'createdAt', 'startedAt', 'completedAt', 'attempts',
            'priority', 'submitter') if known.get(name) is not None}
        self.put(id=jobid, status=UNKNOWN, **{'task': '', **shown}, error=(
            'Unreadable', note.reason, '', NO_ATTEMPT, None))
        self.known = known
        self.newer = note.newer

    def __reduce__(self) -> Any:
        raise TypeError(f'{self!r} only stands in for the job: its record '
                        f'cannot be read')


def look(jobs: Blocks, jobid: Any) -> Job | None:
    """The job, loaded; None: it is gone; an UnreadableJob in its place.

    Logs an ERROR once for each record that cannot be read.
    Raises: POSKeyError where the mapping of jobs is lost.
    """
    if (found_any and (note := noted(jobs, jobid)) is not None
            and not note.gone):
        return UnreadableJob(jobid, note, {})
    try:
        job = jobs.get(jobid)
        if job is None:
            return None
        try:
            _ = job.position
        except AttributeError:
            # An object of a class that is gone loads, and has no attributes.
            known = _known(job)
        else:
            return job
    except UNREADABLE as error:
        # Where the mapping itself is lost, that is no matter of one job: to
        # delete them one by one would empty the lanes.
        jobs.load()
        return UnreadableJob(jobid, _note_down(jobs, jobid, error, None), {})
    return UnreadableJob(jobid, _note_down(
        jobs, jobid, ImportError(f'{_gone(job)}: install what has it, or '
                                 f'cancel the job'),
        known.get('position')), known)


def why_unreadable(job: Any) -> str | None:
    """Why the record of a job cannot be read, without a remedy; None: it can.
    """
    try:
        job._p_activate()
        return None if hasattr(job, 'position') else _gone(job)
    except UNREADABLE as error:
        return _cause(error.__cause__ or error)


def is_damaged(error: BaseException) -> bool:
    """Tells an error that a lost or damaged record raises."""
    return isinstance(error, UNREADABLE) and not isinstance(
        error.__cause__ or error, AttributeError | ImportError | NewerRecord)


def may_stand(jobs: Blocks, jobid: int, place: tuple[str, Any]
              ) -> bool | None:
    """May a job whose record cannot be read stand here?

    Returns: False if its record holds another place, else None: perhaps.
    """
    note = noted(jobs, jobid)
    # Another process may have moved it since: only its record can tell that
    # it stands elsewhere.
    if note is not None and (not note.gone or note.position == place):
        return None
    job = look(jobs, jobid)
    if isinstance(job, UnreadableJob) and job.known:
        return None if job.known.get('position') == place else False
    return None


def ghosts(jobs: Blocks, ids: Iterable[int]) -> Iterator[Job]:
    """Those of these jobs that are there, not loaded."""
    for jobid in ids:
        try:
            job = jobs.get(jobid)
        except UNREADABLE:
            continue
        if job is not None:
            yield job


def load(jobs: Blocks, ids: Iterable[int]) -> None:
    """Load jobs in two round trips to a server, not one or two for each.

    Those that cannot be read are left to the look at them.
    """
    ids = list(ids)
    with suppress(POSException.POSKeyError):
        prefetch(jobs.blocks_of(ids))
        prefetch(ghosts(jobs, ids))


def load_ahead(jobs: Blocks, entries: Iterable[tuple[int, int]], first: int
               ) -> Iterator[tuple[int, int]]:
    """Entries, (key, job id), whose jobs are loaded many at a time.

    Arguments: ``first``, how many of them are needed at least.
    """
    entries, count = iter(entries), min(first, _MOST_AHEAD)
    while taken := list(islice(entries, count)):
        load(jobs, (jobid for _, jobid in taken))
        yield from taken
        count = _MOST_AHEAD


def noted(jobs: Blocks, jobid: Any) -> _Note | None:
    """What is noted of a record that could not be read a moment ago."""
    if not isinstance(jobid, int):
        return None             # from outside: no job has such an id
    note = _notes_of(jobs).get(_key(jobs, jobid))
    if note is None or SYSTEM_CLOCK.monotonic() > note.until:
        return None
    return note


def _note_down(jobs: Blocks, jobid: int, error: Exception, position: Any
               ) -> _Note:
    """Note that a record cannot be read; log it the first time."""
    global found_any
    found_any = True
    found, key = _notes_of(jobs), _key(jobs, jobid)
    cause = error.__cause__ or error
    newer = isinstance(cause, NewerRecord)
    note = _Note(_text(cause), newer, isinstance(cause, ImportError), position,
                 SYSTEM_CLOCK.monotonic() + _RETRY_SECONDS)
    if key not in found:
        if len(found) >= _NOTES:
            return note
        if not newer:
            log.error('job %s cannot be read; it stays where it stands, and '
                      'others run: %s', jobid, note.reason)
        if len(found) == _NOTES - 1:
            log.error('%s jobs cannot be read; no further ones are logged',
                      _NOTES)
    found[key] = note
    return note


def forget(jobs: Blocks, jobid: int) -> None:
    """Forget what is noted of a record that is deleted."""
    _notes_of(jobs).pop(_key(jobs, jobid), None)


def _notes_of(jobs: Blocks) -> dict[Any, _Note]:
    jar = getattr(jobs, '_p_jar', None)
    return {} if jar is None else _notes.setdefault(jar.db(), {})


def _key(jobs: Blocks, jobid: Any) -> Any:
    # A database may have several services.
    return getattr(jobs, '_p_oid', None), jobid


def _gone(job: Any) -> str:
    kind = type(job)
    return (f'its class {kind.__module__}.{kind.__qualname__} cannot be '
            f'imported')


def _text(error: BaseException) -> str:
    remedy = (': restore it from a backup, or cancel the job'
              if isinstance(error, POSException.POSKeyError) else '')
    return _cause(error) + remedy


def _cause(error: BaseException) -> str:
    if isinstance(error, POSException.POSKeyError):
        return f'its record is lost ({type(error).__name__} {error})'
    if isinstance(error, (ImportError, NewerRecord)):
        return str(error)
    return f'{type(error).__name__}: {error}'[:settings.TRACEBACK_CHARS]


def _known(job: Any) -> dict[str, Any]:
    """What the record of a job holds whose class is gone.

    Raises: NewerRecord.
    """
    if not isinstance(job, Broken):
        return {}
    job._p_activate()
    state = job.__Broken_state__
    return unpack(dict(state)) if isinstance(state, dict) else {}
