"""How jobs are claimed, and how the claims of a slot come to an end.

::

    claim_this   one job by its id          }
    claim_suspect  one that may have killed }  in a transaction of its own:
                   its worker               }  the entries are removed
    claim_next   the jobs that run next     }
    claim_ahead  the next jobs of the page     in the commit that ends a job:
                                               the entries stay in the lanes
    log_ended    the slot's log notes the jobs that the page has completed
    remove_left  the page is closed; its entries are removed from the lanes
    retire       the worker is gone: its jobs go back, its slots are free

Each claim writes the Job.  The first two write the slot's claims as well; the
third does so when it turns to a new page, and in between its commit ends a job
that carries a token of the slot.  ``retire`` writes the claims of each slot
and each such job, so that a claim at the same moment conflicts with it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lovely.remotetask.edge.clock import KEY_RANDOM
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.job import Job
from lovely.remotetask.store import records
from lovely.remotetask.store.claims import Entries
from lovely.remotetask.store.claims import Slot
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.following import place_held
from lovely.remotetask.store.lanes import prefetch
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import ghosts
from lovely.remotetask.store.records import look
from lovely.remotetask.store.states import is_final
from lovely.remotetask.store.timetable import Timetable
from lovely.remotetask.store.workers import Retired

#: (worker id, slot, number): the worker and slot that run a job, and the
#: number of the claim.  No two claims share a token.
Token = tuple[str, int, int]

#: ``lanes()``: the numbers of the lanes to take jobs from; None: all.
Lanes = Callable[[], Collection[int] | None]

#: ``fits(job, count)``: may this job share a commit with the ``count`` before?
Fits = Callable[[Job, int], bool]

#: ``able(key, job)``: can this worker run the job, which waits at this key?
Able = Callable[[int, Job], bool]

# How many jobs that a worker cannot run a claim passes by.
_PASSED_JOBS = 128


class Claiming(Timetable):
    """The part of a queue that gives jobs to threads."""

    if TYPE_CHECKING:
        # JobQueue has these: a claim starts jobs, and the end of a worker
        # puts its jobs back.
        def start(self, job: Job, token: Token, now: float) -> None: ...

        paused: bool

        def give_back(self, job: Job, now: float) -> None: ...

        def interrupt(self, job: Job, now: float,
                      share: float = 1) -> list[Job]: ...

    # -- a claim --------------------------------------------------------------

    def runnable(self, jobid: int, now: float, mine: str, force: bool = False
                 ) -> Job | None:
        """The job of this id, if it may be run by its id now, else None.

        It may where it waits for a thread, or was claimed for that.
        Arguments: ``mine``, the id of the worker that has claimed what
        ``claimNextJob`` of this process gave; ``force``: a person wants it:
        also what waits for its time, a retry, ``startJob`` or ``resume``, but
        not what a worker runs.
        Txn: makes ready what is due.
        """
        if not force and self.has_due(now):
            self._make_due_ready(now)
        job = look(self.jobs, jobid)
        if (job is None or isinstance(job, UnreadableJob)
                or job.status is None or is_final(job.status)):
            return None
        if job.status == PROCESSING:
            owner = job.claim[0] if job.claim else None
            free = owner == mine or (force and owner not in self.workers)
            return job if free else None
        if force:
            if job.status != QUEUED:
                self.enqueue(job)
            return job
        ready = (job.status == QUEUED and job.position is not None
                 and job.position[0] in ('ready', 'suspects'))
        return job if ready and not self.paused else None

    def claim_this(self, jobid: int, token: Token, now: float, mine: str,
                   force: bool = False) -> Job | None:
        """Claim a job that may be run by its id; see ``runnable``.

        A claimed one changes hands: its token says who may finish it.
        Returns: the job; None if it may not be run.
        Raises: Retired if the slot is not the worker's (any more).
        """
        slot = self._own(*token[:2])
        job = self.runnable(jobid, now, mine, force)
        if job is None:
            return None
        self._turn(slot, token[1], [(-1, jobid)], ahead=False)
        self.start(job, token, now)
        return job

    def claim_next(self, tokens: Iterator[Token], now: float,
                   lanes: Collection[int] | None = None,
                   fits: Fits | None = None,
                   able: Able | None = None) -> list[Job]:
        """Claim the jobs that run next, and take them out of their lanes.

        Arguments: ``tokens``, an endless iterator; ``lanes``, the numbers of
        those to take from, None: all; ``fits``: may more than one job be
        claimed?  ``able``: jobs for which it says False are left where they
        stand.
        Returns: the jobs, in the order in which they are to run.
        Raises: Retired if the slot is not the worker's (any more).
        Txn: writes lanes that others write, and so needs one of its own.
        """
        token = next(tokens)
        slot = self._own(*token[:2])
        place_held(self, token[1], now)
        self._make_due_ready(now)
        chosen: list[tuple[int, Job]] = []
        passed = 0
        for key, job in self._queued(lanes):
            if able is not None and not able(key, job):
                passed += 1
                if passed == _PASSED_JOBS:
                    break
                continue
            # Asked of the first job, too: may others join it?
            more = fits is not None and fits(job, len(chosen))
            if chosen and not more:
                break
            self.ready.take(key)
            chosen.append((key, job))
            if not more:
                break
        if chosen:
            self._turn(slot, token[1], [(key, job.id) for key, job in chosen],
                       ahead=False)
            self._start_all(chosen, token, tokens, now)
        return [job for _, job in chosen]

    def claim_suspect(self, token: Token, now: float,
                      able: Able | None = None) -> Job | None:
        """Claim the next of the jobs that ran when their worker died.

        Arguments: ``able``: as for ``claim_next``.
        Returns: the job; None: there is none.
        Raises: Retired if the slot is not the worker's (any more).
        """
        slot = self._own(*token[:2])
        job = self._next_suspect(able)
        if job is not None:
            self._turn(slot, token[1], [(-1, job.id)], ahead=False)
            self.start(job, token, now)
        return job

    def _next_suspect(self, able: Able | None = None) -> Job | None:
        """The next suspect; on its way removes what is gone."""
        for key, jobid in list(self.suspects.up()):
            job = look(self.jobs, jobid)
            if isinstance(job, UnreadableJob):
                continue
            here = job is not None and job.position == ('suspects', key)
            if job is not None and here and job.status == QUEUED:
                if able is None or able(key, job):
                    return job
                continue
            self.suspects.pull(key)
            if job is not None and here:
                self.rehome(job)
        return None

    def first_suspect(self, able: Able | None = None) -> int | None:
        """The key of the next job that ran when its worker died, or None.

        Arguments: ``able``: as for ``claim_next``.
        """
        for key, jobid in self.suspects.up():
            job = look(self.jobs, jobid)
            if job is not None and not isinstance(job, UnreadableJob) and (
                    able is None or able(key, job)):
                return key
        return None

    def claim_ahead(self, tokens: Iterator[Token], now: float,
                    cursor: ReadCursor, lanes: Lanes,
                    fits: Fits | None = None, able: Able | None = None
                    ) -> list[Job]:
        """Claim the next jobs of the page, and leave the lanes as they are.

        Arguments, Returns, Raises: as ``claim_next``; ``cursor``, the
        thread's plan; ``lanes()``, asked when the thread looks at them.
        Txn: writes the jobs and, when it turns to a new page, records that
        this slot alone writes: may be part of the commit that ends a job.
        """
        token = next(tokens)
        slot = self._own(*token[:2])
        ready, moment = self.ready, SYSTEM_CLOCK.monotonic()
        turns = not cursor.is_current(ready, lanes, moment)
        if turns:
            cursor.look(ready, lanes(), moment)
            self._prefetch(cursor)
        chosen: list[tuple[int, Job]] = []
        while cursor.plan or (turns and cursor.extend()):
            key, jobid = cursor.plan[0]
            job = ready.live(key, jobid)
            if (job is None or job.status != QUEUED
                    or (able is not None and not able(key, job))):
                cursor.plan.popleft()
                cursor.pass_by(key)
                continue
            more = fits is not None and fits(job, len(chosen))
            if chosen and not more:
                break
            cursor.plan.popleft()
            cursor.claim(key)
            chosen.append((key, job))
            if not more:
                break
            if not cursor.plan and not turns:
                # The group goes on behind the page.
                cursor.look(ready, lanes(), moment)
                self._prefetch(cursor)
                turns = True
        if chosen:
            if turns:
                self._turn(slot, token[1], [
                    *((key, job.id) for key, job in chosen), *cursor.plan],
                    ahead=True)
            self._start_all(chosen, token, tokens, now)
        return [job for _, job in chosen]

    def check_slot(self, worker: str, number: int) -> None:
        """Raise Retired if the slot is not the worker's (any more)."""
        self._own(worker, number)

    def _own(self, worker: str, number: int) -> Slot:
        """The slot, if it is this worker's.  Raises: Retired."""
        slot = self.slots.get(number)
        if slot is None or slot.owner != worker:
            raise Retired
        found: Slot = slot
        return found

    def _queued(self, lanes: Collection[int] | None = None
                ) -> Iterator[tuple[int, Job]]:
        """The jobs to run next, with their keys; the caller may take each.

        On its way it removes the entries of jobs that are gone.
        """
        left: set[int] | None = None
        for key, jobid in self.ready.entries(lanes):
            stands = self.ready.stands(key, jobid)
            if stands is None:
                continue
            job = self.jobs[jobid] if stands else None
            if job is not None and job.status == QUEUED:
                yield key, job
                continue
            if left is None:
                left = self.ready.all_left()
            if key not in left:
                # ``del service.jobs[id]`` leaves the entry behind, and so
                # does a status that was assigned from outside.
                self.ready.take(key)
                if job is not None:
                    self.rehome(job)

    def _start_all(self, chosen: list[tuple[int, Job]], token: Token,
                   tokens: Iterator[Token], now: float) -> None:
        for key, job in chosen:
            # start() would do no more than this for them.
            self.check_owned(job)
            job.put(status=PROCESSING, claim=token, position=None,
                    ready_key=key, startedAt=now,
                    attempts=(job.attempts or 0) + 1)
            token = next(tokens)

    def _prefetch(self, cursor: ReadCursor) -> None:
        """Load the jobs of a plan in one round trip to a server."""
        if self._p_jar is not None:
            jobs = ghosts(self.jobs, (jobid for _, jobid in cursor.plan))
            cold = [job for job in jobs if job._p_changed is None]
            if len(cold) > 1:
                prefetch(cold)

    # -- the page -------------------------------------------------------------

    def _turn(self, slot: Slot, number: int, entries: Entries,
              ahead: bool) -> None:
        """Give a slot a new page, before the jobs on it are started."""
        carried = self._carried(number)
        self._close(slot, number)
        chosen = {jobid for _, jobid in entries}
        slot.claims.turn(
            [*(entry for entry in carried if entry[1] not in chosen),
             *entries], ahead)
        ids = slot.claims.ids
        if ids is None or self.jobs.free(ids) is None:
            slot.claims.ids = self.jobs.reserve(KEY_RANDOM.randrange)

    def _carried(self, number: int) -> Entries:
        """What stays claimed when a slot's page ends."""
        kept = [job.id for job in self.claimed(number)]
        # claimed() has looked at each job of the page, and would have found
        # those that cannot be read.
        if records.found_any:
            kept += self.held(number)
        return [(-1, jobid) for jobid in kept]

    def _close(self, slot: Slot, number: int) -> None:
        self.log_ended(number)
        slot.claims.leave(self.ready.left_of(slot.claims))

    def log_ended(self, number: int) -> None:
        """Note in a slot's log the jobs that its page has completed.

        Called in the commit that ends a job and claims none of the page.
        """
        self.slots[number].completed.extend(self.unlogged(number))

    def remove_left(self, worker: str, number: int) -> None:
        """Close a slot's page; remove its entries from the lanes.

        Raises: Retired if the slot is not the worker's (any more).
        Txn: writes lanes that others write, and so needs one of its own.
        """
        slot = self._own(worker, number)
        carried = self._carried(number)
        self._end_page(slot, number, carried)

    def _end_page(self, slot: Slot, number: int, carried: Entries) -> None:
        self._close(slot, number)
        self.ready.remove_left(slot.claims.left)
        slot.claims.turn(carried, ahead=False)
        slot.claims.leave_nothing()

    # -- the end of a worker --------------------------------------------------

    def retire(self, worker: str, now: float, charged: bool,
               added: list[Job] | None = None) -> list[int]:
        """Take a worker out: put its jobs back, free its slots.

        Arguments: ``charged``: True if it died, so that its jobs count an
        interruption; ``added``, a list to which the jobs are added that
        follow those which end so.
        Returns: the ids of the jobs.
        Txn: writes the claims of its slots: a claim of the worker at the same
        time conflicts.
        """
        found: list[Job] = []
        for number in self.slots_of(worker):
            slot = self.slots[number]
            found += self.claimed(number)
            held = self.held(number)
            place_held(self, number, now)
            # The next owner of the slot has no entries left in the lanes.
            self._end_page(slot, number, [])
            slot.owner = None
            self.set_aside(held, now)
        self.workers.pop(worker, None)
        for job in found:
            if charged:
                # Which of several has killed it is not known.
                followers = self.interrupt(job, now, 1 / len(found))
                if added is not None:
                    added += followers
            else:
                self.give_back(job, now)
        return [job.id for job in found]
