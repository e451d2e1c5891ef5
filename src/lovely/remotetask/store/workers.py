"""Who runs jobs: workers, and the slots their threads write their logs in.

Source: new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent

from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.store.log import Log

#: The slot of direct processing; nobody owns it.
DIRECT_SLOT = 0


class Retired(RuntimeFault):
    """This worker was declared dead; it goes on under a new id."""


class Beat(Persistent):
    """A sign of life; a record of its own, for it is written while jobs run.
    """

    count = 0


class WorkerRecord(Persistent):
    """A worker as the database knows it.

    Attributes: ``evidence``, what others tell by whether it lives
    (ILiveness); ``beat``, None where nobody watches that.
    """

    def __init__(self, evidence: tuple[object, ...],
                 beat: Beat | None) -> None:
        self.evidence = evidence
        self.beat = beat


class Claims(Persistent):
    """What one thread has claimed; written by its claims only.

    Finish never writes this record, so it may still name jobs that are over;
    the next claim drops them.
    Attributes: ``owner`` (worker id), None: the slot is free.  Whoever
    declares a worker dead writes it, so that a claim at the same moment
    conflicts.  ``jobs`` (tuple of int).  ``ids``, (first, end): what its
    tasks may give to the jobs they add, in a block that is there before they
    start.  ``pulled``, how many jobs were ever taken out of the ready ones
    here: the lanes' own counters know nothing of that.
    """

    ids = None
    pulled = 0

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.jobs: tuple[int, ...] = ()


class Slot(Persistent):
    """One thread's place: what it claims, and what it has ended.

    A number and not a worker's id: a fleet that restarts daily has as many
    logs as it ever had threads at once.
    Attributes: ``claims``; ``completed``, ``error``, logs.
    """

    def __init__(self, owner: str | None) -> None:
        self.claims = Claims(owner)
        self.completed = Log()
        self.error = Log()

    @property
    def owner(self) -> str | None:
        """The id of the worker whose thread this is; None: it is free."""
        return self.claims.owner


class Workers(Persistent):
    """Who runs the jobs of a service: its workers and their threads' slots.

    Attributes: ``jobs``, the mapping of all jobs; ``workers``, id ->
    WorkerRecord; ``slots``, number -> Slot.
    """

    def __init__(self, jobs: Any) -> None:
        self.jobs = jobs
        self.slots = IOBTree({DIRECT_SLOT: Slot(None)})
        self.workers = OOBTree()

    def enroll(self, worker: str, evidence: Any, beats: bool) -> None:
        """See IJobQueue"""
        if worker not in self.workers:
            self.workers[worker] = WorkerRecord(
                evidence, Beat() if beats else None)

    def take_slot(self, worker: str) -> int:
        """See IJobQueue"""
        if worker not in self.workers:
            raise Retired
        for number, slot in self.slots.items():
            if number != DIRECT_SLOT and slot.owner is None:
                slot.claims.owner = worker
                return number
        number = self.slots.maxKey() + 1
        self.slots[number] = Slot(worker)
        return number

    def is_claimed(self, jobid: int, worker: str) -> bool:
        """Is this job running under a claim of this worker?"""
        job = self.jobs.get(jobid)
        return (job is not None and job.status == PROCESSING
                and job.claim is not None and job.claim[0] == worker)

    def _claimed(self, claims: Any) -> list[int]:
        return [jobid for jobid in claims.jobs
                if self.is_claimed(jobid, claims.owner)]

    def claims_of(self, worker: str) -> list[int]:
        """See IJobQueue"""
        return [jobid for slot in self.slots.values()
                if slot.owner == worker
                for jobid in self._claimed(slot.claims)]

    def running(self) -> Iterator[int]:
        """The ids of the jobs that run."""
        for slot in self.slots.values():
            yield from self._claimed(slot.claims)

    def dismiss(self, worker: str) -> list[int]:
        """Take a worker's name out and free its slots.

        Returns: the ids of the jobs it has claimed; they go on carrying its
        tokens until somebody moves them.
        """
        left = self.claims_of(worker)
        for slot in self.slots.values():
            if slot.owner == worker:
                slot.claims.owner, slot.claims.jobs = None, ()
        self.workers.pop(worker, None)
        return left


