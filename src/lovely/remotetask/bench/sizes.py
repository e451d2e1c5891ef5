"""How much is measured."""

from dataclasses import dataclass

from lovely.remotetask.bench.place import Place


@dataclass
class Sizes:
    """How many of what.

    ``jobs``: of a drain; ``drains``: how often it is repeated; ``rounds``,
    ``chunk``: so many times so many commits, between raw ones; ``batch``,
    ``batches``: of a bulk; ``lives``: jobs whose bytes and commits are
    counted; ``samples``: of a latency; ``backlog``: jobs of a full queue;
    ``stock``: jobs of a very full one; ``seconds``: of idleness; ``peers``:
    processes of a kind that meet; ``meetings``: adds of each.
    """

    jobs: int = 20_000
    drains: int = 3
    rounds: int = 7
    chunk: int = 300
    batch: int = 1000
    batches: int = 3
    lives: int = 2000
    samples: int = 300
    backlog: int = 100_000
    stock: int = 100_000
    seconds: float = 30.0
    peers: int = 4
    meetings: int = 500


def sizes_for(shared: bool) -> Sizes:
    """What takes a minute or less for each measure.

    Arguments: ``shared``: there is a server, and each commit takes longer.
    """
    return Sizes(jobs=5000, chunk=100) if shared else Sizes()


SMOKE = Sizes(jobs=100, drains=1, rounds=1, chunk=20, batch=50, batches=1,
              lives=50, samples=5, backlog=200, stock=200, seconds=0.5,
              peers=2, meetings=10)

#: A queue that shall be no slower for it.
LARGE = 1_000_000


@dataclass
class Bench:
    """What a measure gets."""

    place: Place
    sizes: Sizes
    _stock: list[str] | None = None

    def stock(self) -> list[str]:
        """The path of a service with very many jobs; filled once."""
        if self._stock is None:
            path = self.place.service('stock')
            self.place.fill(path, self.sizes.stock)
            self._stock = path
        return self._stock
