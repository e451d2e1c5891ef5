"""What a worker cannot run: jobs whose task, classes or user it lacks.

::

    it lacks the task             it has claimed the job, and could not load
      |                           the input, or knows no such user
      |                             |  (it gives the job back, once)
      +-> the job stays where it stands, for other workers <--+
            |
            +- MISSING_FIRST seconds later, or at once where many such jobs
               hold up the others, and no worker has the task:
               it is set aside with its reason; a worker that has it, or a
               look after MISSING_LAST at those it has claimed, makes it
               ready; after MISSING_GIVE_UP it is claimed, and fails

To leave a job to others writes nothing.  A worker says once which tasks it
lacks: in the log, and in its record, for the other workers.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge.log import log
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.run.run_times import RunTimes
from lovely.remotetask.store.claims import ALL_QUEUES
from lovely.remotetask.store.claims import Serves
from lovely.remotetask.store.records import look

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.store.queue import JobQueue

# How many jobs a claim sets aside, or looks at among those: bounds its
# transaction.
_ASIDE_JOBS = 100

# How soon (seconds) a worker that is held up looks again whether another one
# has the task: each says what it lacks after its first look.
_HELD_UP_SECONDS = 1.0

# How many jobs a worker notes that it cannot run: the oldest are forgotten,
# and claimed and given back once more.
_NOTED_JOBS = 10_000


def is_given_up(job: Job, now: float) -> bool:
    """Has no worker been able to run this job for so long that it fails?"""
    return (job.missing_since is not None
            and now - job.missing_since >= settings.MISSING_GIVE_UP)


class Lacking:
    """What this worker cannot run, as far as it knows.

    Arguments: ``run_times``, which knows the tasks that have run here.
    Attributes: ``unsaid``, the names of tasks that its record does not tell.
    """

    def __init__(self, run_times: RunTimes) -> None:
        self._run_times = run_times
        # Name, or job id -> since when (seconds since 1970).
        self._tasks: dict[str, float] = {}
        self._jobs: dict[int, tuple[float, Failure]] = {}
        self.unsaid: set[str] = set()
        # The next look at jobs that were set aside: when (seconds since 1970),
        # and from which key on.
        self.look_at = 0.0
        self.look_from: int | None = None

    def lacks_task(self, name: str, now: float) -> None:
        """Note that there is no task of this name here."""
        if name not in self._tasks:
            self._tasks[name] = now
            self.unsaid.add(name)
            # These are the words of 0.5.2.
            log.error('Task "%s" not found!', name)
        self._run_times.forget(name)

    def has_task(self, name: str) -> None:
        """Note that there is a task of this name here, maybe again."""
        if self._tasks.pop(name, None) is not None:
            self.unsaid.discard(name)
            self.look_at, self.look_from = 0.0, None

    def lacks_part(self, job: Job, error: Exception, now: float) -> None:
        """Note that this job cannot be run here, for another reason."""
        while len(self._jobs) >= _NOTED_JOBS:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[job.id] = (
            now, Failure.of(error, NO_ATTEMPT, now))
        log.error('Job %s is left to other workers: %s', job.id, error,
                  extra={'job_id': job.id, 'task': job.task,
                         'attempt': job.attempts, 'outcome': 'left'})

    def see(self, find: Callable[[str], Any], now: float,
            serves: Serves = ALL_QUEUES) -> Look:
        """What can be run, for one transaction.

        Arguments: ``find(name)``, the task of that name, or None; ``now``,
        seconds since 1970; ``serves``, the queues whose jobs are run.
        """
        return Look(self, find, now, serves)


class Look:
    """Tells which jobs a worker can run; sets others aside, and takes back.

    Attributes: ``rest``, in how many seconds a job that was passed by may be
    set aside; None: there was none.
    """

    def __init__(self, lacking: Lacking, find: Callable[[str], Any],
                 now: float, serves: Serves) -> None:
        self._serves = serves
        self._lacking = lacking
        self._find = find
        self._now = now
        self._known = lacking._run_times.tasks
        self._jobs = lacking._jobs
        self._missing: set[str] = set()
        self._aside: dict[int, tuple[Job, Failure]] = {}
        # Passed by because of their task, for others to take.
        self._left: dict[int, tuple[Job, Failure]] = {}
        self.rest: float | None = None

    def able(self, key: int, job: Job) -> bool:
        """Can this worker run the job, which waits at this key?"""
        if job.task in self._known and job.id not in self._jobs:
            return True
        noted = self._jobs.get(job.id)
        if noted is None:
            if self._has_task(job.task):
                return True
            noted = (self._lacking._tasks[job.task], Failure(
                'TaskMissing', f'Task "{job.task}" not found! No worker of '
                f'this service has it: it runs once one has', '',
                NO_ATTEMPT, self._now))
        if is_given_up(job, self._now):
            # To be claimed, and to fail as every run does.
            return True
        since, failure = noted
        rest = since + settings.MISSING_FIRST - self._now
        if rest <= 0:
            self._aside[job.id] = job, failure
        else:
            if job.id not in self._jobs:
                self._left[job.id] = job, failure
            self._rest(rest)
        return False

    def _rest(self, seconds: float) -> None:
        self.rest = seconds if self.rest is None else min(self.rest, seconds)

    def _has_task(self, name: str) -> bool:
        if name in self._missing:
            return False
        if self._find(name) is None:
            self._missing.add(name)
            self._lacking.lacks_task(name, self._now)
            return False
        self._lacking.has_task(name)
        return True

    def set_aside(self, queue: JobQueue, worker: str, found: bool) -> None:
        """Let jobs that no worker can run wait, with their reasons.

        Arguments: ``worker``, the id of ours; ``found``: there was a job that
        it can run.
        """
        others: dict[str, bool] = {}
        patience = settings.MISSING_FIRST
        if not found and len(self._left) >= _ASIDE_JOBS:
            # A claim passes by few jobs: those behind would wait as long as
            # these stand there.
            self._aside.update(self._left)
            patience = min(patience, _HELD_UP_SECONDS)
        for job, failure in islice(self._aside.values(), _ASIDE_JOBS):
            if job.id in self._jobs:
                # Later it is claimed again: its class may be there by then.
                del self._jobs[job.id]
            else:
                if job.task not in others:
                    others[job.task] = queue.has_worker_with(job.task, worker)
                if others[job.task]:
                    self._rest(patience)
                    continue
            queue.miss(job, failure, self._now)
            self._rest(0.0)     # there may be more

    def take_back(self, queue: JobQueue) -> None:
        """Make jobs ready that were set aside, and that this worker can run.
        """
        known, start = self._lacking, self._lacking.look_from
        if not queue.missing:
            return
        if self._now >= known.look_at:
            entries = list(islice(
                queue.missing.up() if start is None
                else queue.missing.up(start), _ASIDE_JOBS + 1))
            for key, jobid in entries[:_ASIDE_JOBS]:
                job = look(queue.jobs, jobid)
                if job is None or job.position != ('missing', key):
                    continue
                if self._may_try(job):
                    queue.enqueue(job)
            if len(entries) > _ASIDE_JOBS:
                known.look_from = entries[-1][0]
            else:
                known.look_from = None
                known.look_at = self._now + settings.MISSING_LAST
        self._rest(max(0.0, known.look_at - self._now))

    def _may_try(self, job: Job) -> bool:
        return self._serves.has(job.queue) and (
            is_given_up(job, self._now) or job.task in self._known
            or self._has_task(job.task))


def warn_without_tasks(service: str, names: Iterable[str], cure: str,
                       known: Sequence[str] = ()) -> None:
    """Log a WARNING where a worker has none of the application's tasks.

    Arguments: ``service``, its path, or those of several; ``names``, of the
    tasks that there are; ``known``, those that are ours.
    """
    if set(names) == set(known):
        log.warning(
            'the worker of service %s can run nothing%s: there are no%s tasks '
            'in this process; %s', service,
            f' but {", ".join(known)}' if known else '',
            ' other' if known else '', cure)
