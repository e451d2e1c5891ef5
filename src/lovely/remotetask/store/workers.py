"""The workers of a service, and which slots their threads have."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

from lovely.remotetask.context import Told
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import iso
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.job import Job
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.claims import ALL_QUEUES
from lovely.remotetask.store.claims import Progress
from lovely.remotetask.store.claims import Serves
from lovely.remotetask.store.claims import Slot
from lovely.remotetask.store.history import History
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.lanes import prefetch_ends
from lovely.remotetask.store.log import LOGS
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look

#: The roles of workers, with which their ids begin.  A loop runs jobs until it
#: is stopped, and has lanes of its own; a processor may be called job by job;
#: a direct worker claims by ``service.claimNextJob()``, whose caller runs the
#: job.
LOOP = 'loop'
PROCESSOR = 'processor'
DIRECT = 'direct'

#: The slot of direct processing; it has no owner.
DIRECT_SLOT = 0


class Retired(RuntimeFault):
    """This worker was declared dead; it goes on under a new id."""


class Beat(Persistent):
    """A sign of life: a record of its own, for it is written while jobs run.

    Attributes: ``count``, by which others see that it is another one; ``at``,
    when it was given (seconds since 1970), for people: no clock decides.
    """

    count = 0
    at: float | None = None

    def give(self) -> None:
        """Give another sign."""
        self.count += 1
        self.at = SYSTEM_CLOCK.now()


class WorkerRecord(Persistent):
    """A worker as the database knows it.

    Attributes: ``evidence``, by which other workers find out whether it lives
    (ILiveness); ``beat`` (Beat), None where no worker watches it; ``lacks``,
    the names of tasks that it has met and does not have (tuple of str);
    ``since``, when it became known (seconds since 1970); ``stuck``, the jobs
    in which its threads are stuck, and why (tuples of job id and text);
    ``reruns``, name of a task -> how often its jobs ran again because of a
    conflict; ``declares``, what it says of the schedules of the code: see
    store/declared.py.
    """

    lacks: tuple[str, ...] = ()
    since: float | None = None
    stuck: tuple[tuple[int, str], ...] = ()
    # Neither is ever changed in place.
    reruns: dict[str, int] = {}     # noqa: RUF012
    declares: dict[str, str] = {}   # noqa: RUF012

    def __init__(self, evidence: tuple[Any, ...],
                 beat: Beat | None) -> None:
        self.evidence = evidence
        self.beat = beat
        self.since = SYSTEM_CLOCK.now()
        if beat is not None:
            beat.at = self.since


class Workers(Persistent):
    """Who runs the jobs of a service: its workers and their threads' slots.

    Attributes: ``jobs``, the mapping of all jobs; ``workers``, id ->
    WorkerRecord; ``slots``, number -> Slot.
    """

    if TYPE_CHECKING:
        # Places has it: is there an entry of this job among the ready ones?
        def waits_at(self, queue: str | None, key: int, jobid: int
                     ) -> bool: ...

    def __init__(self, jobs: Blocks) -> None:
        self.jobs = jobs
        self.slots = IOBTree({DIRECT_SLOT: Slot(None)})
        self.workers: OOBTree[str, WorkerRecord] = OOBTree()

    def enroll(self, worker: str, evidence: tuple[Any, ...],
               beats: bool) -> None:
        """Make a worker known.

        Arguments: ``worker``, its id; ``evidence``, see ILiveness;
        ``beats``: True if it gives signs of life.
        """
        if worker not in self.workers:
            self.workers[worker] = WorkerRecord(
                evidence, Beat() if beats else None)

    def take_slot(self, worker: str, serves: Serves = ALL_QUEUES) -> int:
        """Give a worker's thread a slot of its own.

        Arguments: ``serves``, the queues whose jobs it runs.
        Returns: its number, of a free one or a new one.
        Raises: Retired if the worker is not known (any more).
        """
        if worker not in self.workers:
            raise Retired
        for number, slot in self.slots.items():
            if number != DIRECT_SLOT and slot.owner is None:
                slot.give_to(worker, serves)
                return int(number)
        number = self.slots.maxKey() + 1
        self.slots[number] = Slot(worker)
        self.slots[number].give_to(worker, serves)
        return int(number)

    def load_slots(self) -> None:
        """Load what a look at all slots needs, in some round trips."""
        slots = list(self.slots.values())
        prefetch(slots)
        prefetch(part for slot in slots
                 for part in (slot.claims, slot.completed, slot.error))
        logs = []
        for slot in slots:
            for name in LOGS:
                # One that is lost is told of by the look at it.
                with suppress(POSKeyError):
                    log = getattr(slot, name)
                    log._p_activate()
                    logs.append(log)
        prefetch(log.length for log in logs)
        prefetch_ends([log.buckets for log in logs], -1)

    def history_of(self, number: int) -> History:
        """The history of a slot; a lost one is begun anew."""
        found: History | None = self.slots[number].history
        with suppress(POSKeyError):
            if found is not None:
                found._p_activate()
                return found
        return self.new_history(number)

    def new_history(self, number: int) -> History:
        """Give a slot an empty history."""
        history = self.slots[number].history = History()
        return history

    def note_lacking(self, worker: str, names: Iterable[str]) -> None:
        """Note that a worker does not have these tasks.

        Its threads own no lanes from now on: the jobs there would wait for
        it.
        Raises: Retired if the worker is not known (any more).
        """
        record = self.workers.get(worker)
        if record is None:
            raise Retired
        record.lacks = tuple(sorted({*record.lacks, *names}))
        if worker.startswith(LOOP):
            for number in self.slots_of(worker):
                self.slots[number].guest = True

    def has_worker_with(self, task: str, lacking: str) -> bool:
        """May a worker that runs jobs on and on have this task?

        Arguments: ``lacking``, the id of one that does not.
        Cost: O(workers).
        """
        return any(worker != lacking and worker.startswith(LOOP)
                   and task not in record.lacks
                   for worker, record in self.workers.items())

    def slots_of(self, worker: str) -> list[int]:
        """The numbers of the slots that a worker's threads have."""
        return [number for number, slot in self.slots.items()
                if slot.owner == worker]

    def claimed(self, number: int) -> list[Job]:
        """The jobs that run under claims of a slot.

        A job may stand on pages of several slots.  It runs under the claim of
        one, which the token that it carries names.
        Cost: O(jobs of a page).
        """
        slot = self.slots[number]
        if slot.owner is None:
            return []
        found = (look(self.jobs, jobid) for _, jobid in slot.claims.page())
        return [job for job in found
                if job is not None and job.status == PROCESSING
                and job.claim is not None
                and job.claim[:2] == (slot.owner, number)]

    def held(self, number: int) -> list[int]:
        """The jobs on a slot's page that cannot be read, and stand nowhere
        else.
        Cost: O(jobs of a page).
        """
        slot = self.slots[number]
        return [] if slot.owner is None else [
            jobid for key, jobid in slot.claims.page()
            if isinstance(job := look(self.jobs, jobid), UnreadableJob)
            and (job.known.get('status') == PROCESSING
                 and job.known.get('claim', ())[:2] == (slot.owner, number)
                 if job.known else not self.waits_at(
                     slot.claims.queue, key, jobid))]

    def claims_of(self, worker: str) -> list[int]:
        """The ids of the jobs that run under claims of a worker."""
        return [job.id for number in self.slots_of(worker)
                for job in self.claimed(number)]

    def list_workers(self) -> list[dict[str, Any]]:
        """See ITaskService.listWorkers"""
        return [self._row(worker, record)
                for worker, record in self.workers.items()]

    def _row(self, worker: str, record: WorkerRecord) -> dict[str, Any]:
        slots = self.slots_of(worker)
        running = [(number, job) for number in slots
                   for job in self.claimed(number)]
        # See Identity: role:host:pid:random.
        role, host, pid, *_ = (*worker.split(':'), '', '', '')
        return {
            'id': worker, 'role': role, 'host': host,
            'pid': int(pid) if pid.isdigit() else None,
            'threads': len(slots), 'since': iso(record.since),
            'lastSign': (None if record.beat is None
                         else iso(record.beat.at)),
            'jobs': [self._running(number, job) for number, job in running],
            'stuck': [{'id': jobid, 'why': why}
                      for jobid, why in record.stuck],
            'evidence': [str(part[0]) for part in record.evidence],
            'claims': [job.id for _, job in running],
            'lacks': list(record.lacks), 'slots': slots}

    def note_progress(self, token: tuple[str, int, int], told: Told) -> None:
        """Note how far a run has come, if its slot still is its worker's.

        Txn: writes the slot's Progress, and of a slot that an earlier release
        has made the slot once.
        """
        slot = self.slots.get(token[1])
        if slot is None or slot.owner != token[0]:
            return
        if slot.progress is None:
            slot.progress = Progress()
        slot.progress.token = token
        slot.progress.told = told.done, told.total, told.message, told.at

    def progress_of(self, job: Job) -> Told | None:
        """How far a job that runs has come; None: its task does not tell.

        Cost: O(1): a record of the slot is loaded.
        """
        if job.status != PROCESSING or job.claim is None:
            return None
        slot = self.slots.get(job.claim[1])
        # A record that is lost must not hide the job.
        with suppress(POSKeyError):
            if (slot is not None and slot.progress is not None
                    and slot.progress.token == job.claim):
                return Told(*slot.progress.told)
        return None

    def _running(self, number: int, job: Job) -> dict[str, Any]:
        began = job.startedAt
        return {'id': job.id, 'task': job.task, 'attempt': job.attempts,
                'slot': number,
                'since': None if began is None else began.isoformat(),
                'seconds': None if began is None else round(
                    max(0.0, SYSTEM_CLOCK.now() - began.timestamp()), 1)}

    def reruns(self) -> dict[str, int]:
        """How often jobs ran again by conflicts: name of the task -> int."""
        found: dict[str, int] = {}
        for record in self.workers.values():
            for task, number in record.reruns.items():
                found[task] = found.get(task, 0) + number
        return found

    def running(self) -> Iterator[int]:
        """The ids of the jobs that run."""
        for number in self.slots:
            for job in self.claimed(number):
                yield job.id
            yield from self.held(number)

    def unlogged(self, number: int) -> list[tuple[int, int]]:
        """The jobs that a slot has completed and not noted in its log yet.

        Returns: (moment, job id), in their order; see claims.
        Cost: O(jobs of a page).
        """
        slot = self.slots[number]
        latest = slot.completed.latest()
        found = []
        for _, jobid in slot.claims.page():
            job = look(self.jobs, jobid)
            if job is None or job.position is None:
                continue
            name, key = job.position
            if name == 'completed' and key[0] == number and key[1] > latest:
                found.append((key[1], jobid))
        found.sort()
        return found

    def ended(self, name: str, start: int | None = None
              ) -> Iterator[tuple[int, int]]:
        """The jobs that have ended so, (moment, job id), latest first; lazy.

        Arguments: ``name``, COMPLETED or ERROR; ``start``: none later than it.
        """
        parts = []
        for number, slot in self.slots.items():
            parts.append(getattr(slot, name).down(start))
            if name == COMPLETED:
                parts.append(reversed([
                    entry for entry in self.unlogged(number)
                    if start is None or entry[0] <= start]))
        return heapq.merge(*parts, reverse=True)

    def total(self, number: int, name: str) -> int:
        """How many runs of a slot have ever ended so; it never falls.

        Arguments: ``name``, COMPLETED or ERROR.
        Cost: O(jobs of a page).
        """
        log = getattr(self.slots[number], name)
        more = len(self.unlogged(number)) if name == COMPLETED else 0
        return int(log.total()) + more

    def total_ended(self, number: int) -> int:
        """How many runs of a slot have ever ended, well or badly."""
        return sum(self.total(number, name) for name in LOGS)

    def count_ended(self, name: str) -> int:
        """How many jobs have ended so.  Cost: O(slots)."""
        return sum(len(getattr(slot, name)) + (
            len(self.unlogged(number)) if name == COMPLETED else 0)
            for number, slot in self.slots.items())

