"""A worker: runs what it has claimed, and can be told from a dead one."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lovely.remotetask.edge import db
from lovely.remotetask.edge.log import trace
from lovely.remotetask.run.chain import Chain
from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.claimer import Claimer
from lovely.remotetask.run.group import Group

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.service import TaskService

# The jobs of a group that wait behind a run that takes longer than this
# (seconds) are given back, for other threads to run.
_GROUP_PATIENCE = 1.0

# How many times a thread runs jobs on one connection before it opens another.
_SESSION_JOBS = 100

# How many claimed entries a thread collects before it removes them from the
# lanes in one commit: the more meet in one lane the better.
_SPENT_JOBS = 1024


class Worker(Claimer):
    """Runs the jobs of one service in some threads of this process.

    Arguments, Attributes: as Claimer's; ``declared`` (Declared).
    """

    def __init__(self, database: DB, path: Sequence[str], host: IHost) -> None:
        # Imported here and not above: an application that runs no jobs starts
        # without it.
        from lovely.remotetask.run.declared import Declared

        super().__init__(database, path, host)
        self.declared = Declared(self)

    def run(self, claim: Claim) -> None:
        """Run a claimed job to its end.

        Txn: see Executor.run.
        """
        try:
            with db.session(self.database) as session:
                self.executor.run(claim, session)
        finally:
            self._forget([claim])
            self._free(claim)
        self.executor.followers.look(idle=True)

    def work(self, claims: list[Claim], go_on: Callable[[], bool]) -> None:
        """Run claimed jobs of one slot, and the jobs claimed after them.

        The next jobs are claimed in the commit that finishes some, where
        that is safe, so that a job costs one commit.
        Arguments: ``go_on()``: False: no further jobs are to be claimed.
        Txn: see Executor.run and Group.run.
        """
        first = claims[0]
        if first.suspect:
            # None is claimed in its last commit: it runs with none beside it.
            self.run(first)
            return
        chain = Chain(self, first, go_on)
        try:
            while claims:
                # One connection for a while, not for ever: settings of the
                # pool that change meanwhile count for new ones.
                with db.session(self.database) as session:
                    for _ in range(_SESSION_JOBS):
                        claims = self._step(claims, session, chain)
                        self.executor.followers.look(idle=not claims)
                        if not claims or chain.cursor.taken >= _SPENT_JOBS:
                            chain.remove_taken(session)
                        if not claims:
                            break
        finally:
            try:
                for claim in claims:
                    self.give_back(claim)
            finally:
                # Also where a job cannot be given back, as to a lane that is
                # lost: each such thread would leave a slot behind.
                self._free(first)

    def _step(self, claims: list[Claim], session: db.Session,
              chain: Chain) -> list[Claim]:
        """Run some; returns those to run next."""
        following: list[Claim] = []
        if len(claims) == 1:
            try:
                following = self.executor.run(claims[0], session, chain)
            finally:
                self._note(following)
                self._forget(claims)
            return following
        if self.executor.run_times.is_alone(claims[0].task):
            # Found out after these jobs had been claimed together.
            if not chain.goes_on():
                for claim in claims:
                    self.give_back(claim)
                return []
            try:
                self.executor.run(claims[0], session)
            finally:
                self._forget(claims[:1])
            return claims[1:]
        group = self.groups[claims[0].token] = Group(self.executor, claims)
        try:
            following = group.run(session, chain)
        finally:
            del self.groups[claims[0].token]
            waiting = list(group.waiting)
            self._note(following)
            self._forget(set(claims).difference(waiting))
        if waiting and not chain.goes_on():
            for claim in waiting:
                self.give_back(claim)
            return []
        return waiting or following

    def _free(self, claim: Claim) -> None:
        if claim.token[0] == self.identity.id:
            self._idle.append(claim.slot)

    def note_reruns(self) -> None:
        """Note in this worker's record how often jobs ran again, if any did.
        """
        times = self.executor.run_times
        reruns, name = dict(times.reruns), self.identity.id
        if reruns == times.noted:
            return

        def note(service: TaskService) -> None:
            record = service.jobqueue.workers.get(name)
            if record is not None:
                record.reruns = reruns

        try:
            self.executor.write(note, 'remotetask reruns')
            times.noted = reruns
        except Exception:
            # The next round tries it again.
            trace.exception('the runs that conflicted could not be noted')

    def hand_over(self) -> None:
        """Give back the jobs that wait behind one that takes long."""
        for group in list(self.groups.values()):
            while group.waiting and group.waits() > _GROUP_PATIENCE:
                with suppress(IndexError):      # begun at this very moment
                    self.give_back(group.waiting.pop())
