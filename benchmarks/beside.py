"""The common parts of the comparisons with other queues."""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from importlib.metadata import version

from lovely.remotetask import task
from lovely.remotetask.bench import machine
from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.rates import drained
from lovely.remotetask.bench.report import number
from lovely.remotetask.bench.sizes import Bench
from lovely.remotetask.bench.sizes import Sizes
from lovely.remotetask.cli import databases

#: Nothing takes so long (seconds) on a machine that works.
DEADLINE = 120


class Ours:
    """A service in a database of its own.

    Arguments: ``uri``, of the database.
    """

    def __init__(self, uri):
        task.scan(tasks)
        self.place = Place(lambda: databases.open_uri(uri), uri)
        self.path = self.place.service('tasks')
        self.client = Client(self.place, self.path)

    def close(self):
        self.client.connection.close()
        self.place.close()

    def add(self):
        """Add a job and commit."""
        return self.client.do(lambda service: service.add('noop', None))

    def drain(self, count, name):
        """Add so many jobs and let a worker run them.  Returns: the Speed."""
        self.place.fill(self.path, count, name)
        return drained(Bench(self.place, Sizes()), self.path, count)

    def delay(self):
        """From the commit of a job to its start (seconds)."""
        jobid = self.client.do(lambda service: service.add('moment', None))
        sent = time.monotonic()
        pause = threading.Event()
        deadline = sent + DEADLINE
        pause.wait(0.005)
        while self.client.see(
                lambda service: service.getStatus(jobid)) != 'completed':
            assert time.monotonic() < deadline
            pause.wait(0.001)
        started = self.client.see(lambda service: service.getResult(jobid))
        return max(0.0, started - sent)


def medians(speeds):
    """The rate and the CPU of each name, from the Speed of each round."""
    found = {}
    for name, values in speeds.items():
        found[f'{name} (1/s)'] = statistics.median(
            speed.per_second for speed in values)
        found[f'{name} (CPU us)'] = statistics.median(
            speed.cpu_us for speed in values)
    return found


def ratio(speeds, one, two):
    """How many times as fast the one is as the other, round by round."""
    return statistics.median(
        first.per_second / second.per_second for first, second in zip(
            speeds[one], speeds[two], strict=True))


def options_of(description, **defaults):
    """The options of the command line.

    Arguments: ``defaults``, of numbers that may be given as options.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.
        RawDescriptionHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f'--{name}', type=int, default=value,
                            help=f'default: {value}')
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--table', metavar='FILE')
    return parser.parse_args()


def print_figures(found, options, *distributions):
    """Print the figures, and write them to the files of the options.

    Arguments: ``found``, name -> number; ``distributions``, whose versions
    are printed.
    """
    names = ('lovely.remotetask', 'ZODB', *distributions)
    width = max(map(len, found))
    text = '\n'.join([
        f'{machine.cpu()}, {os.cpu_count()} cores, Python '
        f'{sys.version.split()[0]},',
        ', '.join(f'{name} {version(name)}' for name in names), '',
        *(f'{name:{width}}  {number(value):>8}'
          for name, value in found.items())]) + '\n'
    print(text, end='')
    if options.table:
        with open(options.table, 'w') as file:
            file.write(text)
    if options.json:
        with open(options.json, 'w') as file:
            json.dump({'figures': found}, file, indent=1)
