"""A claimed job, as the threads of a worker hand it on."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lovely.remotetask.store.claiming import Token

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


@dataclass(frozen=True)
class Claim:
    """A job that is ours to run, as long as it carries the token.

    ``slot``: the thread's, whose log will note the end; ``task``, its name;
    ``suspect``: its worker has died while it ran.
    """

    jobid: int
    token: Token
    slot: int
    task: str = ''
    suspect: bool = False


#: Claims the next jobs in the transaction that finishes some: see Chain.
ClaimNext = Callable[['TaskService'], list[Claim]]
ClaimsNext = Callable[[bool], AbstractContextManager[ClaimNext | None]]


def no_claim(quick: bool) -> AbstractContextManager[ClaimNext | None]:
    """A ``claims_next`` by which a finish claims no further jobs."""
    return nullcontext()


def claims_of(jobs: Iterable[Job], slot: int) -> list[Claim]:
    """The claims of jobs that a worker has just claimed for a slot."""
    return [Claim(job.id, job.claim, slot, job.task, job.interruptions > 0)
            for job in jobs if job.claim is not None]
