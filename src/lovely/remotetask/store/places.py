"""Places: the lanes and logs of a queue, and how a job moves between them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from BTrees.OOBTree import OOBTree
from ZODB.POSException import POSKeyError

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import time_key
from lovely.remotetask.edge.losses import refuse_disowned
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.job import Job
from lovely.remotetask.store import records
from lovely.remotetask.store import states
from lovely.remotetask.store.gates import Gate
from lovely.remotetask.store.gates import Gates
from lovely.remotetask.store.gates import names_of
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.store.limits import Limits
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.order import next_moment
from lovely.remotetask.store.order import ready_key
from lovely.remotetask.store.ready import Ready
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.uniques import UniqueKeys
from lovely.remotetask.store.workers import DIRECT_SLOT
from lovely.remotetask.store.workers import Workers

if TYPE_CHECKING:
    from lovely.remotetask.store.blocks import Blocks


#: The names of the lanes of each queue; see ``lane_names`` for the others.
LANES = ('ready', 'suspects', 'barred', 'waiting', 'missing', 'due', 'later',
         'cancelled')


# How many lanes there are of each; fewer than of ready jobs, for producers and
# workers do not meet here.
_COUNTS = {'suspects': 1, 'barred': 1, 'missing': 1, 'due': 16, 'waiting': 16,
           'later': 16, 'cancelled': 16}


def is_at_front(position: tuple[str, Any] | None) -> bool:
    """Does a job that stands there wait for a thread, or behind a gate?"""
    return position is not None and (
        position[0] in ('suspects', 'barred') or is_ready(position))


def is_ready(position: tuple[str, Any] | None) -> bool:
    """Does a job that stands there wait among the ready ones of its queue?"""
    return position is not None and position[0].startswith('ready')


class Places(Workers):
    """The lanes of a queue, beside the logs of its slots."""

    # The types stand in comments: see job.
    # How long jobs that are over are kept: status -> (days, count); None: as
    # the defaults say.
    retention = None    # type: dict[str, tuple[float | None, int | None]]|None
    # What the code of the workers declares: see retention.declared.
    declared = None     # type: Any
    # What was removed before a history had it: see uncounted.
    uncounted = None    # type: Any

    def __init__(self, jobs: Blocks) -> None:
        super().__init__(jobs)
        self.ready = Ready(jobs, self.slots)
        # Those of the queues that have a name, made at their first job.
        self.named: OOBTree[str, Ready] = OOBTree()
        # Jobs that ran when their worker died; one may have been the cause.
        # They are few, and keep the keys that they had among the ready ones.
        self.suspects = Lanes(_COUNTS['suspects'])
        # Jobs that wait behind a gate: their order is that of their gate.
        self.barred = Lanes(_COUNTS['barred'])
        self.gates = Gates(jobs)
        self.limits = Limits()
        # Jobs that no worker can run now, the longest missing first.
        self.missing = Lanes(_COUNTS['missing'])
        self.due = Lanes(_COUNTS['due'])
        self.waiting = Lanes(_COUNTS['waiting'])
        self.later = Lanes(_COUNTS['later'])
        self.cancelled = Lanes(_COUNTS['cancelled'])
        self.uniques = UniqueKeys()

    def ready_of(self, queue: str | None) -> Ready:
        """The jobs of a queue that wait for a thread.

        Arguments: ``queue``, its name; None: the default one.
        Txn: makes a named one at its first use; two that do so at the same
        moment conflict.
        """
        if queue is None:
            return self.ready
        found = self.named.get(queue)
        if found is None:
            found = self.named[queue] = Ready(self.jobs, self.slots, queue)
        return found

    def all_ready(self) -> list[Ready]:
        """The jobs that wait for a thread, of each queue."""
        return [self.ready, *self.named.values()]

    def lanes(self, place: str) -> Any:
        """The lanes of this name, one of ``lane_names``.  Raises: KeyError."""
        if place in LANES:
            return getattr(self, place)
        return self.named[place.removeprefix('ready/')]

    def lane_names(self) -> list[str]:
        """The names of all lanes of this queue."""
        return [*LANES, *(f'ready/{name}' for name in self.named)]

    def waits_at(self, queue: str | None, key: int, jobid: int) -> bool:
        return self.ready_of(queue).holds(key, jobid)

    def put_in(self, job: Job, name: str, key: int, **values: Any) -> None:
        self.take_out(job)
        key = self.lanes(name).insert(key, job.id)
        job.put(position=(name, key), **values)

    def check_owned(self, job: Job) -> None:
        """Refuse a job that ZODB has disowned; each verb comes by here.

        Its lanes would be committed, and the job would not.
        Raises: OidGivenTwice, a ConflictError.
        """
        if job._p_jar is not self._p_jar:
            refuse_disowned(job, self)

    def take_out(self, job: Job) -> None:
        self.check_owned(job)
        # A job may have been deleted and its id used again, or its position
        # may be from another queue: discard() checks whose the entry is.
        if job.position is not None:
            self.discard(job.position, job.id)

    def take_from_front(self, job: Job) -> None:
        """Take a job out of the ready ones that a claim has met there.

        Near the front a plain removal meets each add.
        """
        if job.position is not None and is_ready(job.position):
            with suppress(KeyError):
                self.lanes(job.position[0]).take(job.position[1])

    def discard(self, position: tuple[str, Any], jobid: int) -> None:
        """Remove an entry, if it still is this job's."""
        name, key = position
        if name in LOGS:
            slot = self.slots.get(key[0])
            if slot is not None:
                getattr(slot, name).discard(key[1], jobid)
        else:
            with suppress(KeyError):
                self.lanes(name).discard(key, jobid)

    def renew(self, name: str) -> bool:
        """Let nothing of these lanes, logs or keys be lost any more.

        The jobs that stood in what is lost stand nowhere then; a check puts
        them back.
        Arguments: ``name``, of lanes or logs, ``keys`` or ``gates``.
        Returns: was anything lost that is there now?
        Raises: POSKeyError where a slot, or the mapping of jobs, is lost, too.
        """
        if name == 'keys':
            return self._renew_keys()
        if name == 'gates':
            return self._renew_gates()
        if name in LOGS:
            return any([slot.renew(name) for slot in self.slots.values()])
        if name not in self.lane_names():
            return False
        try:
            return bool(self.lanes(name).renew())
        except POSKeyError:
            # The record that holds the lanes together.
            if name not in LANES:
                queue = name.removeprefix('ready/')
                self.named[queue] = Ready(self.jobs, self.slots, queue)
                return True
            setattr(self, name, Ready(self.jobs, self.slots)
                    if name == 'ready' else Lanes(_COUNTS[name]))
            return True

    def _renew_gates(self) -> bool:
        """Note anew which jobs run; limits that were set are lost."""
        try:
            self.limits._p_activate()
            limits_lost = False
        except POSKeyError:
            self.limits, limits_lost = Limits(), True
        if self.gates.is_whole():
            return limits_lost
        self.gates = Gates(self.jobs)
        for number in self.slots:
            for job in self.claimed(number):
                if job.claim is not None:
                    self.gates.enter([Gate(name) for name in names_of(job)],
                                     job.id, job.claim, 0)
        return True

    def _renew_keys(self) -> bool:
        try:
            return self.uniques.renew(self.jobs)
        except POSKeyError:
            # The record that holds them together, or the mapping of jobs.
            keys = UniqueKeys()
            keys.note_open(self.jobs)
            self.uniques = keys
            return True

    def _move(self, job: Job, status: str) -> str:
        self.check_owned(job)
        states.check(job.id, job.status, status)
        return status

    def log(self, job: Job, name: str, number: int, now: float,
            **values: Any) -> None:
        """Give a job that is over its place in a slot's log.

        A job that a thread completes is noted there later, with the others of
        its page: see Claiming.log_ended.
        """
        self.take_out(job)
        log = getattr(self.slots[number], name)
        moment = next_moment(log, now)
        if name == ERROR or number == DIRECT_SLOT:
            log.extend([(moment, job.id)])
        job.put(position=(name, (number, moment)), **values)

    def set_aside(self, ids: Iterable[int], now: float) -> None:
        """Let jobs that cannot be read stand with those that have failed."""
        log = self.slots[DIRECT_SLOT].error
        for jobid in ids:
            log.extend([(next_moment(log, now), jobid)])

    def drop(self, job: UnreadableJob) -> None:
        """Delete a job whose record cannot be read, and its entries.

        Raises: NewerRecord for one that a newer release has written.
        Cost: O(1) where its class is gone, and its record tells where it
        stands; else O(jobs): all lanes are searched.
        """
        if job.newer:
            raise NewerRecord(str(job.error))
        jobid, known = job.id, job.known
        self.uniques.drop(known.get('key'), jobid)
        position = known.get('position')
        if position is None or known.get('next') is not None:
            self._drop_entries(jobid)
        else:
            self.discard(position, jobid)
        with suppress(KeyError):        # it has gone with others of its block
            del self.jobs[jobid]
        records.forget(self.jobs, jobid)

    def _drop_entries(self, jobid: int) -> None:
        for name in self.lane_names():
            for key, found in self.lanes(name).entries_up():
                if found == jobid:
                    self.discard((name, key), jobid)
                    break
        for number, slot in self.slots.items():
            for name in LOGS:
                for moment, found in getattr(slot, name).down():
                    if found == jobid:
                        self.discard((name, (number, moment)), jobid)
                        break

    def rehome(self, job: Job) -> None:
        """Move a job to the place of a status that was assigned from outside.
        """
        if job.status in LOGS:
            self.log(job, job.status, DIRECT_SLOT, SYSTEM_CLOCK.now())
        elif job.status == CANCELLED:
            self.put_in(job, 'cancelled', time_key(SYSTEM_CLOCK.now()))
        else:
            self.take_out(job)
            job.put(position=None)

    def enqueue(self, job: Job) -> None:
        """Make the job ready to run, behind its equals in priority."""
        self.put_in(
            job, self._front(job),
            ready_key(job.priority or 0, self, job.concurrencyKey),
            status=self._move(job, QUEUED))

    def _front(self, job: Job) -> str:
        """The lanes in which a job waits for a thread."""
        return ('suspects' if job.interruptions
                else self.ready_of(job.queue).place)

    def shelve(self, job: Job) -> None:
        """Keep the job back until ``startJob``."""
        self.put_in(job, 'later', time_key(SYSTEM_CLOCK.now()),
                    status=self._move(job, STARTLATER))


def no_longer_missing(job: Job) -> dict[str, Any]:
    """What is stored of a job that has run: its task was there.

    A job that kept the moment would fail at once where another worker lacks
    its task, days later, as if it had been missing all the time.
    """
    if job.missing_since is None:
        return {}
    return {'missing_since': None, 'error': None}
