"""How many jobs each measure uses."""

from dataclasses import dataclass

from lovely.remotetask.bench.place import Place


@dataclass(frozen=True)
class Sizes:
    """How many of each.

    ``jobs``: of a drain; ``drains``: how often it is repeated; ``rounds``,
    ``chunk``: so many times so many commits, between raw ones; ``batch``,
    ``batches``: of a bulk; ``samples``: of a latency; ``backlog``: jobs of a
    full queue; ``smoke``: few of everything.
    """

    jobs: int = 20_000
    drains: int = 3
    rounds: int = 7
    chunk: int = 300
    batch: int = 1000
    batches: int = 3
    samples: int = 300
    backlog: int = 100_000
    smoke: bool = False


def sizes_for(shared: bool) -> Sizes:
    """Sizes with which a measure takes about a minute.

    Arguments: ``shared``: there is a server, and each commit takes longer.
    """
    return Sizes(jobs=5000, chunk=100) if shared else Sizes()


SMOKE = Sizes(jobs=100, drains=1, rounds=1, chunk=20, batch=50, batches=1,
              samples=5, backlog=200, smoke=True)

#: Jobs of a full queue with ``--large``: it must be no slower for them.
LARGE = 1_000_000


@dataclass
class Bench:
    """The database and the sizes: the argument of each measure."""

    place: Place
    sizes: Sizes
