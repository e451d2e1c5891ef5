"""Jobs that wait behind a gate which is shut: see gates."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from math import inf

from lovely.remotetask.edge import caller
from lovely.remotetask.interfaces import QUEUED
from lovely.remotetask.job import Job
from lovely.remotetask.store.gates import Gate
from lovely.remotetask.store.gates import barred_key
from lovely.remotetask.store.gates import behind
from lovely.remotetask.store.gates import last_like
from lovely.remotetask.store.gates import names_of
from lovely.remotetask.store.gates import span_of
from lovely.remotetask.store.gates import unbarred_key
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.order import tagged
from lovely.remotetask.store.order import untagged
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import look
from lovely.remotetask.store.timetable import Timetable

#: ``gates_of(job)``: the gates that a job has to pass, as a worker knows them.
GatesOf = Callable[[Job], tuple[Gate, ...]]

# How many jobs of a queue that rests a claim takes from one gate.
_MOST_AT_REST = 128

# How many places a job that comes back looks at, before it goes to the end.
_NEAR_PLACES = 64


class Barring(Timetable):
    """The part of a queue that keeps jobs behind their gates, in order."""

    def shut_gate(self, job: Job, gates: Iterable[Gate], now: float
                  ) -> tuple[Gate, float] | None:
        """The gate that keeps a job back now.

        Returns: the gate, and when it opens (seconds since 1970; inf: when a
        job ends that runs); None: the job may pass them all.
        """
        for gate in gates:
            opens = self.gates.opens(gate, now, job.id)
            if opens is not None:
                return gate, opens
        return None

    def lets_in(self, gates_of: GatesOf, now: float
                ) -> Callable[[int, Job], bool]:
        """Tells of a job, (key, job), whether all its gates are open now."""
        return lambda key, job: self.shut_gate(job, gates_of(job), now) is None

    def gate_of_earlier(self, job: Job, key: int, gates: Iterable[Gate]
                        ) -> Gate | None:
        """The gate behind which another job has waited for longer, or None.

        Arguments: ``key``, the ready key of the job.
        """
        if self.barred:
            for gate in gates:
                first = self.first_barred(gate.name)
                if first is not None and first[1] is not job and (
                        _ready_key(*first) <= key):
                    return gate
        return None

    def bar(self, job: Job, gate: Gate, key: int) -> None:
        """Let a job wait behind a gate, and not in its lane.

        Arguments: ``key``, its ready key.
        Txn: writes lanes that others write.  It conflicts with the end of each
        job that keeps the gate shut, for the worker of that one would not see
        that this one waits.
        """
        for other in self.gates.running(gate.name):
            caller.read_current(self._p_jar, other)
        self.take_from_front(job)
        # The whole key: its place behind the gate tells less.
        self.put_in(job, 'barred', self._place_behind(gate.name, key),
                    ready_key=key, claim=None,
                    status=self._move(job, QUEUED))

    def _place_behind(self, name: str, key: int) -> int:
        """Where in ``barred`` a job is to stand.

        Jobs that came within 8 ms need as many places, and reach into the time
        of those that came later: these must not stand between them.
        Arguments: ``key``, its ready key.
        Cost: O(log n), however many came at one moment.
        """
        place = barred_key(name, key)
        tree = self.barred.trees[0]
        last = tree.maxKey(last_like(place))
        if last < place:
            return place
        latest = self._barred(last)
        if latest is not None and _ready_key(last, latest) <= key:
            return int(last) + 1
        # One that comes back, for it was made ready, and the gate is shut.
        for near in range(place, place + _NEAR_PLACES):
            if near not in tree:
                return near
        return int(last) + 1

    def first_barred(self, name: str) -> tuple[int, Job] | None:
        """The job that is the next behind a gate, with its key in ``barred``.
        """
        first, last = behind(name)
        for key in self.barred.trees[0].keys(first, last):
            job = self._barred(key)
            if job is not None and name in names_of(job):
                return key, job
        return None

    def _first_awake(self, name: str, now: float) -> tuple[int, Job] | None:
        """The same, of those whose queue does not rest.

        The others go back among the ready jobs of their queue: they would keep
        those behind them back for as long as it rests.
        """
        for _ in range(_MOST_AT_REST):
            found = self.first_barred(name)
            if (found is None
                    or self.ready_of(found[1].queue).pause(now) is None):
                return found
            self.unbar_job(*found)
        return None

    def _barred(self, key: int) -> Job | None:
        jobid = self.barred.get(key)
        job = None if jobid is None else look(self.jobs, jobid)
        return job if (job is not None and job.position == ('barred', key)
                       and not isinstance(job, UnreadableJob)
                       and job.status == QUEUED) else None

    def _tidy(self, key: int) -> None:
        """Remove an entry behind which there is no job that waits.

        ``del service.jobs[id]`` leaves one, and so does a status that was
        assigned from outside.
        """
        jobid = self.barred.get(key)
        job = None if jobid is None else look(self.jobs, jobid)
        if not isinstance(job, UnreadableJob):
            self.barred.pull(key)
            if job is not None and job.position == ('barred', key):
                self.rehome(job)

    def next_barred(self, able: Callable[[int, Job], bool]) -> Job | None:
        """The next barred job of any gate, however shut that is, or None.

        On its way removes what is gone.
        Arguments: ``able``: as for ``claim_next``.
        """
        for key in list(self.barred.trees[0].keys(SENT + 1)):
            job = self._barred(key)
            if job is None:
                self._tidy(key)
            elif able(_ready_key(key, job), job):
                return job
        return None

    def unbar(self, name: str) -> bool:
        """Make the next job behind a gate ready; False: there is none.

        A claim that finds the gate shut all the same bars it again.
        """
        found = self.barred and self.first_barred(name)
        if not found:
            return False
        self.unbar_job(*found)
        return True

    def unbar_job(self, key: int, job: Job) -> None:
        """Make a barred job ready, at the place that it had.

        Arguments: ``key``, in ``barred``.
        """
        self.barred.pull(key)
        self.put_in(job, self.ready_of(job.queue).place,
                    tagged(untagged(_ready_key(key, job)),
                           job.concurrencyKey),
                    status=self._move(job, QUEUED))

    def unbar_after(self, ids: Iterable[int]) -> None:
        """Make the jobs ready that come after some which run no more.

        For a worker that can claim nothing itself.
        """
        if self.barred:
            for name in {name for jobid in ids
                         if (job := look(self.jobs, jobid)) is not None
                         for name in names_of(job)}:
                self.unbar(name)

    def barred_names(self, start: int | None, limit: int, tidy: bool = False
                     ) -> tuple[list[str], int | None]:
        """The names of gates behind which jobs wait, of at most ``limit``.

        Arguments: ``start``, what the call before returned, at first None;
        ``tidy``: remove entries that no job belongs to any more.
        Returns: the names, and the ``start`` of the next call, None at the
        end.
        Cost: O(limit * log n), with a load of a job for each.
        """
        names: list[str] = []
        at = SENT + 1 if start is None else start
        for _ in range(limit):
            key = next(iter(self.barred.trees[0].keys(at)), None)
            if key is None:
                return names, None
            job = self._barred(key)
            if job is not None:
                names += names_of(job)
                at = span_of(key)[1] + 1
                continue
            if tidy:
                self._tidy(key)
            at = key + 1
        return names, at

    def unbarred(self, names: Iterable[str], gates_of: GatesOf, now: float,
                 stay: Callable[[str, float], None]
                 ) -> Iterator[tuple[int, int, Job]]:
        """The jobs behind these gates that may run now; lazy.

        Arguments: ``stay(name, opens)``, told of each gate that lets none
        pass, with the moment (seconds since 1970) at which it opens, inf where
        an end of a job will tell.
        Returns: (ready key, key in ``barred``, job) for each.
        """
        for name in names:
            found = self._first_awake(name, now)
            if found is None:
                stay(name, inf)
                continue
            key, job = found
            shut = self.shut_gate(job, gates_of(job), now)
            if shut is None:
                yield _ready_key(key, job), key, job
                continue
            gate, opens = shut
            stay(name, opens)
            if gate.name != name:
                # It would keep back those that only this gate had barred.
                self.barred.pull(key)
                self.bar(job, gate, _ready_key(key, job))


def _ready_key(key: int, job: Job) -> int:
    """The ready key of a barred job.  Arguments: ``key``, in ``barred``."""
    return unbarred_key(key) if job.ready_key is None else job.ready_key
