"""A claim: a job that a thread of this process is to run."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lovely.remotetask.run.flow import Flow
from lovely.remotetask.store.claims import Token

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


@dataclass(frozen=True)
class Claim:
    """A job that is ours to run, as long as it carries the token.

    ``slot``: the thread's, whose log will note the end; ``task``, its name;
    ``suspect``: its worker has died while it ran; ``attempt``, from 1;
    ``gates``, the names of those that it has passed.
    """

    jobid: int
    token: Token
    slot: int
    task: str = ''
    suspect: bool = False
    attempt: int = 1
    gates: tuple[str, ...] = ()


#: Claims the next jobs in the transaction that finishes some: see Chain.
ClaimNext = Callable[['TaskService'], list[Claim]]
ClaimsNext = Callable[[bool], AbstractContextManager[ClaimNext | None]]


def no_claim(quick: bool) -> AbstractContextManager[ClaimNext | None]:
    """A ``claims_next`` by which a finish claims no further jobs."""
    return nullcontext()


def claims_of(jobs: Iterable[Job], slot: int, flow: Flow | None = None
              ) -> list[Claim]:
    """The claims of jobs that a slot has just claimed.

    Arguments: ``flow``, None: they have no gates.
    """
    return [Claim(job.id, job.claim, slot, job.task, job.interruptions > 0,
                  job.attempts or 1, () if flow is None else
                  tuple([gate.name for gate in flow.gates(job)]))
            for job in jobs if job.claim is not None]
