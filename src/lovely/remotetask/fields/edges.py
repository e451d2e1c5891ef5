"""What follows a job, as it is stored with it.

All calls that may ever follow a job, one behind the other, are one flat tuple
of links, which each job of a chain refers to: a chain of a thousand calls is
written once.  Persistent classes know nothing of it: it is a plain tuple.
"""

from __future__ import annotations

from typing import Any
from typing import NamedTuple
from typing import cast

from lovely.remotetask.follow import CONTINUE
from lovely.remotetask.follow import STOP
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR

#: The states of an edge: its job is added; it is to come; it cannot come, as
#: things are; the job has ended in the other way.
EDGE_STATES = (ADDED, WAITS, STUCK, OFF) = ('added', 'waits', 'stuck', 'off')


class Link(NamedTuple):
    """A call that follows; new fields go to the end, and none is taken out.

    Attributes: ``kept``, attributes of the job that it becomes, as ``put``
    takes them; ``success``, ``failure``, the numbers of the links that follow
    it, or None; the others as those of follow.Call.
    """

    task: str
    input: Any = None
    kept: dict[str, Any] = {}       # noqa: RUF012 (never changed in place)
    delay: float | None = None
    success: int | None = None
    failure: int | None = None
    policy: str = STOP


class Edges(NamedTuple):
    """What follows one job; stored as a plain tuple.

    Attributes: ``links``, the tuple of all, or a payload with it; ``success``,
    ``failure``, ``policy``, as those of a Link.
    """

    links: Any
    success: int | None
    failure: int | None = None
    policy: str = STOP

    def behind(self, link: Link) -> Edges | None:
        """What follows one of the links; None: nothing."""
        if link.success is None and link.failure is None:
            return None
        return Edges(self.links, link.success, link.failure, link.policy)


class Following:
    """The attributes of a job about those before and behind it.

    None of them takes room in the record of a job that has none.
    """

    # The types stand in comments: see job.
    # what follows it: a tuple, see Edges
    edges = None        # type: Any
    # the ids of the jobs that have followed its success and its failure
    followed = (None, None)     # type: tuple[int | None, int | None]
    # why what follows could not be added
    stuck = None        # type: str | None
    # the id of the job that it follows
    follows = None      # type: int | None
    # True: its input holds a result, which no schema has seen yet
    filled = None       # type: bool | None
    # of a job of a group: (id of the group, which of its jobs)
    member = None       # type: tuple[int, int] | None
    # the id of the group that it comes after
    after = None        # type: int | None

    @property
    def followUps(self) -> list[dict[str, Any]]:
        if self.edges is None:
            return []
        edges, job = Edges(*self.edges), cast(Any, self)
        # A long one is a payload.
        links = (edges.links if type(edges.links) is tuple
                 else edges.links.value)
        return shown(edges, links, job.status, job.recurring, self.followed,
                     self.stuck)

    @property
    def group(self) -> int | None:
        return self.after if self.member is None else self.member[0]


def shown(edges: Edges, links: tuple[Any, ...], status: str | None,
          recurring: bool, followed: tuple[int | None, int | None],
          stuck: str | None) -> list[dict[str, Any]]:
    """What follows a job, for people: see IJob.followUps.

    Arguments: ``links``, those of the edges, at hand; ``status``,
    ``recurring``, ``followed``, ``stuck``: of the job.
    """
    found = []
    for on, number, jobid, ends in (
            ('success', edges.success, followed[0], COMPLETED),
            ('failure', edges.failure, followed[1], ERROR)):
        if number is None:
            continue
        state, note = WAITS, None
        if jobid is not None:
            state = ADDED
        elif stuck is not None and (recurring or status == ends or (
                status == ERROR and edges.policy == CONTINUE)):
            state, note = STUCK, stuck
        elif on == 'success' and status in (ERROR, CANCELLED):
            how = 'has failed' if status == ERROR else 'was cancelled'
            state, note = STUCK, (
                f'the job before it {how}: it comes when that is retried and '
                f'completes')
        elif status in (COMPLETED, CANCELLED):
            state = OFF
        found.append({'on': on, 'task': links[number][0], 'state': state,
                      'id': jobid, 'note': note,
                      'behind': _behind(links, number)})
    return found


def _behind(links: tuple[Any, ...], number: int) -> int:
    """How many calls follow a link, each the success of the one before."""
    count, after = 0, Link(*links[number]).success
    while after is not None:
        count, after = count + 1, Link(*links[after]).success
    return count
