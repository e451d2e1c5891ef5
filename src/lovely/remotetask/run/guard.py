"""Checks that a job still is ours whenever its run commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lovely.remotetask.edge import db
from lovely.remotetask.errors import LeaseLost
from lovely.remotetask.store.claims import Token

if TYPE_CHECKING:
    from lovely.remotetask.job import Job


class Guard:
    """Lets no transaction of a task commit once its job is no longer ours.

    Each commit on the task's transaction manager is checked, also the commits
    that the task makes: a worker that was declared dead, or a run that was
    cancelled, can no longer commit.
    """

    def __init__(self, session: db.Session, job: Job,
                 token: Token) -> None:
        self._session = session
        self._job = job
        self._token = token

    def check(self) -> None:
        """Raise LeaseLost unless the job is ours at the commit."""
        # A task may cancel its own job, and commit that.
        if self._job.claim != self._token and not self._job._p_changed:
            raise LeaseLost(f'job {self._job.id} is no longer ours')
        # If the claim changes before this commit is through, it conflicts.
        self._session.read_current(self._job)
