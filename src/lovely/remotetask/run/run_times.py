"""How long tasks take here, and which of them may share a commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge.log import log
from lovely.remotetask.job import Job
from lovely.remotetask.task import task_option


class RunTimes:
    """How long the runs of each task took in this process.

    From that it guesses how many jobs fit into one commit: a process that has
    just started runs the first job of each task alone.
    Attributes: ``tasks``, name -> task: those that have run here.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._alone: set[str] = set()
        self.tasks: dict[str, Any] = {}
        # How often conflicts had jobs of a task run again, and what of that
        # the worker's record tells.
        self.reruns: dict[str, int] = {}
        self.noted: dict[str, int] = {}

    def rerun(self, name: str) -> None:
        """Note that a run has conflicted, and is repeated."""
        self.reruns[name] = self.reruns.get(name, 0) + 1

    def see(self, name: str, task: Any) -> None:
        """Note the task that a run is about to call."""
        self.tasks[name] = task

    def forget(self, name: str) -> None:
        """Note that there is no task of this name any more."""
        self.tasks.pop(name, None)

    def learn(self, name: str, seconds: float) -> None:
        """Note how long a run of this task took."""
        before = self._seconds.get(name)
        # A slow run counts at once, and is forgotten slowly.
        if before is None or seconds > before:
            self._seconds[name] = seconds
        else:
            self._seconds[name] = before + (seconds - before) / 8

    def is_alone(self, name: str) -> bool:
        """Must this task not be grouped?"""
        return name in self._alone

    def run_alone(self, name: str) -> None:
        """Never group this task again."""
        if name not in self._alone:
            self._alone.add(name)
            log.warning(
                'Task "%s" is groupable, and ends its transaction by itself; '
                'its jobs run alone from now on: do not commit or abort in '
                'it, or take groupable away', name)

    def fits_in_commit(self, find: Callable[[str], Any]
                       ) -> Callable[[Job, int], bool]:
        """A function that says whether one more job fits into a commit.

        Arguments: ``find(name)``, the task of that name, or None; asked for
        a task that has not run here yet.
        Returns: ``more(job, count)``; to be asked of the first job, too.
        """
        left = settings.GROUP_SECONDS
        known: dict[str, float] = {}

        def cost(name: str) -> float:
            if name not in known:
                task = self.tasks.get(name)
                able = name not in self._alone and task_option(
                    find(name) if task is None else task, 'groupable')
                known[name] = (self._seconds.get(name, settings.GROUP_SECONDS)
                               if able else settings.GROUP_SECONDS + 1)
            return known[name]

        def more(job: Job, count: int) -> bool:
            nonlocal left
            left -= cost(job.task)
            return left >= 0 and count < settings.GROUP_JOBS

        return more
