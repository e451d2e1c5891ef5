"""The machine that the figures are of."""

import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version

from lovely.remotetask.bench.place import Place

_DISTRIBUTIONS = ('lovely.remotetask', 'ZODB', 'BTrees', 'persistent',
                  'transaction', 'ZEO', 'RelStorage')


def describe(place: Place) -> dict[str, str | float | int]:
    """The machine and the versions: two reports compare only with these."""
    found: dict[str, str | float | int] = {
        'cpu': cpu(), 'cores': os.cpu_count() or 0,
        'fsync_ms': round(_fsync_ms(place), 3),
        'python': platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu() -> str:
    """The name of the processor."""
    try:
        with open('/proc/cpuinfo') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _fsync_ms(place: Place, count: int = 100) -> float:
    """How long the disk takes to keep 4 kB.

    In the folder of the database, if that is on this machine.
    """
    directory = None if place.file is None else os.path.dirname(place.file)
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(count):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000
