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

import heapq
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Protocol

from lovely.remotetask.edge.clock import KEY_RANDOM
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.job import Job
from lovely.remotetask.store.claims import Token
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.following import place_held
from lovely.remotetask.store.gates import Gate
from lovely.remotetask.store.paging import Paging
from lovely.remotetask.store.places import is_at_front
from lovely.remotetask.store.ready import Ready
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.states import is_final

#: ``lanes()``: the numbers of the lanes to take jobs from; None: all.
Lanes = Callable[[], Collection[int] | None]

#: ``fits(job, count)``: may this job share a commit with the ``count`` before?
Fits = Callable[[Job, int], bool]

#: ``able(key, job)``: can this worker run the job, which waits at this key?
Able = Callable[[int, Job], bool]

# How many jobs that a worker cannot run now a claim passes by, or bars.
_PASSED_JOBS = 128


class Flow(Protocol):
    """The gates of the jobs, as the worker that claims knows them: see
    run.flow.
    """

    freed: set[str]

    def gates(self, job: Job) -> tuple[Gate, ...]:
        """The gates that a job has to pass."""

    def stay(self, name: str, opens: float) -> None:
        """Note that a gate lets none pass until then."""


class Claiming(Paging):
    """The part of a queue that gives jobs to threads."""

    if TYPE_CHECKING:
        # JobQueue has these: a claim starts jobs, and the end of a worker
        # puts its jobs back.
        def start(self, job: Job, token: Token, now: float) -> None: ...

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
            self.make_due_ready(now)
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
        ready = job.status == QUEUED and is_at_front(job.position)
        return job if ready and not self.rests(job.queue, now) else None

    def claim_this(self, jobid: int, token: Token, now: float, mine: str,
                   flow: Flow, force: bool = False) -> Job | None:
        """Claim a job that may be run by its id; see ``runnable``.

        A claimed one changes hands: its token says who may finish it.
        Returns: the job; None if it may not be run, or one of its gates is
        shut.
        Raises: Retired if the slot is not the worker's (any more).
        """
        slot = self._own(*token[:2])
        job = self.runnable(jobid, now, mine, force)
        if job is None:
            return None
        gates = flow.gates(job)
        if self.shut_gate(job, gates, now) is not None:
            return None
        self._turn(slot, token[1], [(-1, jobid)], ahead=False)
        self.start(job, token, now)
        self.gates.enter(gates, job.id, token, now)
        return job

    def claim_next(self, tokens: Iterator[Token], now: float, flow: Flow,
                   ready: Ready | None = None,
                   lanes: Collection[int] | None = None,
                   fits: Fits | None = None,
                   able: Able | None = None) -> list[Job]:
        """Claim the jobs that run next, and take them out of their lanes.

        The caller has made ready what is due: a queue may be new by that.
        Arguments: ``tokens``, an endless iterator; ``flow``, which knows their
        gates: a job that has one is claimed alone; ``ready``, of the queue to
        take from, None: of the default one; ``lanes``, the numbers of
        those to take from, None: all; ``fits``: may more than one job be
        claimed?  ``able``: jobs for which it says False are left where they
        stand.
        Returns: the jobs, in the order in which they are to run.
        Raises: Retired if the slot is not the worker's (any more).
        Txn: writes lanes that others write, and so needs one of its own.
        """
        token = next(tokens)
        slot, ready = self._own(*token[:2]), ready or self.ready
        place_held(self, token[1], now)
        chosen: list[tuple[int, Job]] = []
        gates: tuple[Gate, ...] = ()
        passed = 0
        for key, barred, job in self._next(ready, lanes, flow, now):
            if passed == _PASSED_JOBS:
                break
            if able is not None and not able(key, job):
                passed += 1
                if barred is not None:
                    self.unbar_job(barred, job)     # for other workers
                continue
            found = flow.gates(job)
            if found and chosen:
                break
            if found and barred is None and not self._passes(
                    key, job, found, flow, now):
                passed += 1
                continue
            # Asked of the first job, too: may others join it?
            more = not found and fits is not None and fits(job, len(chosen))
            if chosen and not more:
                break
            if barred is None:
                ready.take(key)
            else:
                self.barred.pull(barred)
            chosen.append((key, job))
            gates = found
            if not more:
                break
        if chosen:
            self._turn(slot, token[1], [(key, job.id) for key, job in chosen],
                       ahead=False, ready=ready)
            self._start_all(chosen, token, tokens, now)
            self.gates.enter(gates, chosen[0][1].id, token, now)
        return [job for _, job in chosen]

    def _next(self, ready: Ready, lanes: Collection[int] | None, flow: Flow,
              now: float) -> Iterator[tuple[int, int | None, Job]]:
        """The jobs to run next: (ready key, key in ``barred`` or None, job).
        """
        queued: Iterator[tuple[int, int | None, Job]] = (
            (key, None, job) for key, job in self._queued(ready, lanes))
        if not flow.freed:
            return queued
        names = list(flow.freed)
        if len(names) > _PASSED_JOBS:
            # By chance, or those at the end might never have their turn.
            names = KEY_RANDOM.sample(names, _PASSED_JOBS)
        return heapq.merge(queued, sorted(self.unbarred(
            names, flow.gates, now, flow.stay), key=_first), key=_first)

    def _passes(self, key: int, job: Job, gates: tuple[Gate, ...],
                flow: Flow, now: float) -> bool:
        """Do its gates let a ready job pass?  Bars it where one does not."""
        shut = self.shut_gate(job, gates, now)
        if shut is not None:
            gate, opens = shut
            flow.stay(gate.name, opens)
        else:
            earlier = self.gate_of_earlier(job, key, gates)
            if earlier is None:
                return True
            gate = earlier
            flow.freed.add(gate.name)
        self.bar(job, gate, key)
        return False

    def claim_suspect(self, token: Token, now: float, flow: Flow,
                      able: Able | None = None) -> Job | None:
        """Claim the next of the jobs that ran when their worker died.

        Arguments: ``flow``, ``able``: as for ``claim_next``; ``able`` has
        asked for the gates.
        Returns: the job; None: there is none.
        Raises: Retired if the slot is not the worker's (any more).
        """
        slot = self._own(*token[:2])
        job = self._next_suspect(able)
        if job is not None:
            self._turn(slot, token[1], [(-1, job.id)], ahead=False)
            self.start(job, token, now)
            self.gates.enter(flow.gates(job), job.id, token, now)
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

    def able_suspects(self, able: Able | None = None
                      ) -> Iterator[tuple[int, Job]]:
        """The jobs that ran when their worker died, with their keys; lazy.

        Arguments: ``able``: as for ``claim_next``.
        """
        for key, jobid in self.suspects.up():
            job = look(self.jobs, jobid)
            if job is not None and not isinstance(job, UnreadableJob) and (
                    able is None or able(key, job)):
                yield key, job

    def claim_ahead(self, tokens: Iterator[Token], now: float, flow: Flow,
                    cursor: ReadCursor, lanes: Lanes,
                    fits: Fits | None = None, able: Able | None = None
                    ) -> list[Job]:
        """Claim the next jobs of the page, and leave the lanes as they are.

        None that has a gate: to pass it writes what others write.

        Arguments, Returns, Raises: as ``claim_next``; ``cursor``, the
        thread's plan; ``lanes()``, asked when the thread looks at them.
        Txn: writes the jobs and, when it turns to a new page, records that
        this slot alone writes: may be part of the commit that ends a job.
        """
        token = next(tokens)
        slot = self._own(*token[:2])
        ready = self.ready_of(slot.claims.queue)
        moment = SYSTEM_CLOCK.monotonic()
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
            if flow.gates(job):
                break
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
                    ahead=True, ready=ready)
            self._start_all(chosen, token, tokens, now)
        return [job for _, job in chosen]

    def _queued(self, ready: Ready, lanes: Collection[int] | None = None
                ) -> Iterator[tuple[int, Job]]:
        """The jobs to run next, with their keys; the caller may take each.

        On its way it removes the entries of jobs that are gone.
        """
        left: set[int] | None = None
        for key, jobid in ready.entries(lanes):
            stands = ready.stands(key, jobid)
            if stands is None:
                continue
            job = self.jobs[jobid] if stands else None
            if job is not None and job.status == QUEUED:
                yield key, job
                continue
            if left is None:
                left = ready.all_left()
            if key not in left:
                # ``del service.jobs[id]`` leaves the entry behind, and so
                # does a status that was assigned from outside.
                ready.take(key)
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
        ran: list[int] = []
        for number in self.slots_of(worker):
            slot = self.slots[number]
            found += self.claimed(number)
            held = self.held(number)
            ran += [jobid for _, jobid in slot.claims.page()]
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
        self.unbar_after(ran)
        return [job.id for job in found]


def _first(entry: tuple[int, int | None, Job]) -> int:
    return entry[0]
